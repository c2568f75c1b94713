"""Live progress, read from the pods' own /metrics: workers have no API token to write it anywhere.

Node 0 reports for a training, every pod for a sharded stage. A pod that does not answer any more keeps its last
reading, so that a hang of the whole pod shows as stale progress. One that never answered tells nothing of its work,
only of the way to it: a network policy, or a mesh that demands mTLS.

What answers may be anything: an answer has a length and a time, as a whole, after which it is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from captionless.kube.jobs.pod import METRICS_PORT
from captionless.kube.observed_state import ObservedState, Pod, Reading
from captionless.telemetry import catalog

_AT_ONCE = 128
"""Pods that are asked at the same time: a thousand that drop packets take eight seconds."""
_TIMEOUT = aiohttp.ClientTimeout(total=3.0, sock_connect=1.0)
_LONGEST = 1 << 18
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


def scrape(pods: Iterable[Pod]) -> Answers:
    """Asks pods for their progress."""
    asked = list(pods)
    readings: dict[str, Reading] = {}
    silent: set[str] = set()
    for pod, answer in zip(asked, asyncio.run(_answers(asked)) if asked else (), strict=True):
        if isinstance(answer, Reading):
            readings[pod.uid] = answer
        elif answer is None:
            silent.add(pod.uid)
    return Answers(readings, frozenset(silent), frozenset(pod.uid for pod in asked))


Answer = Reading | Literal["nothing yet"] | None
"""What a pod tells; None if it does not answer, or something else does."""


async def _answers(pods: list[Pod]) -> list[Answer]:
    found: list[Answer] = [None] * len(pods)
    waiting = iter(enumerate(pods))
    # A connection each: those that are kept would be to pods that may be gone.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:

        async def ask() -> None:
            for place, pod in waiting:
                found[place] = await _answer(session, pod)

        await asyncio.gather(*(ask() for _ in range(min(_AT_ONCE, len(pods)))))
    return found


async def _answer(session: aiohttp.ClientSession, pod: Pod) -> Answer:
    host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
    url = f"http://{host}:{METRICS_PORT}/metrics"
    try:
        async with session.get(url, timeout=_TIMEOUT, allow_redirects=False) as answer:
            if answer.status != 200:
                return None
            content = b""
            async for some in answer.content.iter_any():
                content += some
                if len(content) > _LONGEST:
                    return None
        return parse(content.decode("utf-8", "replace"), datetime.now(UTC)) or "nothing yet"
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
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
