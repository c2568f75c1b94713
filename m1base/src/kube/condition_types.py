"""The types of an Alignment's conditions."""

from __future__ import annotations

SUCCEEDED, SUSPENDED, STALLED = "Succeeded", "Suspended", "Stalled"
