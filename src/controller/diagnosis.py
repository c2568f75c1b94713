"""Why a stage fails or stands still, in a line for people, read from its Job and pods.

Two questions are answered: `verdict` says why a stage failed for good, `stall_reason` why one that should
be at work makes no progress. A stall is no failure: it may pass by itself (a node is added, the storage
comes back), and it is reported meanwhile, with what a person can do.

A command's own termination message (`captionless.runtime.termination_message`) comes first; a log is never
quoted, since nobody vouches that it holds no secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from captionless.errors import KINDS
from captionless.kube.observed_state import Pod, Reading, Workload, newest_pods
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import Stage

LONGEST = 1000
"""Characters of a line; an event's note has at most 1024."""

NO_PODS = timedelta(seconds=30)
"""A Job makes its pods at once; after this long something forbids it."""
UNSCHEDULED = timedelta(seconds=10)
"""Ordinary scheduling is quicker."""
NOT_STARTING = timedelta(seconds=45)
"""Mounting volumes takes a while; image pulls have reasons of their own."""
NODE_LOST = timedelta(seconds=30)
"""A kubelet ends a pod within its grace period; so long after it, the node is not answering."""
STARTING = timedelta(minutes=10)
"""From the start of a container to its first unit: imports, models, data."""
STEADY = timedelta(minutes=10)
"""The longest that a unit of a stage other than training may take before somebody should look."""

_IMAGE = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
_FINAL = (2, 64, 65)
_ENDINGS = {kind.__name__ for kind in KINDS} | {"UsageError"}


@dataclass(frozen=True)
class Cause:
    """A reason in a word (CamelCase, for machines) and a line."""

    reason: str
    message: str


def told(pod: Pod, stage: Stage) -> str:
    """How a pod ended, in a line."""
    if pod.end is not None and pod.end.reason == "OOMKilled":
        field = "trainMemory" if stage.gang else "memory"
        return f"killed for want of memory; raise resources.{field}"
    if pod.end is not None and pod.end.ending is not None and pod.end.ending.message:
        lines = pod.end.ending.message.splitlines()
        return cut("; ".join(line.strip() for line in lines if line.strip()))
    if pod.evicted:
        return cut(f"evicted: {' '.join(pod.evicted.split())}")
    if pod.end is not None:
        return f"ended with exit code {pod.end.exit_code}; see kubectl logs {pod.name}"
    return f"pod {pod.name} is {pod.phase.lower()} without having told why"


def kind(pod: Pod) -> str:
    """How a pod ended, in a word of a few: a class of `errors` that its command told, `OOMKilled`, `Evicted`, or
    `Crashed` for anything else."""
    if pod.end is not None and pod.end.reason == "OOMKilled":
        return "OOMKilled"
    if pod.evicted:
        return "Evicted"
    told_kind = pod.end.ending.kind if pod.end is not None and pod.end.ending is not None else ""
    return told_kind if told_kind in _ENDINGS else "Crashed"


def failed(pods: Iterable[Pod]) -> list[Pod]:
    """The pods that failed by a fault, the newest of every index."""
    return [p for p in newest_pods(pods).values() if p.phase == "Failed" and not p.disrupted]


def verdict(stage: Stage, workload: Workload, pods: Sequence[Pod]) -> Cause | None:
    """Why the Job failed, from its pods; None while none of them has told. The reason is the first one's `kind`.

    All shards stumble over the same wrong spec, which is said once; broken data differs from shard to shard.
    """
    ended = sorted((p for p in failed(pods) if p.end is not None or p.evicted), key=lambda p: p.index)
    wrong = [p for p in ended if p.end is not None and p.end.exit_code in (2, 64)]
    broken = [p for p in ended if p.end is not None and p.end.exit_code == 65]
    kept = wrong[:1] or broken or ended[:1]
    if not kept:
        return None
    shared = stage.workers > 1 and not stage.gang
    lines = [f"shard {p.index}: {told(p, stage)}" if shared and not wrong else told(p, stage) for p in kept]
    return Cause(kind(kept[0]), cut("; ".join(dict.fromkeys(lines))))


def stall_reason(
    spec: AlignmentSpec,
    stage: Stage,
    workload: Workload | None,
    pods: Sequence[Pod],
    readings: Mapping[str, Reading],
    disrupted: bool,
    now: datetime,
) -> Cause | None:
    """What keeps a stage from getting on; None when nothing does.

    `pods` are those of every attempt; `disrupted` says whether this attempt ever was.
    """
    lost = next((p for p in pods if not p.finished and p.deleting and now > p.deleting + NODE_LOST), None)
    if lost is not None:
        return Cause(
            "NodeLost",
            f"node {lost.node} does not confirm the end of pod {lost.name}; if it will not come back: "
            f"kubectl delete node {lost.node}, or kubectl taint node {lost.node} "
            "node.kubernetes.io/out-of-service=lost:NoExecute",
        )
    if workload is None or workload.finished or workload.suspended or workload.deleting:
        return None
    mine = newest_pods(p for p in pods if p.attempt == workload.attempt)
    if not mine:
        # One that had pods may be waiting for its back-off.
        if workload.began is not None and now > workload.began + NO_PODS and not (workload.failures or disrupted):
            return Cause(
                "PodsForbidden",
                "no pod was made: a quota, an admission policy or the pod security standard forbids it; "
                f"see kubectl describe {workload.kind.lower()} {workload.name}",
            )
        return None
    running = [p for p in mine.values() if p.started is not None and not p.finished and not p.deleting]
    return (
        _not_starting(stage, mine.values(), bool(running), now)
        or _failing(stage, workload, mine.values())
        or _no_progress(spec, stage, running, readings, now)
    )


def _not_starting(stage: Stage, pods: Iterable[Pod], others_run: bool, now: datetime) -> Cause | None:
    idle = [p for p in pods if not (p.finished or p.started or p.end or p.deleting)]
    for pod in idle:  # a fault first: room may be found, a wrong image will not mend itself
        reason, words = pod.waiting[0], " ".join(pod.waiting[1].split())
        if reason in _IMAGE:
            return Cause("ImagePullFailed", cut(f"pod {pod.name}: {reason}: {words or 'see pods.image'}"))
        if reason not in ("", "ContainerCreating", "PodInitializing"):
            return Cause(reason, cut(f"pod {pod.name}: {words or reason}"))
    for pod in idle:
        age = now - pod.created if pod.created else timedelta()
        # Shards take turns where there is not room for all; the nodes of a training must be there together.
        if pod.unschedulable and age > UNSCHEDULED and (stage.gang or not others_run):
            return Cause("Unschedulable", cut(f"pod {pod.name}: {pod.unschedulable}"))
        if pod.node and age > NOT_STARTING:
            seconds = int(NOT_STARTING.total_seconds())
            why = f"has not started on node {pod.node} for more than {seconds} s; see kubectl describe pod {pod.name}"
            return Cause("PodNotStarting", f"pod {pod.name} {why}")
    return None


def _failing(stage: Stage, workload: Workload, pods: Iterable[Pod]) -> Cause | None:
    for pod in pods:
        if pod.phase != "Failed" or pod.disrupted:
            continue
        code = pod.end.exit_code if pod.end is not None else None
        if pod.index in workload.failed_indexes or code == 65:
            return Cause("ShardFailed", f"shard {pod.index}: {told(pod, stage)}; the others go on")
        if code not in _FINAL:
            return Cause("Retrying", f"pod {pod.name}: {told(pod, stage)}")
    return None


def _no_progress(
    spec: AlignmentSpec, stage: Stage, running: Sequence[Pod], readings: Mapping[str, Reading], now: datetime
) -> Cause | None:
    """Nobody got further for too long. A training's progress is told by node 0 for all."""
    tellers = [p for p in running if p.index == 0] if stage.gang else list(running)
    since: list[datetime] = []
    for pod in tellers:
        reading = readings.get(pod.uid)
        if reading is not None and reading.done >= reading.total > 0:
            return None
        if reading is not None and reading.advanced is not None:
            patience = timedelta(seconds=spec.train.collective_timeout / 2) if stage.gang else STEADY
            since.append(max(reading.advanced, pod.started or reading.advanced) + patience)
        elif pod.started is not None:
            since.append(pod.started + STARTING)
    if not since or now <= max(since):
        return None
    pod = tellers[0]
    return Cause("NoProgress", f"no progress told by pod {pod.name}; see kubectl logs {pod.name}")


def cut(text: str) -> str:
    """At most `LONGEST` characters."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
