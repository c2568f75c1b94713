"""The history of a run as events (events.k8s.io/v1), as `kubectl describe alignment` shows it.

Events are derived from the difference between the recorded and the current status of the stages. An event is
emitted before the status is written: a controller that dies in between sees the same
difference again and emits the same event again, under the same name, which the API server refuses.
So names follow from the event and its Alignment, attempt or pod, and nothing is emitted twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Any

from captionless.controller.diagnosis import describe_end, failed_pods, truncate
from captionless.controller.stage_status import RunStatus, StageStatus
from captionless.kube.condition_types import PINNED, PROGRESSING, SUCCEEDED, SUSPENDED
from captionless.kube.jobs.operator import KIND, VERSION
from captionless.kube.observed_state import Alignment, newest_pods
from captionless.kube.stage_record import StageState

FRESH = timedelta(minutes=10)
"""Older pod failures have been reported before, even if that is not recorded."""


class Moment(IntEnum):
    """The order of events within an attempt at a stage."""

    begun = 1
    held = 2
    disturbed = 3
    resumed = 4
    ended = 5
    over = 6


@dataclass(frozen=True)
class Event:
    """Something that happened. `key` is what it is about besides the Alignment; `count` how often by now.

    place: stage (its number in the plan), attempt and moment, for ordering.
    """

    reason: str
    note: str
    action: str
    place: tuple[int, int, Moment]
    key: tuple[str, ...] = ()
    warning: bool = False
    count: int = 1

    def name(self, alignment: Alignment) -> str:
        """The same for the same event of the same Alignment.

        `kubectl describe` finds no time to order these events by and sorts them by name, so the place comes first.
        """
        about = "/".join((alignment.uid, self.reason, *self.key))
        stage, attempt, moment = self.place
        return f"{alignment.name}.{stage:02}{attempt:03}{moment}.{hashlib.sha256(about.encode()).hexdigest()[:12]}"

    def manifest(self, alignment: Alignment, reporter: str, time: str) -> dict[str, Any]:
        """The object, at a MicroTime."""
        series = {"series": {"count": self.count, "lastObservedTime": time}} if self.count > 1 else {}
        return {
            **series,
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": self.name(alignment), "namespace": alignment.namespace},
            "eventTime": time,
            "reportingController": "captionless.dev/controller",
            "reportingInstance": reporter,
            "action": self.action,
            "reason": self.reason,
            "note": truncate(self.note),
            "type": "Warning" if self.warning else "Normal",
            "regarding": {
                "apiVersion": VERSION,
                "kind": KIND,
                "namespace": alignment.namespace,
                "name": alignment.name,
                "uid": alignment.uid,
            },
        }


def events(run: RunStatus, after: Mapping[str, Any]) -> list[Event]:
    """What happened between the recorded status and the current one."""
    found = [e for i, s in enumerate(run.stages) for e in _stage_events(i, s, run)]
    found += _condition_events(run, after)
    return found


def _stage_events(number: int, s: StageStatus, run: RunStatus) -> Iterator[Event]:
    name, before = s.stage.name, s.record

    def at(moment: Moment) -> tuple[int, int, Moment]:
        return (number, s.attempt, moment)

    key = (name, str(s.attempt))
    if s.attempt > before.attempt and s.workload is not None:
        pods = f"{s.stage.workers} pod{'s' if s.stage.workers > 1 else ''}"
        again = f", attempt {s.attempt}" if s.attempt > 1 else ""
        queue = " (suspended, queued)" if s.workload.suspended else ""
        note = f"{name}: created {s.workload.kind} {s.workload.name} with {pods}{again}{queue}"
        yield Event("StageStarted", note, "CreateJob", at(Moment.begun), key)
    if s.state is StageState.succeeded and before.state is not StageState.succeeded:
        yield Event("StageSucceeded", f"{name}: succeeded", "ObserveJob", at(Moment.ended), key)
    if s.state is StageState.failed and before.state is not StageState.failed:
        yield Event("StageFailed", f"{name}: {s.message}", "ObserveJob", at(Moment.ended), key, warning=True)
    if s.state is StageState.waiting and before.state is StageState.running:
        note = f"{name}: its Job is replaced by a new attempt"
        yield Event("StageBackoffReset", note, "DeleteJob", at(Moment.ended), key)
    if s.state is StageState.waiting and before.state is StageState.failed:
        yield Event(
            "StageRetried", f"{name}: retried on request", "RetryStage", at(Moment.over), (*key, run.alignment.retry)
        )
    if s.count.disruptions > before.disruptions:
        lost = next((p for p in newest_pods(s.current).values() if p.disrupted), None)
        why = f" ({lost.disruption})" if lost is not None and lost.disruption else ""
        note = f"{name}: a pod was disrupted{why}; it is replaced and resumes the work"
        yield Event("PodDisrupted", note, "ObservePod", at(Moment.disturbed), (name,), count=s.count.disruptions)
    for pod in failed_pods(s.current):
        when = pod.end.at if pod.end is not None else None
        if when is not None and run.now - when < FRESH:
            note = f"{name}: pod {pod.name}: {describe_end(pod, s.stage)}"
            yield Event("PodFailed", note, "ObservePod", at(Moment.disturbed), (pod.uid,), warning=True)


def _condition_events(run: RunStatus, after: Mapping[str, Any]) -> Iterator[Event]:
    """The changes of conditions. Names do not contain their times, which differ between repetitions."""
    old = {c.get("type"): c for c in run.alignment.status.get("conditions") or ()}
    key = (str(run.alignment.generation), *(str(s.attempt) for s in run.stages))
    begun = [(i, s.attempt) for i, s in enumerate(run.stages) if s.attempt]
    last = begun[-1] if begun else (0, 0)
    for new in after["conditions"]:
        before = old.get(new["type"], {})
        kind, status, reason = new["type"], new["status"], new["reason"]
        hindered = kind in (PROGRESSING, PINNED) and status == "False"
        if hindered and (status, reason) != (before.get("status"), before.get("reason")):
            about = (*key, new["message"])
            yield Event(reason, new["message"], "Reconcile", (*last, Moment.disturbed), about, warning=True)
        if status == before.get("status"):
            continue
        if kind == SUCCEEDED and status == "True":
            yield Event("Completed", new["message"], "Reconcile", (*last, Moment.over), key)
        if kind == SUCCEEDED and status == "False":
            yield Event("Failed", new["message"], "Reconcile", (*last, Moment.over), key, warning=True)
        if kind == SUSPENDED and status == "True":
            yield Event(reason, new["message"], "Reconcile", (*last, Moment.held), key)
        if kind == SUSPENDED and status == "False" and before:
            yield Event("Resumed", "the run is resumed", "Reconcile", (*last, Moment.resumed), key)
