"""A stage's progress for Prometheus, served by the process that a pod runs (METRICS_PORT).

What is told is read at the moment it is asked for, from the same small file that the local runner reads (see
`progress`): a training's progress is rank 0's, a grandchild of the process that serves. The metrics carry the
stage's name; which shard or node of which run it is stands in the pod's labels. Which metrics there are is said in
`metrics`; docs/metrics.md lists them.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from captionless.errors import SpecError
from captionless.runtime import env
from captionless.telemetry import catalog, progress
from captionless.telemetry.catalog import Kind, Teller

_FAMILIES = {Kind.gauge: GaugeMetricFamily, Kind.counter: CounterMetricFamily}
_OF_PROGRESS = {
    catalog.STAGE_UNITS: "total",
    catalog.STAGE_UNITS_DONE: "done",
    catalog.STAGE_UNITS_PER_SECOND: "rate",
    catalog.STAGE_LAST_ADVANCE: "advanced",
}
_ALWAYS = (catalog.STAGE_READ_BYTES, catalog.STAGE_STORAGE_RETRIES)
"""Counters that are 0 where nothing was counted."""


def serve(stage: str) -> None:
    """Serves the progress of this process's stage, where the environment names a port; else does nothing.

    That the port is taken, or that there is no place for the file, is told and ends no work. SpecError for a port
    that is no number.
    """
    port = os.environ.get(env.METRICS_PORT, "")
    if not port:
        return
    if not port.isdigit() or int(port) > 65535:
        raise SpecError(f"{env.METRICS_PORT}: expected a port, found {port!r}")
    try:
        if env.PROGRESS not in os.environ:
            folder = tempfile.mkdtemp(prefix="captionless-progress-")
            os.environ[env.PROGRESS] = os.path.join(folder, "progress.json")
        registry = CollectorRegistry()
        registry.register(_Progress(stage, os.environ[env.PROGRESS]))
        _listen(int(port), registry)
    except OSError as error:
        print(f"captionless: no metrics on port {port}: {error.strerror or error}", file=sys.stderr, flush=True)


def _listen(port: int, registry: CollectorRegistry) -> None:
    """On all addresses, of both families where the kernel has both."""
    try:
        start_http_server(port, "::", registry)
    except OSError:
        start_http_server(port, "0.0.0.0", registry)


class _Progress(Collector):
    def __init__(self, stage: str, path: str):
        self._stage, self._path = stage, path

    def collect(self) -> Iterable[Metric]:
        """Nothing before the stage has told any progress."""
        state = progress.read(self._path)
        if state is None:
            return
        found: dict[str, list[tuple[list[str], float]]] = {metric.name: [([], 0)] for metric in _ALWAYS}
        found |= {metric.name: [([state.unit], getattr(state, field))] for metric, field in _OF_PROGRESS.items()}
        for name, group in groupby(sorted(state.measures), key=itemgetter(0)):
            found[name] = [(labels, value) for _, labels, value in group]
        for metric in catalog.told_by(Teller.stage, Teller.training):
            if metric.name in found:
                family = _FAMILIES[metric.kind](metric.name, metric.text, labels=metric.labels)
                for labels, value in found[metric.name]:
                    family.add_metric([self._stage, *labels], value)
                yield family
