"""What is to be done about a run: the union of what its rules say.

Every rule is a pure function of where the stages stand, so the same situation always has the same
answer, whoever asks and however often: that is what makes the controller safe to kill anywhere.
"""

from __future__ import annotations

from captionless.controller.actions import Action, Delete
from captionless.controller.policies.backoff_reset import backoff_reset
from captionless.controller.policies.ending_namespace import ending_namespace
from captionless.controller.policies.garbage_collection import garbage_collection
from captionless.controller.policies.next_stages import next_stages
from captionless.controller.policies.suspension import suspension
from captionless.controller.policies.ttl import ttl
from captionless.controller.stage_status import RunStatus


def decide(run: RunStatus) -> list[Action]:
    """The actions, in the order in which they are carried out; none for an Alignment that is being deleted."""
    if run.alignment.deleting:
        return []
    if run.namespace_ends:  # nothing can be made there any more
        return list(ending_namespace(run))
    found: list[Action] = []
    for rule in (suspension, garbage_collection, backoff_reset, next_stages, ttl):
        for action in rule(run):
            twice = isinstance(action, Delete) and any(
                isinstance(f, Delete) and f.workload.uid == action.workload.uid for f in found
            )
            if not twice:
                found.append(action)
    return found
