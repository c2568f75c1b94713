"""Where a run's outputs may be stored when pods write them."""

from __future__ import annotations

from captionless.errors import SpecError
from captionless.spec.alignment import AlignmentSpec
from captionless.store import objects


def check_shared(spec: AlignmentSpec) -> None:
    """SpecError unless all pods reach the output: object storage, or a path below one of `pods.volumes`."""
    root = spec.root
    mounted = [v.mount_path.rstrip("/") + "/" for v in spec.pods.volumes]
    on_volume = objects.is_local(root) and any(objects.local_path(root).startswith(m) for m in mounted)
    if not on_volume and (objects.is_local(root) or root.startswith("memory://")):
        raise SpecError(
            f"output: {spec.output or 'empty'} is not accessible to all pods; "
            "expected object storage (s3://bucket/folder) or a path below a volume of pods.volumes"
        )
