"""The actions due for a run: the union of the policies' actions.

Every policy is a pure function of the run's status, so the same situation always has the same
answer, however often it is evaluated: this makes the controller safe to kill at any point.
"""

from __future__ import annotations

from captionless.controller.actions import Action, Delete
from captionless.controller.policies.backoff_reset import backoff_reset
from captionless.controller.policies.garbage_collection import garbage_collection
from captionless.controller.policies.next_stages import next_stages
from captionless.controller.policies.suspension import suspension
from captionless.controller.policies.terminating_namespace import terminating_namespace
from captionless.controller.policies.ttl import ttl
from captionless.controller.stage_status import RunStatus


def decide(run: RunStatus) -> list[Action]:
    """The actions, in the order of execution; none for an Alignment that is being deleted."""
    if run.alignment.deleting:
        return []
    if run.namespace_terminating:  # nothing can be created there any more
        return list(terminating_namespace(run))
    found: list[Action] = []
    for policy in (suspension, garbage_collection, backoff_reset, next_stages, ttl):
        for action in policy(run):
            twice = isinstance(action, Delete) and any(
                isinstance(f, Delete) and f.workload.uid == action.workload.uid for f in found
            )
            if not twice:
                found.append(action)
    return found
