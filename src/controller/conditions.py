"""The status of a run as metav1.Conditions: four questions and their answers.

    Succeeded   the summary. Unknown while the run is in progress, then True or False for good (until a retry)
    Suspended   True while it is suspended, by `spec.suspend` or by a queue
    Stalled     True while a stage that should be running makes no progress; says why and what to do
    Observed    False while the progress of a running stage cannot be read from its pods, which fails nothing

`lastTransitionTime` changes only when a condition's status does, so that one sees for how long it has been so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from captionless.controller.diagnosis import Cause
from captionless.controller.stage_status import RunStatus, StageStatus
from captionless.kube.condition_types import OBSERVED, STALLED, SUCCEEDED, SUSPENDED
from captionless.kube.observed_state import format_time
from captionless.kube.stage_record import StageState


def conditions(run: RunStatus) -> list[dict[str, Any]]:
    """The four conditions; an unchanged one keeps its time."""
    before = {c.get("type"): c for c in run.alignment.status.get("conditions") or ()}
    found = []
    for kind, (status, cause) in (
        (SUCCEEDED, summary(run)),
        (SUSPENDED, _suspended(run)),
        (STALLED, _stalled(run)),
        (OBSERVED, _observed(run)),
    ):
        old: Mapping[str, Any] = before.get(kind, {})
        same = old.get("status") == status and old.get("lastTransitionTime")
        found.append(
            {
                "type": kind,
                "status": status,
                "observedGeneration": run.alignment.generation,
                "lastTransitionTime": old["lastTransitionTime"] if same else format_time(run.now),
                "reason": cause.reason,
                "message": cause.message,
            }
        )
    return found


def summary(run: RunStatus) -> tuple[str, Cause]:
    """Succeeded: status and cause."""
    if run.invalid:
        return ("False" if run.failed else "Unknown"), Cause("SpecInvalid", run.invalid)
    failed = [s for s in run.stages if s.state is StageState.failed]
    if failed:
        return "False", Cause("StageFailed", "; ".join(f"{s.stage.name}: {s.message}" for s in failed))
    if run.succeeded:
        return "True", Cause("Completed", f"all {len(run.stages)} stages succeeded")
    if run.suspended:
        return "Unknown", Cause("Suspended", "spec.suspend is true")
    running = [s for s in run.stages if s.state is StageState.running]
    if running:
        return "Unknown", Cause("Running", f"{stage_names(running)} running")
    queued = [s for s in run.stages if s.state is StageState.suspended]
    if queued:
        return "Unknown", Cause("Queued", _queue(run, queued))
    return "Unknown", Cause("Waiting", "no stage has started")


def _suspended(run: RunStatus) -> tuple[str, Cause]:
    if run.suspended and not run.finished:
        return "True", Cause("Suspended", "spec.suspend is true; set it to false to resume")
    queued = [s for s in run.stages if s.state is StageState.suspended]
    if queued and not any(s.state is StageState.running for s in run.stages):
        return "True", Cause("Queued", _queue(run, queued))
    return "False", Cause("NotSuspended", "")


def _queue(run: RunStatus, queued: list[StageStatus]) -> str:
    queue = run.spec.queue if run.spec is not None else ""
    where = f"in queue {queue}" if queue else "suspended by another controller"
    return f"{stage_names(queued)} waiting, {where}"


def _stalled(run: RunStatus) -> tuple[str, Cause]:
    if run.problem is not None:
        return "True", Cause(run.problem.reason, run.problem.message)
    if run.invalid and not run.failed:
        return "True", Cause(
            "SpecInvalid",
            f"{run.invalid}; what runs goes on, and nothing else starts. The run may be of a newer operator",
        )
    for s in run.stages:
        if s.stall_reason is not None:
            return "True", Cause(s.stall_reason.reason, f"{s.stage.name}: {s.stall_reason.message}")
    running = any(s.state is StageState.running for s in run.stages)
    return "False", Cause("Progressing" if running else "NotRunning", "")


def _observed(run: RunStatus) -> tuple[str, Cause]:
    for s in run.stages:
        if s.unobserved is not None:
            return "False", Cause(s.unobserved.reason, f"{s.stage.name}: {s.unobserved.message}")
    running = any(s.state is StageState.running for s in run.stages)
    return "True", Cause("Observed" if running else "NotRunning", "")


def stage_names(stages: list[StageStatus]) -> str:
    """The first stage's name and the number of the others."""
    more = f" +{len(stages) - 1}" if len(stages) > 1 else ""
    return f"{stages[0].stage.name}{more}"
