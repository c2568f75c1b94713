"""Where a run stands, as metav1.Conditions: three questions and their answers.

    Succeeded   the summary. Unknown while it goes on, then True or False for good (until a retry)
    Suspended   True while it is held, by `spec.suspend` or by a queue
    Stalled     True while a stage that should be at work does not get on; says why and what to do

`lastTransitionTime` moves only when a condition's status does, so that one sees how long it has been so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from captionless.controller.diagnosis import Cause
from captionless.controller.stage_status import RunStatus, StageStatus
from captionless.kube.condition_types import STALLED, SUCCEEDED, SUSPENDED
from captionless.kube.observed_state import written
from captionless.kube.stage_record import StageState


def conditions(run: RunStatus) -> list[dict[str, Any]]:
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


def summary(run: RunStatus) -> tuple[str, Cause]:
    """Succeeded: status and cause."""
    if run.invalid:
        return "False", Cause("SpecInvalid", run.invalid)
    failed = [s for s in run.standings if s.state is StageState.failed]
    if failed:
        return "False", Cause("StageFailed", "; ".join(f"{s.stage.name}: {s.message}" for s in failed))
    if run.succeeded:
        return "True", Cause("Completed", f"all {len(run.standings)} stages are done")
    held = run.spec is not None and run.spec.suspend
    if held:
        return "Unknown", Cause("Suspended", "spec.suspend is true")
    running = [s for s in run.standings if s.state is StageState.running]
    if running:
        return "Unknown", Cause("Running", f"{names(running)} at work")
    queued = [s for s in run.standings if s.state is StageState.suspended]
    if queued:
        return "Unknown", Cause("Queued", _queue(run, queued))
    return "Unknown", Cause("Waiting", "no stage is at work yet")


def _suspended(run: RunStatus) -> tuple[str, Cause]:
    if run.spec is not None and run.spec.suspend and not run.finished:
        return "True", Cause("Suspended", "spec.suspend is true; set it to false to go on")
    queued = [s for s in run.standings if s.state is StageState.suspended]
    if queued and not any(s.state is StageState.running for s in run.standings):
        return "True", Cause("Queued", _queue(run, queued))
    return "False", Cause("NotSuspended", "")


def _queue(run: RunStatus, queued: list[StageStatus]) -> str:
    where = f"in queue {run.spec.queue}" if run.spec is not None and run.spec.queue else "suspended by somebody else"
    return f"{names(queued)} waits, {where}"


def _stalled(run: RunStatus) -> tuple[str, Cause]:
    if run.problem is not None:
        return "True", Cause(run.problem.reason, run.problem.message)
    for s in run.standings:
        if s.stall_reason is not None:
            return "True", Cause(s.stall_reason.reason, f"{s.stage.name}: {s.stall_reason.message}")
    working = any(s.state is StageState.running for s in run.standings)
    return "False", Cause("Progressing" if working else "NotRunning", "")


def names(standings: list[StageStatus]) -> str:
    """The first stage's name and how many more there are."""
    more = f" +{len(standings) - 1}" if len(standings) > 1 else ""
    return f"{standings[0].stage.name}{more}"
