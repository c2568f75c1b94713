"""What a Job makes of a pod's end: the podFailurePolicy (KEP-3329, KEP-3850).

The codes are those of `captionless.errors`; the first rule that matches decides. What no rule
names (1, a crash, killed for memory) counts against the index, which is tried again.
"""

from __future__ import annotations

from typing import Any

WORKER = "worker"
"""The container that the rules look at."""


def pod_failure_policy(gang: bool) -> dict[str, Any]:
    """The rules for a training (gang) or a sharded stage.

    Bad data costs a sharded stage its index and lets the others go on; in a training the nodes share the data,
    so it fails the Job.
    """
    final = [2, 64, 65] if gang else [2, 64]
    rules: list[dict[str, Any]] = [_exit("FailJob", final)]
    if not gang:
        rules.append(_exit("FailIndex", [65]))
    rules.append({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]})
    rules.append(_exit("Ignore", [75]))
    return {"rules": rules}


def _exit(action: str, codes: list[int]) -> dict[str, Any]:
    return {"action": action, "onExitCodes": {"containerName": WORKER, "operator": "In", "values": codes}}
