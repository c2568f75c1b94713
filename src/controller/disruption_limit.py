"""How often a stage may be disrupted without making progress.

A disruption (an eviction, a lost node, exit code 75) is not the command's fault, and a Job ignores any number of
them. Something must end a run that is disrupted again and again: after `resources.disruptions` events without
progress, the stage fails. An event is what happens at one time, whatever it takes along: a reclaim of forty pods is
one. The pods of an event end one after the other, each within its grace period.

Progress is what a later attempt need not do again: finished shards, units of the others, and for a training a newer
checkpoint. It is read from pods' /metrics while they run, and from their termination messages when they cannot be
asked: a network policy must not cost a run its budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from captionless.kube.observed_state import Pod, Reading, Workload, format_time, newest_pods, parse_time
from captionless.kube.stage_record import StageRecord
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import Stage

SPREAD = timedelta(minutes=2)
"""What pods of one event may take to end, beside their grace period: nodes are drained one pod after the other."""


@dataclass(frozen=True)
class DisruptionCount:
    """Pods disrupted over all attempts, events since the stage last made progress, when the last event began, and how
    far the stage had got by then: units (for a training the step of a checkpoint) and finished pods."""

    disruptions: int
    disruptions_without_progress: int
    disrupted_at: str
    reached: int
    completed: int = 0


def count(
    record: StageRecord,
    workload: Workload | None,
    pods: Iterable[Pod],
    reached: int,
    now: datetime,
    grace: timedelta = timedelta(),
) -> DisruptionCount:
    """The updated count. `pods` are those of the newest attempt, `reached` is how far it is known to be, `grace` how
    long a pod may take to end; `record` is the previous state."""
    seen = sum(p.ignored + p.disrupted for p in newest_pods(pods).values())
    before = workload.disruptions_before if workload is not None else 0
    total = max(record.disruptions, before + seen)
    completed = max(record.completed, len(workload.completed) if workload is not None else 0)
    events, at = record.disruptions_without_progress, record.disrupted_at
    began = parse_time(at)
    if reached > record.reached or completed > record.completed:
        events = 0
    if total > record.disruptions and (began is None or now > began + grace + SPREAD):
        events, at = events + 1, format_time(now)
    return DisruptionCount(total, events, at, max(reached, record.reached), completed)


def reached(spec: AlignmentSpec, stage: Stage, pods: Iterable[Pod], readings: Mapping[str, Reading]) -> int:
    """Durable progress of an attempt's pods: units done; for a training the step of the last checkpoint. `readings` are
    by pod uid."""
    by_index: dict[int, int] = {}
    for pod in pods:
        told = pod.end.termination.done if pod.end is not None and pod.end.termination is not None else 0
        read = readings[pod.uid].done if pod.uid in readings else 0
        by_index[pod.index] = max(by_index.get(pod.index, 0), told, read)
    if stage.gang:  # all of its pods are as far as each other
        done = max(by_index.values(), default=0)
        return done - done % spec.train.checkpoint_every
    return sum(by_index.values())
