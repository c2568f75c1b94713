"""The status of a run as metav1.Conditions. For people:

    Succeeded    the summary. Unknown while the run is in progress, then True or False for good (until a retry)
    Suspended    True once it is suspended, by `spec.suspend` or by a queue, and its pods are gone
    Progressing  False while a stage that should be running makes no progress; says why and what to do
    Observed     False while the progress of a running stage cannot be read from its pods, which fails nothing
    Pinned       False if the run departs from what it was made with, or has fields that this operator does not know

And for tools that judge all kinds of objects by the rules of kstatus (Flux, `helm --wait`). They wait for a run to be
accepted, not for its end, which may take days: a training that is retried or waits for a node must not be rolled back.

    Ready        True from the first Job on, unless the run is given up
    Reconciling  True until then
    Stalled      True once it is given up

`lastTransitionTime` changes only when a condition's status does, so that one sees for how long it has been so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from captionless import __version__
from captionless.controller.diagnosis import Cause
from captionless.controller.pin import changed_image
from captionless.controller.stage_status import RunStatus, StageStatus
from captionless.kube.condition_types import (
    OBSERVED,
    PINNED,
    PROGRESSING,
    READY,
    RECONCILING,
    STALLED,
    SUCCEEDED,
    SUSPENDED,
)
from captionless.kube.observed_state import format_time
from captionless.kube.stage_record import StageState


def conditions(run: RunStatus) -> list[dict[str, Any]]:
    """All conditions; an unchanged one keeps its time."""
    before = {c.get("type"): c for c in run.alignment.status.get("conditions") or ()}
    found = []
    for kind, (status, cause) in (
        (SUCCEEDED, summary(run)),
        (READY, _ready(run)),
        (RECONCILING, _reconciling(run)),
        (STALLED, _stalled(run)),
        (SUSPENDED, _suspended(run)),
        (PROGRESSING, _progressing(run)),
        (OBSERVED, _observed(run)),
        (PINNED, _pinned(run)),
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
    if run.invalid and not run.succeeded:
        told = "; ".join(f"{r.get('name')}: {r.get('message', '')}" for r in run.foreign_records if _failed(r))
        if run.failed and told:
            return "False", Cause("StageFailed", told)
        return ("False" if run.failed else "Unknown"), Cause("SpecInvalid", run.invalid)
    failed = [s for s in run.stages if s.state is StageState.failed]
    if failed:
        return "False", Cause("StageFailed", "; ".join(f"{s.stage.name}: {s.message}" for s in failed))
    if run.succeeded:
        return "True", Cause("Completed", f"all {len(run.stages) + len(run.foreign_records)} stages succeeded")
    if run.held is not None and not run.begun:
        return "Unknown", run.held
    if run.suspended:
        return "Unknown", _suspending(run) or Cause("Suspended", "spec.suspend is true")
    running = [s for s in run.stages if s.state is StageState.running]
    if running:
        return "Unknown", Cause("Running", f"{stage_names(running)} running")
    if queued := _queued(run):
        return "Unknown", _suspending(run) or Cause("Queued", _queue(run, queued))
    return "Unknown", run.held or Cause("Waiting", "no stage has started")


def _failed(record: Mapping[str, Any]) -> bool:
    return record.get("state") == StageState.failed


def _ready(run: RunStatus) -> tuple[str, Cause]:
    status, cause = summary(run)
    return ("False" if status == "False" or _starting(run) else "True"), cause


def _reconciling(run: RunStatus) -> tuple[str, Cause]:
    if not _starting(run):
        return "False", Cause("Accepted" if run.begun else "NotStarting", "")
    if run.problem is not None:
        return "True", Cause(run.problem.reason, run.problem.message)
    return "True", summary(run)[1]


def _starting(run: RunStatus) -> bool:
    """Whether its first Job is to be made. Nothing is to be made for a run that is suspended."""
    return not (run.begun or run.suspended or run.finished)


def _stalled(run: RunStatus) -> tuple[str, Cause]:
    status, cause = summary(run)
    return ("True", cause) if status == "False" else ("False", Cause("NotGivenUp", ""))


def _suspended(run: RunStatus) -> tuple[str, Cause]:
    if suspending := _suspending(run):
        return "False", suspending
    if run.suspended and not run.finished:
        return "True", Cause("Suspended", "spec.suspend is true; set it to false to resume")
    if queued := _queued(run):
        return "True", Cause("Queued", _queue(run, queued))
    return "False", Cause("NotSuspended", "")


def _suspending(run: RunStatus) -> Cause | None:
    """What keeps a run that is to be suspended: pods that store what they have done."""
    if not (run.suspended and not run.finished) and not _queued(run):
        return None
    left = [p for p in run.pods if not p.finished]
    if left:
        more = f" and {len(left) - 1} others" if len(left) > 1 else ""
        return Cause("Suspending", f"waiting for pod {left[0].name}{more} to store what is done and end")
    if run.suspended and run.live_workloads:
        return Cause("Suspending", f"{run.live_workloads[0].name} is to be deleted")
    return None


def _queued(run: RunStatus) -> list[StageStatus]:
    """The stages that a queue holds, if nothing else runs."""
    if any(s.state is StageState.running for s in run.stages):
        return []
    return [s for s in run.stages if s.state is StageState.suspended and s.workload is not None]


def _queue(run: RunStatus, queued: list[StageStatus]) -> str:
    queue = run.spec.queue if run.spec is not None else ""
    where = f"in queue {queue}" if queue else "suspended by another controller"
    return f"{stage_names(queued)} waiting, {where}"


def _progressing(run: RunStatus) -> tuple[str, Cause]:
    if run.problem is not None:
        return "False", Cause(run.problem.reason, run.problem.message)
    if run.held is not None and not (run.suspended or run.finished):
        return "False", run.held
    if run.invalid and not (run.failed or run.succeeded):
        return "False", Cause(
            "SpecInvalid",
            f"{run.invalid}; what runs goes on, and nothing else starts. The run may be of another operator",
        )
    for s in run.stages:
        if s.stall_reason is not None:
            return "False", Cause(s.stall_reason.reason, f"{s.stage.name}: {s.stall_reason.message}")
    running = any(s.state is StageState.running for s in run.stages)
    return ("True", Cause("Progressing", "")) if running else ("Unknown", Cause("NotRunning", ""))


def _observed(run: RunStatus) -> tuple[str, Cause]:
    for s in run.stages:
        if s.unobserved is not None:
            return "False", Cause(s.unobserved.reason, f"{s.stage.name}: {s.unobserved.message}")
    running = any(s.state is StageState.running for s in run.stages)
    return "True", Cause("Observed" if running else "NotRunning", "")


def _pinned(run: RunStatus) -> tuple[str, Cause]:
    if run.held is not None:
        return "False", run.held
    if run.unknown:
        ignored = f"{', '.join(run.unknown)}: unknown to this operator ({__version__}), and ignored; upgrade it"
        return "False", Cause("UnknownFields", ignored)
    if run.pin is None:
        return "Unknown", Cause("NotMade", "")
    if changed := changed_image(run.images):
        return "False", Cause("ImageChanged", f"{changed}; name it by its digest to have one for the whole run")
    return "True", Cause("AsMade", "")


def stage_names(stages: list[StageStatus]) -> str:
    """The first stage's name and the number of the others."""
    more = f" +{len(stages) - 1}" if len(stages) > 1 else ""
    return f"{stages[0].stage.name}{more}"
