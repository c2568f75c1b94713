"""Stages that may start: their inputs are finished, and no pod of an earlier attempt is left.

Stages that do not depend on one another run at the same time; the cluster schedules what fits.
After a failure, running stages finish, and no new one starts.
"""

from __future__ import annotations

from collections.abc import Iterator

from captionless.controller.actions import Create
from captionless.controller.stage_status import RunStatus
from captionless.kube.stage_record import StageState


def next_stages(run: RunStatus) -> Iterator[Create]:
    """The next attempt of every stage that can start."""
    if run.spec is None or run.suspended or run.failed or run.held:
        return
    done = {s.stage.name for s in run.stages if s.state is StageState.succeeded}
    for s in run.stages:
        idle = s.state in (StageState.waiting, StageState.suspended) and not s.occupied
        if idle and done.issuperset(s.stage.after):
            yield Create(s.stage, s.attempt + 1, s.count.disruptions)
