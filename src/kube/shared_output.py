"""Which paths pods can access: where a run's outputs may be stored, and its inputs read."""

from __future__ import annotations

from collections.abc import Iterable

from captionless.errors import SpecError
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.pods import Volume
from captionless.store import objects


def check_shared(spec: AlignmentSpec) -> None:
    """SpecError unless all pods can write the output: to object storage, or below one of their volumes."""
    root = spec.root
    if not (root.startswith("memory://") or objects.is_local(root)):
        return
    for field, volumes in spec.pods.volumes_by_field().items():
        found = None if root.startswith("memory://") else volume_of(root, volumes)
        if found is None:
            raise SpecError(
                f"output: {spec.output or 'empty'} is not accessible to all pods; "
                f"expected object storage (s3://bucket/folder) or a path below a volume of {field}"
            )
        if found.read_only or not found.claim:
            raise SpecError(
                f"output: {spec.output} is below {found.mount_path}, which {field} mounts read-only; expected "
                "readOnly: false and a claim, since every stage writes there"
            )


def volume_of(path: str, volumes: Iterable[Volume]) -> Volume | None:
    """The volume that a local path is below: of several, the one mounted deepest."""
    local = objects.local_path(path)
    found = [v for v in volumes if local.startswith(v.mount_path.rstrip("/") + "/")]
    return max(found, key=lambda v: len(v.mount_path.rstrip("/")), default=None)
