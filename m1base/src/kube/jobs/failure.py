"""What a Job does when a pod fails: the podFailurePolicy (KEP-3329, KEP-3850).

The codes and what each means for a Job come from `captionless.errors`; the first rule that matches decides. What no
rule names (1, a crash, out of memory) counts against the index, which is retried.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from captionless.errors import PodFailureAction, exit_codes

WORKER = "worker"
"""The container that the rules look at."""


def pod_failure_policy(gang: bool) -> dict[str, Any]:
    """The rules for a training (gang) or a sharded stage.

    Bad data fails an index of a sharded stage and lets the others continue; the nodes of a training share the data,
    so it fails the Job.
    """
    fail_job, fail_index, ignore = PodFailureAction.fail_job, PodFailureAction.fail_index, PodFailureAction.ignore
    if gang:
        rules = [_exit(fail_job, exit_codes(fail_job, fail_index))]
    else:
        rules = [_exit(fail_job, exit_codes(fail_job)), _exit(fail_index, exit_codes(fail_index))]
    rules.append({"action": ignore.value, "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]})
    rules.append(_exit(ignore, exit_codes(ignore)))
    return {"rules": rules}


def _exit(action: PodFailureAction, codes: Iterable[int]) -> dict[str, Any]:
    on = {"containerName": WORKER, "operator": "In", "values": list(codes)}
    return {"action": action.value, "onExitCodes": on}
