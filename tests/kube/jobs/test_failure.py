"""The podFailurePolicy, judged as the Job controller judges it: the first rule that matches a pod decides."""

from __future__ import annotations

from typing import Any

import pytest

from captionless.kube.jobs.failure import WORKER, pod_failure_policy


def _judge(policy: dict[str, Any], code: int, disrupted: bool) -> str:
    """The action for a pod whose worker ended with `code`; Count where no rule matches (pod_failure_policy.go)."""
    for rule in policy["rules"]:
        if "onExitCodes" in rule:
            on = rule["onExitCodes"]
            assert on["containerName"] == WORKER
            assert on["operator"] == "In"
            if code in on["values"]:
                return str(rule["action"])
        elif disrupted:
            assert rule["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
            return str(rule["action"])
    return "Count"


@pytest.mark.parametrize(
    ("code", "disrupted", "sharded", "gang"),
    [
        (1, False, "Count", "Count"),
        (137, False, "Count", "Count"),  # killed: out of memory, or kubectl delete pod
        (2, False, "FailJob", "FailJob"),
        (64, False, "FailJob", "FailJob"),
        (64, True, "FailJob", "FailJob"),  # a wrong spec stays wrong, evicted or not
        (65, False, "FailIndex", "FailJob"),
        (75, False, "Ignore", "Ignore"),
        (75, True, "Ignore", "Ignore"),
        (137, True, "Ignore", "Ignore"),  # evicted or preempted
        (1, True, "Ignore", "Ignore"),
    ],
)
def test_what_an_exit_code_does(code: int, disrupted: bool, sharded: str, gang: str) -> None:
    assert _judge(pod_failure_policy(gang=False), code, disrupted) == sharded
    assert _judge(pod_failure_policy(gang=True), code, disrupted) == gang
