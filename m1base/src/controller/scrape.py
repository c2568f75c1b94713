"""Live progress, read from the pods' own /metrics: workers have no API token to write it anywhere.

Node 0 reports for a training, every pod for a sharded stage. A pod that does not answer keeps its last
reading, so that a hang of the whole pod shows as stale progress.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor
from datetime import UTC, datetime

import urllib3
from prometheus_client.parser import text_string_to_metric_families

from captionless.kube.jobs.pod import METRICS_PORT
from captionless.kube.observed_state import ObservedState, Pod, Reading
from captionless.telemetry import catalog

_TIMEOUT = urllib3.Timeout(connect=1.0, read=2.0)
_LONGEST = 1 << 20
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


def scrape(pods: Iterable[Pod], pool: Executor) -> dict[str, Reading]:
    """The readings by pod uid, of those that answered."""
    asked = list(pods)
    found = zip(asked, pool.map(_reading, asked), strict=True)
    return {pod.uid: reading for pod, reading in found if reading is not None}


_http = urllib3.PoolManager(num_pools=256, retries=False)  # evicting a pool that is in use fails its request


def _reading(pod: Pod) -> Reading | None:
    host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
    try:
        answer = _http.request("GET", f"http://{host}:{METRICS_PORT}/metrics", timeout=_TIMEOUT, preload_content=False)
        try:
            text = answer.read(_LONGEST).decode("utf-8", "replace") if answer.status == 200 else ""
        finally:
            answer.close()
        return parse(text, datetime.now(UTC))
    except (urllib3.exceptions.HTTPError, OSError, ValueError):
        return None


def parse(text: str, at: datetime) -> Reading | None:
    """A reading from the exposition format; None when it has no progress in it. ValueError for anything else."""
    found: dict[str, tuple[float, str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in (_UNITS, _DONE, _ADVANCED):
                found[sample.name] = (sample.value, sample.labels.get("unit", ""))
    if _UNITS not in found or _DONE not in found:
        return None
    advanced = found.get(_ADVANCED, (0.0, ""))[0]
    when = datetime.fromtimestamp(advanced, UTC) if advanced > 0 else None
    return Reading(int(found[_DONE][0]), int(found[_UNITS][0]), found[_UNITS][1], when, at)
