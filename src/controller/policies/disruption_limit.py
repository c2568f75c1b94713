"""How often a stage may be disrupted without getting further.

A disruption (an eviction, a lost node, exit code 75) is nobody's fault and a Job ignores it, without
any bound. Something must end a run that is only ever disrupted: after `LIMIT` disruptions since it
last got further, the stage fails. Further means, for a training, a newer checkpoint: what came after
the last one is lost with the pods.
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
    """Disruptions over all attempts; how many of them since the stage last got further, and how far that was."""

    disruptions: int
    disruptions_without_progress: int
    reached: int

    @property
    def exhausted(self) -> bool:
        return self.disruptions_without_progress >= LIMIT


def count(record: StageRecord, workload: Workload | None, pods: Iterable[Pod], reached: int) -> DisruptionCount:
    """The count after what is seen now. `pods` are those of the newest attempt, `reached` is how far it is known
    to be; the record says what was known before."""
    seen = sum(p.ignored + p.disrupted for p in newest_pods(pods).values())
    before = workload.disruptions_before if workload is not None else 0
    total = max(record.disruptions, before + seen)
    if reached > record.reached:
        return DisruptionCount(total, 0, reached)
    return DisruptionCount(total, record.disruptions_without_progress + total - record.disruptions, record.reached)


def reached(spec: AlignmentSpec, stage: Stage, readings: Iterable[Reading]) -> int:
    """How far a stage is for good: units done; in a training the step of the last checkpoint."""
    done = sum(r.done for r in readings)
    return done - done % spec.train.checkpoint_every if stage.gang else done
