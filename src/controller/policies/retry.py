"""Beginning failed stages anew because somebody asked for it.

    kubectl annotate alignment NAME captionless.dev/retry="$(date)" --overwrite

Any value that differs from the one acted upon last (`status.retry`) gives every failed stage another
attempt. What is whole is kept, as ever.
"""

from __future__ import annotations

from captionless.kube.observed_state import Alignment


def wanted(alignment: Alignment) -> bool:
    """Whether the annotation asks for something that was not done yet."""
    return bool(alignment.retry) and alignment.retry != alignment.status.get("retry", "")
