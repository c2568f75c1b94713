"""Retrying failed stages on request.

    kubectl annotate alignment NAME captionless.dev/retry="$(date)" --overwrite

Any value that differs from the one acted upon last (`status.retry`) gives every failed stage another
attempt, which resumes from what is stored.
"""

from __future__ import annotations

from captionless.kube.observed_state import Alignment


def wanted(alignment: Alignment) -> bool:
    """Whether the annotation requests a retry that was not done yet."""
    return bool(alignment.retry) and alignment.retry != alignment.status.get("retry", "")
