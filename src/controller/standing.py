"""Where every stage of a run stands: what its status remembers, matched with what is seen in the cluster.

A stage's newest attempt counts. The status may be behind the cluster (the controller died between making
a Job and writing it down) or ahead of it (somebody deleted a Job): what was decided for good, success
or failure, is believed from the status; for the rest the cluster is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from captionless import specfile
from captionless.controller import record as records
from captionless.controller.causes import Cause, hindrance, newest, verdict
from captionless.controller.observe import (
    Alignment,
    Observed,
    Pod,
    Problem,
    Reading,
    Workload,
    belonging,
    joined,
)
from captionless.controller.outputs import check_shared
from captionless.controller.policies import budget, retry
from captionless.controller.record import Record, State
from captionless.errors import SpecError
from captionless.plan import Stage, plan
from captionless.spec import AlignmentSpec

SETTLING = timedelta(seconds=10)
"""A Job's end and its pods' ends come by different watches: so long the pods' words are waited for."""


@dataclass(frozen=True)
class Standing:
    """One stage. `pods` and `workloads` are those of every attempt, `attempt` is the newest (0: none yet)."""

    stage: Stage
    record: Record
    state: State
    attempt: int
    count: budget.Count
    failure: Cause | None = None
    hindrance: Cause | None = None
    workloads: tuple[Workload, ...] = ()
    pods: tuple[Pod, ...] = ()
    readings: Mapping[str, Reading] = field(default_factory=dict)

    @property
    def message(self) -> str:
        """Why it failed, in a line; empty where it did not."""
        return self.failure.message if self.failure is not None else ""

    @property
    def workload(self) -> Workload | None:
        """The newest attempt's, if it is there."""
        return next((w for w in self.workloads if w.attempt == self.attempt), None)

    @property
    def current(self) -> tuple[Pod, ...]:
        """The newest attempt's pods."""
        return tuple(p for p in self.pods if p.attempt == self.attempt)

    @property
    def occupied(self) -> bool:
        """Something of an attempt may still be writing: nothing new may begin."""
        return any(not w.finished for w in self.workloads) or any(not p.finished for p in self.pods)


@dataclass(frozen=True)
class Run:
    """An Alignment as the rules look at it. Where the spec is wrong, `invalid` says so and there are no stages."""

    alignment: Alignment
    spec: AlignmentSpec | None
    invalid: str
    standings: tuple[Standing, ...]
    problem: Problem | None
    now: datetime
    namespace_ends: bool = False

    @property
    def at_work(self) -> tuple[Workload, ...]:
        """The Jobs of all stages and attempts that neither have ended nor are being removed."""
        return tuple(w for s in self.standings for w in s.workloads if not w.finished and not w.deleting)

    @property
    def failed(self) -> bool:
        return bool(self.invalid) or any(s.state is State.failed for s in self.standings)

    @property
    def succeeded(self) -> bool:
        return self.spec is not None and all(s.state is State.succeeded for s in self.standings)

    @property
    def finished(self) -> bool:
        """Nothing is at work and nothing will be."""
        if self.invalid:
            return True
        return self.succeeded or (self.failed and not any(not w.finished for s in self.standings for w in s.workloads))


def stand(seen: Observed, now: datetime) -> Run:
    """The run of an Alignment, at a time."""
    alignment = seen.alignment
    try:
        spec = spec_of(alignment)
    except SpecError as error:
        return Run(alignment, None, "; ".join(str(error).splitlines()), (), seen.problem, now)
    stages = plan(spec)
    known = records.read(alignment.status, (s.name for s in stages))
    workloads = joined(seen.workloads, alignment.uid)
    every = belonging(seen.pods, seen.workloads, alignment.uid)
    again = retry.wanted(alignment)
    standings = []
    for stage in stages:
        mine = tuple(w for w in workloads if w.stage == stage.name)
        pods = tuple(p for p in every if p.stage == stage.name)
        standings.append(_standing(spec, stage, known[stage.name], mine, pods, seen.readings, again, now))
    return Run(alignment, spec, "", tuple(standings), seen.problem, now, seen.namespace_ends)


def spec_of(alignment: Alignment) -> AlignmentSpec:
    """The description in an Alignment. SpecError tells what is wrong with it."""
    document = {"kind": "Alignment", "metadata": {"name": alignment.name}, "spec": dict(alignment.spec)}
    spec = specfile.build(document)
    check_shared(spec)
    return spec


def _standing(
    spec: AlignmentSpec,
    stage: Stage,
    record: Record,
    workloads: tuple[Workload, ...],
    pods: tuple[Pod, ...],
    readings: Mapping[str, Reading],
    again: bool,
    now: datetime,
) -> Standing:
    attempt = max((record.attempt, *(w.attempt for w in workloads)))
    workload = next((w for w in workloads if w.attempt == attempt), None)
    mine = tuple(p for p in pods if p.attempt == attempt)
    told = {p.uid: readings[p.uid] for p in mine if p.uid in readings}
    tellers = [told[p.uid] for p in newest(mine).values() if p.uid in told and (p.index == 0 or not stage.gang)]
    retried = record.state is State.failed and (again or attempt > record.attempt)
    before = replace(record, fruitless=0) if retried else record  # another try has a budget of its own
    counted = budget.count(before, workload, mine, budget.reached(spec, stage, tellers))
    why_failed = verdict(stage, workload, mine) if workload is not None else None
    state = _state(stage, record, workload, mine, why_failed, again, spec.suspend, now)
    if state is State.running and counted.exhausted:
        state = State.failed
        line = f"disrupted {counted.fruitless} times without getting further (last known: {counted.reached})"
        why_failed = Cause("Disrupted", line)
    failure = _failure(record, workload, why_failed) if state is State.failed else None
    disrupted = counted.disruptions > (workload.disruptions_before if workload is not None else 0)
    over = state in (State.succeeded, State.failed)
    why = None if over else hindrance(spec, stage, workload, pods, told, disrupted, now)
    return Standing(stage, record, state, attempt, counted, failure, why, workloads, pods, told)


def _failure(record: Record, workload: Workload | None, told: Cause | None) -> Cause:
    """Why a stage failed: as it stands in the status, or as it was told, or what the Job says of itself."""
    if record.state is State.failed and record.message:
        return Cause(record.reason or "Failed", record.message)
    given_up = workload.failed if workload is not None else None
    return told or Cause("Failed", f"{given_up.reason}: {given_up.message}" if given_up else "failed")


def _state(
    stage: Stage,
    record: Record,
    workload: Workload | None,
    pods: tuple[Pod, ...],
    why: Cause | None,
    again: bool,
    suspend: bool,
    now: datetime,
) -> State:
    known = workload is None or workload.attempt <= record.attempt
    if record.state is State.succeeded:
        return State.succeeded
    if record.state is State.failed and known:
        return State.waiting if again else State.failed
    idle = State.suspended if suspend and record.attempt else State.waiting
    if workload is None or (workload.failed and record.state is State.waiting and known):
        return idle  # the second: a failed attempt that was given another chance
    if workload.finished:
        settled = workload.ended is None or now > workload.ended + SETTLING
        if workload.complete and (settled or stage.name != "eval" or any(p.end is not None for p in pods)):
            return State.succeeded
        if workload.failed and (settled or why):
            return State.failed
        return State.running
    if workload.deleting:
        return idle
    return State.suspended if workload.suspended else State.running
