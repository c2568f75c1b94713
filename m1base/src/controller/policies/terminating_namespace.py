"""The Jobs of a namespace that is being deleted: they must be deleted first, or the deletion hangs.

Kubernetes deletes the pods of a namespace before all else (KEP-5080, on by default from 1.33). A Job with
`backoffLimitPerIndex` keeps a failed pod until it has created the replacement (KEP-3850), which a terminating
namespace refuses; so the pods wait for the Job and the Job for the pods. Deleting the Job frees both.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from captionless.controller.actions import Delete
from captionless.controller.stage_status import SETTLING, RunStatus
from captionless.kube.observed_state import ObservedState


def terminating_namespace(run: RunStatus) -> Iterator[Delete]:
    """All live Jobs, when the namespace is being deleted."""
    if run.namespace_terminating:
        yield from (Delete(w, "the namespace is being deleted") for w in run.live_workloads)


def suspected(seen: ObservedState, now: datetime) -> bool:
    """Whether to check the namespace: a pod is overdue to be gone, and its Job is not being deleted."""
    staying = {w.uid for w in seen.workloads if not w.deleting and not w.finished}
    return any(p.owner in staying and p.deleting is not None and now > p.deleting + SETTLING for p in seen.pods)
