"""How often a stage may be disrupted without making progress.

A disruption (an eviction, a lost node, exit code 75) is not the command's fault, and a Job ignores any number of
them. Something must end a run that is disrupted again and again: after `LIMIT` disruptions without
progress, the stage fails. For a training, progress means a newer checkpoint: the steps after
the last one are lost with the pods.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from captionless.kube.observed_state import Pod, Reading, Workload, newest_pods
from captionless.kube.stage_record import StageRecord
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import Stage

LIMIT = 20


@dataclass(frozen=True)
class DisruptionCount:
    """Disruptions over all attempts, those since the stage last made progress, and how far it had got by then."""

    disruptions: int
    disruptions_without_progress: int
    reached: int

    @property
    def exhausted(self) -> bool:
        return self.disruptions_without_progress >= LIMIT


def count(record: StageRecord, workload: Workload | None, pods: Iterable[Pod], reached: int) -> DisruptionCount:
    """The updated count. `pods` are those of the newest attempt, `reached` is how far it is known
    to be; `record` is the previous state."""
    seen = sum(p.ignored + p.disrupted for p in newest_pods(pods).values())
    before = workload.disruptions_before if workload is not None else 0
    total = max(record.disruptions, before + seen)
    if reached > record.reached:
        return DisruptionCount(total, 0, reached)
    return DisruptionCount(total, record.disruptions_without_progress + total - record.disruptions, record.reached)


def reached(spec: AlignmentSpec, stage: Stage, readings: Iterable[Reading]) -> int:
    """Durable progress: units done; for a training the step of the last checkpoint."""
    done = sum(r.done for r in readings)
    return done - done % spec.train.checkpoint_every if stage.gang else done
