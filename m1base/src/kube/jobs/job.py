"""The batch/v1 Job of a stage: an Indexed Job, whether its pods are shards or train together.

A sharded stage (KEP-3850) gives every index its own four attempts, so that one bad shard neither uses up
the others' attempts nor stops them. A training succeeds when node 0 does (KEP-3998: only it stores the
final manifest) and fails as a whole with any node. A replacement waits until the pod that it replaces has
terminated (KEP-3939), so that two pods never write as the same index.
"""

from __future__ import annotations

from typing import Any

from captionless.kube.jobs.failure import pod_failure_policy
from captionless.spec.plan import Stage

RETRIES = 3


def job_spec(stage: Stage, template: dict[str, Any]) -> dict[str, Any]:
    """A batch/v1 JobSpec around a pod template."""
    found: dict[str, Any] = {
        "completionMode": "Indexed",
        "completions": stage.workers,
        "parallelism": stage.workers,
        "backoffLimitPerIndex": RETRIES,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": pod_failure_policy(stage.gang),
        "template": template,
    }
    if stage.gang:
        found["maxFailedIndexes"] = 0
        found["successPolicy"] = {"rules": [{"succeededIndexes": "0"}]}
    return found
