"""The status of every stage of a run: its record in the Alignment's status, matched with the observed state.

A stage's newest attempt counts. The record may be behind the cluster (the controller died between creating
a Job and recording it) or ahead of it (a user deleted a Job): a final state, success
or failure, is taken from the record; everything else from the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from captionless.controller import disruption_limit, holding, retry_request
from captionless.controller import pin as pins
from captionless.controller.diagnosis import Cause, failure_cause, stall_reason, unobserved
from captionless.controller.pin import Pin
from captionless.errors import SpecError
from captionless.kube import stage_record as records
from captionless.kube.condition_types import SUCCEEDED
from captionless.kube.jobs import check_patches
from captionless.kube.observed_state import (
    Alignment,
    ObservedState,
    Pod,
    Problem,
    Reading,
    Workload,
    belonging,
    joined,
)
from captionless.kube.shared_output import check_shared
from captionless.kube.stage_record import StageRecord, StageState
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import Stage, plan

SETTLING = timedelta(seconds=10)
"""The ends of a Job and of its pods come by different watches: how long to wait for the pods' messages."""


@dataclass(frozen=True)
class StageStatus:
    """One stage. `pods` and `workloads` are those of every attempt, `attempt` is the newest (0: none yet)."""

    stage: Stage
    record: StageRecord
    state: StageState
    attempt: int
    count: disruption_limit.DisruptionCount
    failure: Cause | None = None
    stall_reason: Cause | None = None
    unobserved: Cause | None = None
    workloads: tuple[Workload, ...] = ()
    pods: tuple[Pod, ...] = ()
    readings: Mapping[str, Reading] = field(default_factory=dict)

    @property
    def message(self) -> str:
        """Why it failed, in one line; empty if it did not."""
        return self.failure.message if self.failure is not None else ""

    @property
    def workload(self) -> Workload | None:
        """The newest attempt's, if it exists."""
        return next((w for w in self.workloads if w.attempt == self.attempt), None)

    @property
    def current(self) -> tuple[Pod, ...]:
        """The newest attempt's pods."""
        return tuple(p for p in self.pods if p.attempt == self.attempt)

    @property
    def occupied(self) -> bool:
        """Pods of an attempt may still be writing: no new attempt may start."""
        return _occupied(self.workloads, self.pods)


def _occupied(workloads: Iterable[Workload], pods: Iterable[Pod]) -> bool:
    return any(not w.finished for w in workloads) or any(not p.finished for p in pods)


@dataclass(frozen=True)
class RunStatus:
    """An Alignment as the policies see it.

    If the spec is wrong, `invalid` says why and there are no stages. It may have been right when the run was made, by
    another operator. So `workloads` and `pods` are there whatever the spec. Fields of a newer operator or CRD are
    `unknown`, and left out of `document`, the spec as its author wrote it. `pin` is what the run was made with.
    `held` says why no more stages may start.
    """

    alignment: Alignment
    spec: AlignmentSpec | None
    invalid: str
    stages: tuple[StageStatus, ...]
    problem: Problem | None
    now: datetime
    namespace_terminating: bool = False
    workloads: tuple[Workload, ...] = ()
    pods: tuple[Pod, ...] = ()
    unknown: tuple[str, ...] = ()
    held: Cause | None = None
    document: Mapping[str, Any] = field(default_factory=dict)
    pin: Pin | None = None

    @property
    def images(self) -> list[dict[str, str]]:
        """What pods have run, by `pin`."""
        return pins.images(self.alignment, self.pods) if self.pin is not None else []

    @property
    def live_workloads(self) -> tuple[Workload, ...]:
        """The Jobs of all stages and attempts that have not finished and are not being deleted."""
        return tuple(w for w in self.workloads if not w.finished and not w.deleting)

    @property
    def failed(self) -> bool:
        """Whether it is given up. With a wrong spec it never began; one that has begun, or may be of a newer operator,
        waits for one that understands it."""
        if self.invalid:
            return self._verdict == "False" or not (self.begun or self.unknown)
        return any(s.state is StageState.failed for s in self.stages)

    @property
    def occupied(self) -> bool:
        """Pods of any stage may still be at work."""
        return _occupied(self.workloads, self.pods)

    @property
    def begun(self) -> bool:
        """Whether a Job of it was ever made."""
        return has_begun(self.alignment, self.workloads)

    @property
    def suspended(self) -> bool:
        """Whether `spec.suspend` is set, whatever else the spec says."""
        return self.alignment.spec.get("suspend") is True

    @property
    def succeeded(self) -> bool:
        """Whether all stages have, also those of a newer operator that only the status tells of."""
        if self.spec is None:
            return self._verdict == "True"
        states = [s.state for s in self.stages] + [r.get("state") for r in self.foreign_records]
        return all(state == StageState.succeeded for state in states)

    @property
    def foreign_records(self) -> list[Mapping[str, Any]]:
        """Records in the status of stages that this operator's plan does not have."""
        planned = {s.stage.name for s in self.stages}
        return [r for r in self.alignment.status.get("stages") or () if r.get("name") not in planned]

    @property
    def _verdict(self) -> str:
        """How it ended, as recorded when its spec was understood."""
        recorded = self.alignment.status.get("conditions") or ()
        found: Mapping[str, Any] = next((c for c in recorded if c.get("type") == SUCCEEDED), {})
        return str(found.get("status")) if found.get("reason") in ("Completed", "StageFailed") else ""

    @property
    def finished(self) -> bool:
        """Nothing is running and nothing will be."""
        return (self.succeeded or self.failed) and all(w.finished for w in self.workloads)


def run_status(seen: ObservedState, now: datetime) -> RunStatus:
    """The status of an Alignment's run, at a time."""
    alignment = seen.alignment
    workloads = joined(seen.workloads, alignment.uid)
    every = belonging(seen.pods, seen.workloads, alignment.uid)
    pin = Pin.read(alignment)
    document, unknown = load.without_unknown({"name": alignment.name, **alignment.spec})
    meant, _ = load.without_unknown(pin.completed(document)) if pin is not None else (document, ())
    given = (seen.problem, now, seen.namespace_terminating, workloads, every, unknown)
    why = holding.by_spec(pin, document, unknown, has_begun(alignment, workloads))
    try:
        spec = load.build_spec(meant)
        check_shared(spec)
        check_patches(spec)
    except SpecError as error:
        return RunStatus(alignment, None, "; ".join(str(error).splitlines()), (), *given, why, document, pin)
    planned = plan(spec)
    known = records.read(alignment.status, (s.name for s in planned))
    again = retry_request.wanted(alignment)
    found = []
    for stage in planned:
        mine = tuple(w for w in workloads if w.stage == stage.name)
        pods = tuple(p for p in every if p.stage == stage.name)
        found.append(_stage_status(spec, stage, known[stage.name], mine, pods, seen, again, now))
    why = why or holding.by_plan(alignment, pin, planned, [s.stage.name for s in found if s.attempt])
    return RunStatus(alignment, spec, "", tuple(found), *given, why, document, pin)


def has_begun(alignment: Alignment, workloads: Iterable[Workload]) -> bool:
    """Whether a Job of an Alignment was ever made."""
    return any(workloads) or any(r.get("attempt") for r in alignment.status.get("stages") or ())


def _stage_status(
    spec: AlignmentSpec,
    stage: Stage,
    record: StageRecord,
    workloads: tuple[Workload, ...],
    pods: tuple[Pod, ...],
    seen: ObservedState,
    again: bool,
    now: datetime,
) -> StageStatus:
    attempt = max((record.attempt, *(w.attempt for w in workloads)))
    workload = next((w for w in workloads if w.attempt == attempt), None)
    mine = tuple(p for p in pods if p.attempt == attempt)
    read = {p.uid: seen.readings[p.uid] for p in mine if p.uid in seen.readings}
    retried = record.state is StageState.failed and (again or attempt > record.attempt)
    # a retry has a limit of its own
    before = replace(record, disruptions_without_progress=0) if retried else record
    reached = disruption_limit.reached(spec, stage, mine, read)
    grace = timedelta(seconds=spec.pods.of(stage.kind).grace_seconds)
    counted = disruption_limit.count(before, workload, mine, reached, now, grace)
    why_failed = failure_cause(stage, mine) if workload is not None else None
    state = _state(stage, record, workload, mine, why_failed, again, spec.suspend, now)
    times = counted.disruptions_without_progress
    if state is StageState.running and times >= spec.resources.disruptions:
        state = StageState.failed
        line = (
            f"disrupted {times} times without making progress (last known: {counted.reached}); as many as "
            "resources.disruptions allows"
        )
        why_failed = Cause("Disrupted", line)
    failure = _failure(record, workload, why_failed) if state is StageState.failed else None
    disrupted = counted.disruptions > (workload.disruptions_before if workload is not None else 0)
    over = state in (StageState.succeeded, StageState.failed)
    why = None if over else stall_reason(spec, stage, workload, pods, read, seen.silent, disrupted, now)
    hidden = None if over else unobserved(stage, mine, read, seen.silent, now)
    return StageStatus(stage, record, state, attempt, counted, failure, why, hidden, workloads, pods, read)


def _failure(record: StageRecord, workload: Workload | None, cause: Cause | None) -> Cause:
    """Why a stage failed: as recorded, or as its pods report, or as its Job says."""
    if record.state is StageState.failed and record.message:
        return Cause(record.reason or "Failed", record.message)
    given_up = workload.failed if workload is not None else None
    return cause or Cause("Failed", f"{given_up.reason}: {given_up.message}" if given_up else "failed")


def _state(
    stage: Stage,
    record: StageRecord,
    workload: Workload | None,
    pods: tuple[Pod, ...],
    why: Cause | None,
    again: bool,
    suspend: bool,
    now: datetime,
) -> StageState:
    known = workload is None or workload.attempt <= record.attempt
    if record.state is StageState.succeeded:
        return StageState.succeeded
    if record.state is StageState.failed and known:
        return StageState.waiting if again else StageState.failed
    idle = StageState.suspended if suspend and record.attempt else StageState.waiting
    if workload is None or (workload.failed and record.state is StageState.waiting and known):
        return idle  # the second: a failed attempt that is retried
    if workload.finished:
        settled = workload.ended is None or now > workload.ended + SETTLING
        if workload.complete and (settled or stage.name != "eval" or any(p.end is not None for p in pods)):
            return StageState.succeeded
        if workload.failed and (settled or why):
            return StageState.failed
        return StageState.running
    if workload.deleting:
        return idle
    return StageState.suspended if workload.suspended else StageState.running
