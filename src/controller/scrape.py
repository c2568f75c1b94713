"""Live progress, read from the pods' own /metrics: workers have no API token to write it anywhere.

Node 0 reports for a training, every pod for a sharded stage. A pod that does not answer any more keeps its last
reading, so that a hang of the whole pod shows as stale progress. One that never answered tells nothing of its work,
only of the way to it: a network policy, or a mesh that demands mTLS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import urllib3
from prometheus_client.parser import text_string_to_metric_families

from captionless.kube.jobs.pod import METRICS_PORT
from captionless.kube.observed_state import ObservedState, Pod, Reading
from captionless.telemetry import catalog

_TIMEOUT = urllib3.Timeout(connect=1.0, read=2.0)
_LONGEST = 1 << 20
_MOST = 2.0**53  # units: what a float keeps exactly, and Kubernetes stores
_UNITS, _DONE = catalog.STAGE_UNITS.name, catalog.STAGE_UNITS_DONE.name
_ADVANCED = catalog.STAGE_LAST_ADVANCE.name


def reporting_pods(seen: ObservedState) -> list[Pod]:
    """The running pods that report their stage's progress."""
    live = {(w.stage, w.attempt) for w in seen.workloads if not w.finished and not w.suspended}
    return [
        p
        for p in seen.pods
        if (p.stage, p.attempt) in live
        and p.ip
        and p.started is not None
        and not p.finished
        and (p.index == 0 or not p.stage.startswith("train-"))
    ]


@dataclass(frozen=True)
class Answers:
    """By pod uid: the readings, who did not answer, and who was asked. Some have no progress to tell yet."""

    readings: Mapping[str, Reading]
    silent: frozenset[str]
    asked: frozenset[str]


def scrape(pods: Iterable[Pod], pool: Executor) -> Answers:
    """Asks pods for their progress."""
    asked = list(pods)
    readings: dict[str, Reading] = {}
    silent: set[str] = set()
    for pod, answer in zip(asked, pool.map(_answer, asked), strict=True):
        if isinstance(answer, Reading):
            readings[pod.uid] = answer
        elif answer is None:
            silent.add(pod.uid)
    return Answers(readings, frozenset(silent), frozenset(pod.uid for pod in asked))


_http = urllib3.PoolManager(num_pools=256, retries=False)  # evicting a pool that is in use fails its request


def _answer(pod: Pod) -> Reading | Literal["nothing yet"] | None:
    """What a pod tells; None if it does not answer, or something else does."""
    host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
    try:
        answer = _http.request("GET", f"http://{host}:{METRICS_PORT}/metrics", timeout=_TIMEOUT, preload_content=False)
        try:
            text = answer.read(_LONGEST).decode("utf-8", "replace") if answer.status == 200 else None
        finally:
            answer.close()
        return None if text is None else parse(text, datetime.now(UTC)) or "nothing yet"
    except (urllib3.exceptions.HTTPError, OSError, ValueError):
        return None


def parse(text: str, at: datetime) -> Reading | None:
    """A reading from the exposition format; None when it has no progress in it.

    ValueError for anything else: nothing that a pod may tell stops the round of all.
    """
    found: dict[str, tuple[float, str]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name in (_UNITS, _DONE, _ADVANCED):
                    found[sample.name] = (sample.value, sample.labels.get("unit", ""))
    except LookupError as error:  # the parser's answer to a label without a name
        raise ValueError("not the exposition format") from error
    if _UNITS not in found or _DONE not in found:
        return None
    (total, unit), (done, _), (advanced, _) = found[_UNITS], found[_DONE], found.get(_ADVANCED, (0.0, ""))
    if not (0 <= done <= _MOST and 0 <= total <= _MOST):
        raise ValueError(f"{done} of {total} is no progress")
    when = datetime.fromtimestamp(min(advanced, at.timestamp()), UTC) if advanced > 0 else None
    return Reading(int(done), int(total), unit, when, at)
