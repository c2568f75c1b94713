"""Names and labels of what belongs to a stage.

A Job is made once for every attempt, so the attempt is part of its name. Kubernetes gives
a pod of an Indexed Job the host name `<job>-<index>` (within a JobSet
`<jobset>-nodes-0-<index>`), which may have 63 characters: longer names are cut and made
unique by a hash of the whole.
"""

from __future__ import annotations

import hashlib

GROUP = "captionless.dev"
ALIGNMENT, STAGE, ATTEMPT = f"{GROUP}/alignment", f"{GROUP}/stage", f"{GROUP}/attempt"
MANAGED_BY = "app.kubernetes.io/managed-by"

_LONGEST = 63 - len("-nodes-0-99999")
_HASH = 8


def job_name(alignment: str, stage: str, attempt: int) -> str:
    """`<alignment>-<stage>-<attempt>`, at most 49 characters, a DNS label."""
    name = f"{alignment}-{stage}-{attempt}"
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH]
    tail = f"-{digest}-{attempt}"
    return f"{alignment}-{stage}"[: _LONGEST - len(tail)].rstrip("-") + tail


def labels(alignment: str, stage: str, attempt: int) -> dict[str, str]:
    """The labels of a stage's Job, its pods, its Service and its ConfigMap."""
    return {
        "app.kubernetes.io/name": "captionless",
        "app.kubernetes.io/component": "worker",
        MANAGED_BY: "captionless",
        ALIGNMENT: alignment,
        STAGE: stage,
        ATTEMPT: str(attempt),
    }
