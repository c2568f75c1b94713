"""The types of an Alignment's conditions."""

from __future__ import annotations

SUCCEEDED, SUSPENDED, STALLED, OBSERVED = "Succeeded", "Suspended", "Stalled", "Observed"
