"""The types of an Alignment's conditions."""

from __future__ import annotations

SUCCEEDED, SUSPENDED, PROGRESSING, OBSERVED, PINNED = "Succeeded", "Suspended", "Progressing", "Observed", "Pinned"
READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"
"""As kstatus reads them."""

TYPES = (SUCCEEDED, READY, RECONCILING, STALLED, SUSPENDED, PROGRESSING, OBSERVED, PINNED)
"""In the order in which a status has them."""
