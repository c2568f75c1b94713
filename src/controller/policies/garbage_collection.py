"""Jobs that should not be there any more.

A stage that failed because its budget of disruptions was used up still has its Job: the verdict is
written to the status first, then the Job goes, so that a controller that dies in between does not forget it.
A Job that still waits in a queue when another stage fails has nothing to wait for.
"""

from __future__ import annotations

from collections.abc import Iterator

from captionless.controller.actions import Delete
from captionless.controller.stage_status import RunStatus
from captionless.kube.stage_record import StageState


def garbage_collection(run: RunStatus) -> Iterator[Delete]:
    """Live Jobs of stages whose failure stands in the status, of all but a stage's newest attempt, and queued ones
    of a run that failed."""
    for s in run.standings:
        for w in s.workloads:
            if w.finished or w.deleting:
                continue
            if s.state is StageState.failed and s.record.state is StageState.failed:
                yield Delete(w, f"the stage failed: {s.message}")
            elif w.attempt < s.attempt:
                yield Delete(w, f"attempt {s.attempt} took its place")
            elif run.failed and w.suspended:
                yield Delete(w, "another stage failed")
