"""Where a run stands, as metav1.Conditions: three questions and their answers.

    Succeeded   the summary. Unknown while it goes on, then True or False for good (until a retry)
    Suspended   True while it is held, by `spec.suspend` or by a queue
    Stalled     True while a stage that should be at work does not get on; says why and what to do

`lastTransitionTime` moves only when a condition's status does, so that one sees how long it has been so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from captionless.controller.causes import Cause
from captionless.controller.observe import written
from captionless.controller.record import State
from captionless.controller.standing import Run, Standing

SUCCEEDED, SUSPENDED, STALLED = "Succeeded", "Suspended", "Stalled"


def conditions(run: Run) -> list[dict[str, Any]]:
    """The three conditions; what has not changed keeps its time."""
    before = {c.get("type"): c for c in run.alignment.status.get("conditions") or ()}
    found = []
    for kind, (status, cause) in (
        (SUCCEEDED, summary(run)),
        (SUSPENDED, _suspended(run)),
        (STALLED, _stalled(run)),
    ):
        old: Mapping[str, Any] = before.get(kind, {})
        same = old.get("status") == status and old.get("lastTransitionTime")
        found.append(
            {
                "type": kind,
                "status": status,
                "observedGeneration": run.alignment.generation,
                "lastTransitionTime": old["lastTransitionTime"] if same else written(run.now),
                "reason": cause.reason,
                "message": cause.message,
            }
        )
    return found


def summary(run: Run) -> tuple[str, Cause]:
    """Succeeded: status and cause."""
    if run.invalid:
        return "False", Cause("SpecInvalid", run.invalid)
    failed = [s for s in run.standings if s.state is State.failed]
    if failed:
        return "False", Cause("StageFailed", "; ".join(f"{s.stage.name}: {s.message}" for s in failed))
    if run.succeeded:
        return "True", Cause("Completed", f"all {len(run.standings)} stages are done")
    held = run.spec is not None and run.spec.suspend
    if held:
        return "Unknown", Cause("Suspended", "spec.suspend is true")
    running = [s for s in run.standings if s.state is State.running]
    if running:
        return "Unknown", Cause("Running", f"{names(running)} at work")
    queued = [s for s in run.standings if s.state is State.suspended]
    if queued:
        return "Unknown", Cause("Queued", _queue(run, queued))
    return "Unknown", Cause("Waiting", "no stage is at work yet")


def _suspended(run: Run) -> tuple[str, Cause]:
    if run.spec is not None and run.spec.suspend and not run.finished:
        return "True", Cause("Suspended", "spec.suspend is true; set it to false to go on")
    queued = [s for s in run.standings if s.state is State.suspended]
    if queued and not any(s.state is State.running for s in run.standings):
        return "True", Cause("Queued", _queue(run, queued))
    return "False", Cause("NotSuspended", "")


def _queue(run: Run, queued: list[Standing]) -> str:
    where = f"in queue {run.spec.queue}" if run.spec is not None and run.spec.queue else "suspended by somebody else"
    return f"{names(queued)} waits, {where}"


def _stalled(run: Run) -> tuple[str, Cause]:
    if run.problem is not None:
        return "True", Cause(run.problem.reason, run.problem.message)
    for s in run.standings:
        if s.hindrance is not None:
            return "True", Cause(s.hindrance.reason, f"{s.stage.name}: {s.hindrance.message}")
    working = any(s.state is State.running for s in run.standings)
    return "False", Cause("Progressing" if working else "NotRunning", "")


def names(standings: list[Standing]) -> str:
    """The first stage's name and how many more there are."""
    more = f" +{len(standings) - 1}" if len(standings) > 1 else ""
    return f"{standings[0].stage.name}{more}"
