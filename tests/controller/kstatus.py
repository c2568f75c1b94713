"""What kstatus makes of an object of a kind that it doesn't know, as its documentation has the rules
(sigs.k8s.io/cli-utils, pkg/kstatus): Flux judges by them, and `helm --wait` from version 4 on.

`tests/charts/test_kstatus.py` compares this with kstatus itself.
"""

from __future__ import annotations

from typing import Any

CURRENT, IN_PROGRESS, FAILED, TERMINATING = "Current", "InProgress", "Failed", "Terminating"


def kstatus(found: dict[str, Any]) -> str:
    """The status of an object."""
    metadata, status = found["metadata"], found.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return TERMINATING
    if "observedGeneration" in status and status["observedGeneration"] != metadata.get("generation", 0):
        return IN_PROGRESS
    conditions = [(c["type"], c["status"]) for c in status.get("conditions") or ()]
    for each in conditions:
        if each == ("Reconciling", "True"):
            return IN_PROGRESS
        if each == ("Stalled", "True"):
            return FAILED
    ready = next((s for t, s in conditions if t == "Ready"), "True")
    return CURRENT if ready == "True" else IN_PROGRESS
