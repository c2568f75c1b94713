"""The Jobs of a namespace that is being deleted: they go first, or it never goes.

Kubernetes deletes the pods of a namespace before all else (KEP-5080, on by default from 1.33). A Job with
`backoffLimitPerIndex` keeps a failed pod until it has made the replacement (KEP-3850), which a namespace
that ends refuses; so the pods wait for the Job and the Job for the pods. Deleting the Job frees both.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from captionless.controller.actions import Delete
from captionless.controller.stage_status import SETTLING, RunStatus
from captionless.kube.observed_state import ObservedState


def ending_namespace(run: RunStatus) -> Iterator[Delete]:
    """All Jobs at work, when the namespace is being deleted."""
    if run.namespace_ends:
        yield from (Delete(w, "the namespace is being deleted") for w in run.at_work)


def suspected(seen: ObservedState, now: datetime) -> bool:
    """Whether the namespace is worth asking for: a pod should have gone, and its Job is not being deleted."""
    staying = {w.uid for w in seen.workloads if not w.deleting and not w.finished}
    return any(p.owner in staying and p.deleting is not None and now > p.deleting + SETTLING for p in seen.pods)
