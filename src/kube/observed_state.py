"""The observed state of a run in the cluster: plain values, read from the API's objects and nothing else.

An Alignment has a `Workload` (a Job, or a JobSet with the Job in it) for every attempt at a stage,
and the workload has `Pod`s. The values hold only what decisions are made from, so that a
cache of thousands stays small. Missing or unknown fields are never an error:
the objects may come from another version of Kubernetes.

How often a pod's index failed before is not counted here: Kubernetes writes it into the replacement
(annotations `batch.kubernetes.io/job-index-failure-count` and `...-ignored-failure-count`, KEP-3850),
so a controller that was away knows it as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from sys import intern
from typing import Any, Literal

from captionless.errors import PodFailureAction, exit_codes
from captionless.kube.jobs import names
from captionless.kube.jobs.failure import WORKER
from captionless.runtime.termination_message import TerminationMessage, parse

RETRY = f"{names.GROUP}/retry"
"""Annotation of an Alignment: a new value retries its failed stages."""
DISRUPTIONS = f"{names.GROUP}/disruptions"
"""Annotation of a Job: how often its stage was disrupted in earlier attempts."""

_INDEX = "batch.kubernetes.io/job-completion-index"
_FAILURES = "batch.kubernetes.io/job-index-failure-count"
_IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"
_IGNORED_CODES = exit_codes(PodFailureAction.ignore)

Key = tuple[str, str]
"""Namespace and name of an Alignment."""
Object = Mapping[str, Any]


@dataclass(frozen=True)
class Alignment:
    """The custom resource, with its `spec` and `status` unparsed."""

    namespace: str
    name: str
    uid: str
    generation: int
    version: str
    created: datetime | None
    deleting: bool
    spec: Mapping[str, Any]
    status: Mapping[str, Any]
    retry: str

    @property
    def key(self) -> Key:
        return (self.namespace, self.name)


@dataclass(frozen=True)
class Failed:
    """Why a Job failed, as Kubernetes says."""

    reason: str
    message: str


@dataclass(frozen=True)
class Workload:
    """One attempt at a stage: a Job or a JobSet. `owner` is the uid of its controller.

    began: when it last began to make pods. ended: when it completed or failed.
    failures: its failed pods that were not ignored. disruptions_before: those of earlier attempts.
    image: of its pods.
    """

    kind: Literal["Job", "JobSet"]
    namespace: str
    name: str
    uid: str
    owner: str
    stage: str
    attempt: int
    created: datetime | None
    suspended: bool
    deleting: bool
    complete: bool
    failed: Failed | None
    began: datetime | None
    ended: datetime | None
    failures: int = 0
    completed: frozenset[int] = frozenset()
    failed_indexes: frozenset[int] = frozenset()
    disruptions_before: int = 0
    image: str = ""

    @property
    def finished(self) -> bool:
        return self.complete or self.failed is not None


@dataclass(frozen=True)
class End:
    """How a pod's container ended; `termination` is the command's own message (None: it left none)."""

    exit_code: int
    reason: str
    at: datetime | None
    termination: TerminationMessage | None


@dataclass(frozen=True)
class Pod:
    """A pod of a stage. `owner` is the uid of its Job.

    deleting: when its grace period ends, once it is being deleted.
    failures, ignored: how often its index failed before it, counted and not counted (disruptions).
    unschedulable: the scheduler's message. waiting: why its container does not start: reason, message.
    evicted: Kubernetes' message when it, not the command, ended the pod. image_id: what the name `image` led to.
    """

    namespace: str
    name: str
    uid: str
    owner: str
    stage: str
    attempt: int
    index: int
    node: str = ""
    ip: str = ""
    phase: str = "Pending"
    created: datetime | None = None
    started: datetime | None = None
    deleting: datetime | None = None
    failures: int = 0
    ignored: int = 0
    unschedulable: str = ""
    waiting: tuple[str, str] = ("", "")
    end: End | None = None
    disruption: str = ""
    evicted: str = ""
    image: str = ""
    image_id: str = ""

    @property
    def finished(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    @property
    def disrupted(self) -> bool:
        """Whether it was disrupted rather than failed; its Job does not count this."""
        return self.phase == "Failed" and (
            bool(self.disruption) or (self.end is not None and self.end.exit_code in _IGNORED_CODES)
        )


@dataclass(frozen=True)
class Reading:
    """The progress that a pod reports, in its own units; `advanced` is when it last made any."""

    done: int
    total: int
    unit: str
    advanced: datetime | None
    at: datetime


@dataclass(frozen=True)
class Problem:
    """What the API server refused, in a word and a line."""

    reason: str
    message: str


@dataclass(frozen=True)
class ObservedState:
    """All that is known about one Alignment. By pod uid: `readings`, and `silent`, since when a pod that was asked for
    its progress has not answered."""

    alignment: Alignment
    workloads: tuple[Workload, ...] = ()
    pods: tuple[Pod, ...] = ()
    readings: Mapping[str, Reading] = field(default_factory=dict)
    problem: Problem | None = None
    namespace_terminating: bool = False
    silent: Mapping[str, datetime] = field(default_factory=dict)


def parse_time(text: Any) -> datetime | None:
    """The time of a metav1.Time or MicroTime (RFC 3339, in UTC); None if it is absent or malformed."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")) if text else None
    except ValueError:
        return None


def format_time(time: datetime) -> str:
    """A metav1.Time: whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(time: datetime) -> str:
    """A metav1.MicroTime."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def key_of(found: Object) -> Key | None:
    """The Alignment that an object is or belongs to; None for a stranger."""
    metadata = found.get("metadata") or {}
    if found.get("kind") == "Alignment":
        return (metadata.get("namespace", ""), metadata.get("name", ""))
    name = (metadata.get("labels") or {}).get(names.ALIGNMENT)
    return (metadata.get("namespace", ""), name) if name else None


def alignment(found: Object) -> Alignment:
    """An Alignment from its object."""
    metadata = found["metadata"]
    return Alignment(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        generation=int(metadata.get("generation") or 0),
        version=str(metadata.get("resourceVersion", "")),
        created=parse_time(metadata.get("creationTimestamp")),
        deleting=bool(metadata.get("deletionTimestamp")),
        spec=found.get("spec") or {},
        status=found.get("status") or {},
        retry=str((metadata.get("annotations") or {}).get(RETRY, "")),
    )


def workload(found: Object) -> Workload:
    """A Job or a JobSet from its object."""
    metadata, spec, status = found["metadata"], found.get("spec") or {}, found.get("status") or {}
    labels = metadata.get("labels") or {}
    is_set = found.get("kind") == "JobSet"
    conditions = {c.get("type"): c for c in status.get("conditions") or () if c.get("status") == "True"}
    complete = conditions.get("Completed" if is_set else "Complete")
    failed = conditions.get("Failed")
    last = complete or failed
    return Workload(
        kind="JobSet" if is_set else "Job",
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        owner=_owner(metadata),
        stage=labels.get(names.STAGE, ""),
        attempt=_number(labels.get(names.ATTEMPT)),
        created=parse_time(metadata.get("creationTimestamp")),
        suspended=bool(spec.get("suspend")),
        deleting=bool(metadata.get("deletionTimestamp")),
        complete=complete is not None,
        failed=Failed(str(failed.get("reason", "")), str(failed.get("message", ""))) if failed else None,
        began=parse_time(status.get("startTime")),
        ended=parse_time(last.get("lastTransitionTime")) if last else None,
        failures=_number(status.get("failed")),
        completed=_indexes(status.get("completedIndexes")),
        failed_indexes=_indexes(status.get("failedIndexes")),
        disruptions_before=_number((metadata.get("annotations") or {}).get(DISRUPTIONS)),
        image=_image((spec.get("template") or {}).get("spec") or {}),
    )


def joined(workloads: Iterable[Workload], owner: str) -> tuple[Workload, ...]:
    """The workloads of an Alignment (by uid); a JobSet gets the counts of the Job in it."""
    found = list(workloads)
    inner = {w.owner: w for w in found if w.kind == "Job"}
    mine = []
    for w in found:
        if w.owner != owner:
            continue
        job = inner.get(w.uid) if w.kind == "JobSet" else None
        if job is not None:
            w = replace(
                w,
                failed=job.failed if w.failed and job.failed else w.failed,
                began=job.began,
                failures=job.failures,
                completed=job.completed,
                failed_indexes=job.failed_indexes,
                image=job.image,
            )
        mine.append(w)
    return tuple(sorted(mine, key=lambda w: (w.stage, w.attempt)))


def belonging(pods: Iterable[Pod], workloads: Iterable[Workload], owner: str) -> tuple[Pod, ...]:
    """The pods that concern an Alignment (by uid): those of its Jobs, and any labelled with its name that still run (of
    deleted Jobs, or of a deleted Alignment of the same name), since they write to the same places."""
    found = list(workloads)
    mine = {w.uid for w in found if w.owner == owner}
    mine |= {w.uid for w in found if w.owner in mine}
    return tuple(p for p in pods if p.owner in mine or not p.finished)


def pod(found: Object) -> Pod:
    """A pod from its object."""
    metadata, spec, status = found["metadata"], found.get("spec") or {}, found.get("status") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    container: Object = next((c for c in status.get("containerStatuses") or () if c.get("name") == WORKER), {})
    state = container.get("state") or {}
    waiting, running = state.get("waiting") or {}, state.get("running") or {}
    conditions = {c.get("type"): c for c in status.get("conditions") or ()}
    scheduled, target = conditions.get("PodScheduled") or {}, conditions.get("DisruptionTarget") or {}
    return Pod(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        owner=_owner(metadata),
        stage=labels.get(names.STAGE, ""),
        attempt=_number(labels.get(names.ATTEMPT)),
        index=_number(labels.get(_INDEX, annotations.get(_INDEX))),
        node=spec.get("nodeName") or "",
        ip=status.get("podIP") or "",
        phase=status.get("phase") or "Pending",
        created=parse_time(metadata.get("creationTimestamp")),
        started=parse_time(running.get("startedAt")),
        deleting=parse_time(metadata.get("deletionTimestamp")),
        failures=_number(annotations.get(_FAILURES)),
        ignored=_number(annotations.get(_IGNORED)),
        unschedulable=str(scheduled.get("message", "")) if scheduled.get("reason") == "Unschedulable" else "",
        waiting=(str(waiting.get("reason", "")), str(waiting.get("message", ""))),
        end=_end(state.get("terminated")),
        disruption=str(target.get("reason") or "Disrupted") if target.get("status") == "True" else "",
        evicted=str(status.get("message", "")) if status.get("reason") else "",
        image=_image(spec),
        image_id=intern(str(container.get("imageID") or "")),
    )


def _image(spec: Object) -> str:
    """The worker's image, of a pod's spec. Thousands of pods share one."""
    found: Object = next((c for c in spec.get("containers") or () if c.get("name") == WORKER), {})
    return intern(str(found.get("image") or ""))


def _end(terminated: Object | None) -> End | None:
    if not terminated:
        return None
    return End(
        exit_code=_number(terminated.get("exitCode")),
        reason=str(terminated.get("reason", "")),
        at=parse_time(terminated.get("finishedAt")),
        termination=parse(str(terminated.get("message") or "")),
    )


def _owner(metadata: Object) -> str:
    return next((str(o.get("uid", "")) for o in metadata.get("ownerReferences") or () if o.get("controller")), "")


def _number(value: Any) -> int:
    try:
        return int(value or 0)
    except (TypeError, ValueError):
        return 0


def _indexes(text: Any) -> frozenset[int]:
    """Kubernetes' list of indexes, as `0,2-4`."""
    found: set[int] = set()
    for piece in str(text or "").split(","):
        first, _, last = piece.partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def newest_pods(pods: Iterable[Pod]) -> dict[int, Pod]:
    """The last pod of every index, in their order."""
    found: dict[int, Pod] = {}
    for pod in pods:
        other = found.get(pod.index)
        if other is None or _age(pod) >= _age(other):
            found[pod.index] = pod
    return dict(sorted(found.items()))


def _age(pod: Pod) -> tuple[int, float, str]:
    return (pod.failures + pod.ignored, pod.created.timestamp() if pod.created else 0.0, pod.name)
