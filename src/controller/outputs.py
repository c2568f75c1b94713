"""Where a run's outputs may be when pods make them."""

from __future__ import annotations

from captionless.errors import SpecError
from captionless.spec import AlignmentSpec
from captionless.store import objects


def check_shared(spec: AlignmentSpec) -> None:
    """SpecError unless all pods reach the output: object storage, or a path below one of `pods.volumes`."""
    root = spec.root
    mounted = [v.mount_path.rstrip("/") + "/" for v in spec.pods.volumes]
    if objects.is_local(root) and not any(objects.local_path(root).startswith(m) for m in mounted):
        raise SpecError(
            f"output: {spec.output or 'empty'} is not shared by pods; "
            "expected object storage (s3://bucket/folder) or a path below a volume of pods.volumes"
        )
