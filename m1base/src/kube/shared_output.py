"""Which paths pods can access: where a run's outputs may be stored, and its inputs read."""

from __future__ import annotations

from captionless.errors import SpecError
from captionless.spec.alignment import AlignmentSpec
from captionless.store import objects


def check_shared(spec: AlignmentSpec) -> None:
    """SpecError unless all pods reach the output: object storage, or a path below one of `pods.volumes`."""
    root = spec.root
    if root.startswith("memory://") or (objects.is_local(root) and not on_volume(root, spec)):
        raise SpecError(
            f"output: {spec.output or 'empty'} is not accessible to all pods; "
            "expected object storage (s3://bucket/folder) or a path below a volume of pods.volumes"
        )


def on_volume(path: str, spec: AlignmentSpec) -> bool:
    """Whether a local path is below one of `pods.volumes`."""
    mounts = [v.mount_path.rstrip("/") + "/" for v in spec.pods.volumes]
    return any(objects.local_path(path).startswith(mount) for mount in mounts)
