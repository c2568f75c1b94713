"""The metrics endpoint of a stage's process in a pod (METRICS_PORT).

Values are read on every scrape from the same small file that the local runner reads (see `progress`): a training's
progress is that of rank 0, a grandchild of the process that serves. Metrics have the name of the stage as a label; the
shard or node, and the run, are labels of the pod. `catalog` declares the metrics; docs/metrics.md lists them.
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
from captionless.runtime import env, temporary_files
from captionless.telemetry import catalog, progress
from captionless.telemetry.catalog import Exporter, Kind

_FAMILIES = {Kind.gauge: GaugeMetricFamily, Kind.counter: CounterMetricFamily}
_OF_PROGRESS = {
    catalog.STAGE_UNITS: "total",
    catalog.STAGE_UNITS_DONE: "done",
    catalog.STAGE_UNITS_PER_SECOND: "rate",
    catalog.STAGE_LAST_ADVANCE: "advanced",
}
_ALWAYS = (catalog.STAGE_READ_BYTES, catalog.STAGE_STORAGE_RETRIES)
"""Counters that are exported as 0 before anything was counted."""


def serve(stage: str) -> None:
    """Serves the metrics of this process's stage if the environment names a port.

    A port that is taken, or a file that cannot be created, is a warning on stderr. SpecError for an invalid port.
    """
    port = os.environ.get(env.METRICS_PORT, "")
    if not port:
        return
    if not port.isdigit() or int(port) > 65535:
        raise SpecError(f"{env.METRICS_PORT}: expected a port number, found {port!r}")
    try:
        if env.PROGRESS not in os.environ:
            folder = tempfile.mkdtemp(prefix=temporary_files.prefix())
            os.environ[env.PROGRESS] = os.path.join(folder, "progress.json")
        registry = CollectorRegistry()
        registry.register(_Progress(stage, os.environ[env.PROGRESS]))
        _listen(int(port), registry)
    except OSError as error:
        print(
            f"captionless: cannot serve metrics on port {port}: {error.strerror or error}", file=sys.stderr, flush=True
        )


def _listen(port: int, registry: CollectorRegistry) -> None:
    """Listens on all addresses, IPv6 and IPv4 where the kernel has both."""
    try:
        start_http_server(port, "::", registry)
    except OSError:
        start_http_server(port, "0.0.0.0", registry)


class _Progress(Collector):
    def __init__(self, stage: str, path: str):
        self._stage, self._path = stage, path

    def collect(self) -> Iterable[Metric]:
        """No metrics before the stage has reported any progress."""
        state = progress.read(self._path)
        if state is None:
            return
        found: dict[str, list[tuple[list[str], float]]] = {metric.name: [([], 0)] for metric in _ALWAYS}
        found |= {metric.name: [([state.unit], getattr(state, field))] for metric, field in _OF_PROGRESS.items()}
        for name, group in groupby(sorted(state.measures), key=itemgetter(0)):
            found[name] = [(labels, value) for _, labels, value in group]
        for metric in catalog.exported_by(Exporter.stage, Exporter.training):
            if metric.name in found:
                family = _FAMILIES[metric.kind](metric.name, metric.text, labels=metric.labels)
                for labels, value in found[metric.name]:
                    family.add_metric([self._stage, *labels], value)
                yield family
