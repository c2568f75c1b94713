"""Why a stage failed or makes no progress, in one line for people, read from its Job and pods.

`failure_cause` says why a stage failed for good, `stall_reason` why one that should be running makes no progress, and
`unobserved` why that is not known. A stall is not a failure: it may resolve itself (a node is added, the storage comes
back), and it is reported meanwhile, with what a person can do.

A command's own termination message (`captionless.runtime.termination_message`) comes first; logs are never
quoted, since they may contain secrets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from captionless.errors import KINDS, PodFailureAction, UsageError, exit_codes
from captionless.kube.jobs.pod import METRICS_PORT
from captionless.kube.observed_state import Pod, Reading, Workload, newest_pods
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import Stage

LONGEST = 1000
"""Characters of a line; an event's note has at most 1024."""

NO_PODS = timedelta(seconds=30)
"""A Job creates its pods at once; after this long something forbids it."""
UNSCHEDULED = timedelta(seconds=10)
"""Ordinary scheduling is faster."""
NOT_STARTING = timedelta(seconds=45)
"""Mounting volumes takes a while; image pulls have reasons of their own."""
NODE_LOST = timedelta(seconds=30)
"""A kubelet terminates a pod within its grace period; this long after it, the node is not responding."""
STARTING = timedelta(minutes=10)
"""From the start of a container to its first unit: imports, models, data."""
SILENT = timedelta(minutes=2)
"""From the start of a container until it answers on its port; an import may take a while on a cold node."""
STEADY = timedelta(minutes=10)
"""How long a unit of a stage other than training may take before it counts as a stall."""

_IMAGE = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
_FAIL_JOB, _FAIL_INDEX = exit_codes(PodFailureAction.fail_job), exit_codes(PodFailureAction.fail_index)
_REPORTED = {kind.__name__ for kind in (*KINDS, UsageError)}


@dataclass(frozen=True)
class Cause:
    """A reason (one CamelCase word, for machines) and a message (one line)."""

    reason: str
    message: str


def describe_end(pod: Pod, stage: Stage) -> str:
    """How a pod ended, in one line."""
    if pod.end is not None and pod.end.reason == "OOMKilled":
        field = "trainMemory" if stage.gang else "memory"
        return f"out of memory (OOMKilled); increase resources.{field}"
    if pod.end is not None and pod.end.termination is not None and pod.end.termination.message:
        lines = pod.end.termination.message.splitlines()
        return truncate("; ".join(line.strip() for line in lines if line.strip()))
    if pod.evicted:
        return truncate(f"evicted: {' '.join(pod.evicted.split())}")
    if pod.end is not None:
        return f"exit code {pod.end.exit_code}; see kubectl logs {pod.name}"
    return f"pod {pod.name} {pod.phase.lower()} for an unknown reason"


def end_reason(pod: Pod) -> str:
    """How a pod ended, in one word: a class of `errors` that its command reported, `OOMKilled`, `Evicted`, or
    `Crashed` for anything else."""
    if pod.end is not None and pod.end.reason == "OOMKilled":
        return "OOMKilled"
    if pod.evicted:
        return "Evicted"
    reported = pod.end.termination.kind if pod.end is not None and pod.end.termination is not None else ""
    return reported if reported in _REPORTED else "Crashed"


def failed_pods(pods: Iterable[Pod]) -> list[Pod]:
    """The pods that failed and were not disrupted, the newest of every index."""
    return [p for p in newest_pods(pods).values() if p.phase == "Failed" and not p.disrupted]


def failure_cause(stage: Stage, pods: Sequence[Pod]) -> Cause | None:
    """Why the Job failed, from its pods; None while none of them has reported. The reason is the first one's.

    A wrong spec fails all shards alike and is reported once; bad data differs from shard to shard.
    """
    ended = sorted((p for p in failed_pods(pods) if p.end is not None or p.evicted), key=lambda p: p.index)
    wrong = [p for p in ended if p.end is not None and p.end.exit_code in _FAIL_JOB]
    broken = [p for p in ended if p.end is not None and p.end.exit_code in _FAIL_INDEX]
    kept = wrong[:1] or broken or ended[:1]
    if not kept:
        return None
    named = stage.workers > 1 and not stage.gang and not wrong
    lines = [f"shard {p.index}: {describe_end(p, stage)}" if named else describe_end(p, stage) for p in kept]
    return Cause(end_reason(kept[0]), truncate("; ".join(dict.fromkeys(lines))))


def stall_reason(
    spec: AlignmentSpec,
    stage: Stage,
    workload: Workload | None,
    pods: Sequence[Pod],
    readings: Mapping[str, Reading],
    silent: Mapping[str, datetime],
    disrupted: bool,
    now: datetime,
) -> Cause | None:
    """What keeps a stage from making progress; None when nothing does.

    `pods` are those of every attempt; `disrupted` says whether this attempt ever was.
    """
    lost = next((p for p in pods if not p.finished and p.deleting and now > p.deleting + NODE_LOST), None)
    if lost is not None:
        return Cause(
            "NodeLost",
            f"node {lost.node} does not confirm the termination of pod {lost.name}; if the node is gone for good: "
            f"kubectl delete node {lost.node}, or kubectl taint node {lost.node} "
            "node.kubernetes.io/out-of-service=lost:NoExecute",
        )
    if workload is None or workload.finished or workload.suspended or workload.deleting:
        return None
    mine = newest_pods(p for p in pods if p.attempt == workload.attempt)
    if not mine:
        # One that had pods may be in back-off.
        if workload.began is not None and now > workload.began + NO_PODS and not (workload.failures or disrupted):
            return Cause(
                "PodsForbidden",
                "no pod was created: a quota, an admission policy or the pod security standard forbids it; "
                f"see kubectl describe {workload.kind.lower()} {workload.name}",
            )
        return None
    running = [p for p in mine.values() if p.started is not None and not p.finished and not p.deleting]
    return (
        _not_starting(stage, mine.values(), bool(running), now)
        or _failing(stage, workload, mine.values())
        or _no_progress(spec, stage, running, readings, silent, now)
    )


def _not_starting(stage: Stage, pods: Iterable[Pod], others_run: bool, now: datetime) -> Cause | None:
    idle = [p for p in pods if not (p.finished or p.started or p.end or p.deleting)]
    for pod in idle:  # faults first: capacity may be found, a wrong image will not fix itself
        reason, words = pod.waiting[0], " ".join(pod.waiting[1].split())
        if reason in _IMAGE:
            words = words or "push the image, or delete the run and submit it with another"
            return Cause("ImagePullFailed", truncate(f"pod {pod.name}: {reason}: {words}"))
        if reason not in ("", "ContainerCreating", "PodInitializing"):
            return Cause(reason, truncate(f"pod {pod.name}: {words or reason}"))
    for pod in idle:
        age = now - pod.created if pod.created else timedelta()
        # Shards take turns when there is no room for all; the nodes of a training must run together.
        if pod.unschedulable and age > UNSCHEDULED and (stage.gang or not others_run):
            return Cause("Unschedulable", truncate(f"pod {pod.name}: {pod.unschedulable}"))
        if pod.node and age > NOT_STARTING:
            seconds = int(NOT_STARTING.total_seconds())
            why = f"has not started on node {pod.node} within {seconds} s; see kubectl describe pod {pod.name}"
            return Cause("PodNotStarting", f"pod {pod.name} {why}")
    return None


def _failing(stage: Stage, workload: Workload, pods: Iterable[Pod]) -> Cause | None:
    for pod in pods:
        if pod.phase != "Failed" or pod.disrupted:
            continue
        code = pod.end.exit_code if pod.end is not None else None
        if pod.index in workload.failed_indexes or code in _FAIL_INDEX:
            return Cause("ShardFailed", f"shard {pod.index}: {describe_end(pod, stage)}; the other shards continue")
        if code not in _FAIL_JOB:
            return Cause("Retrying", f"pod {pod.name}: {describe_end(pod, stage)}")
    return None


def _no_progress(
    spec: AlignmentSpec,
    stage: Stage,
    running: Sequence[Pod],
    readings: Mapping[str, Reading],
    silent: Mapping[str, datetime],
    now: datetime,
) -> Cause | None:
    """No pod made progress for too long, as far as pods have ever answered."""
    reporting = [p for p in _reporting(stage, running) if p.uid not in silent or p.uid in readings]
    since: list[datetime] = []
    for pod in reporting:
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
    pod = reporting[0]
    hidden = f", and does not answer on port {METRICS_PORT} any more" if pod.uid in silent else ""
    return Cause("NoProgress", f"pod {pod.name} reports no progress{hidden}; see kubectl logs {pod.name}")


def unobserved(
    stage: Stage, pods: Iterable[Pod], readings: Mapping[str, Reading], silent: Mapping[str, datetime], now: datetime
) -> Cause | None:
    """Why nothing is known of a running stage's progress; None if any of its pods has answered, or may yet.

    `pods` are those of the newest attempt.
    """
    asked = _reporting(stage, [p for p in pods if p.started is not None and not p.finished and not p.deleting])
    if not asked or any(p.uid in readings or p.uid not in silent for p in asked):
        return None
    if now <= min(p.started for p in asked if p.started is not None) + SILENT:
        return None
    more = f" and {len(asked) - 1} others" if len(asked) > 1 else ""
    return Cause(
        "MetricsUnreachable",
        f"pod {asked[0].name}{more}: no answer on port {METRICS_PORT}, so that progress is unknown and a hang is not "
        "noticed; the run goes on. Let the operator's pods reach it (NetworkPolicy, or mTLS of a service mesh)",
    )


def _reporting(stage: Stage, pods: Sequence[Pod]) -> list[Pod]:
    """The pods that report: node 0 of a training, for all nodes."""
    return [p for p in pods if p.index == 0] if stage.gang else list(pods)


def truncate(text: str) -> str:
    """At most `LONGEST` characters."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
