"""The controller's metrics: the state of all Alignments, read from the cache at scrape time, and its own work.

State is not counted along the way but collected at scrape time, so it cannot drift; what happened
(reconciles, errors) is counted.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from captionless.controller.cache import Cache
from captionless.kube.stage_record import StageState
from captionless.telemetry import catalog

PORT = 8081


class Metrics:
    """Counters of the controller's own work."""

    def __init__(self, registry: CollectorRegistry):
        seconds, errors = catalog.RECONCILE_SECONDS, catalog.RECONCILE_ERRORS
        queue, leading = catalog.WORK_QUEUE_LENGTH, catalog.CONTROLLER_LEADING
        self.seconds = Histogram(seconds.name, seconds.text, registry=registry)
        self.errors = Counter(errors.name, errors.text, errors.labels, registry=registry)
        self.queue = Gauge(queue.name, queue.text, registry=registry)
        self.leading = Gauge(leading.name, leading.text, registry=registry)
        ProcessCollector(registry=registry)


class AlignmentCollector(Collector):
    """Conditions and stages of every Alignment, as their status has them."""

    def __init__(self, cache: Cache):
        self.cache = cache

    def collect(self) -> Iterator[Metric]:
        """The metric families, from the current cache."""
        total = _family(catalog.ALIGNMENTS)
        condition = _family(catalog.ALIGNMENT_CONDITION)
        state = _family(catalog.ALIGNMENT_STAGE_STATE)
        failed = _family(catalog.ALIGNMENT_STAGE_FAILED)
        progress = _family(catalog.ALIGNMENT_STAGE_PROGRESS)
        disruptions = _family(catalog.ALIGNMENT_STAGE_DISRUPTIONS)
        counted: Tally[tuple[str, str]] = Tally()
        for key in self.cache.alignments():
            seen = self.cache.observed(key)
            if seen is None:
                continue
            status, name = seen.alignment.status, list(key)
            for c in status.get("conditions") or ():
                counted[(str(c.get("type")), str(c.get("status")))] += 1
                labels = [str(c.get(k, "")) for k in ("type", "status", "reason")]
                condition.add_metric([*name, *labels], 1)
            for s in status.get("stages") or ():
                stage, now = str(s.get("name")), str(s.get("state") or StageState.waiting)
                state.add_metric([*name, stage, now], 1)
                if now == StageState.failed:
                    failed.add_metric([*name, stage, str(s.get("reason") or "Failed")], 1)
                disruptions.add_metric([*name, stage], s.get("disruptions", 0))
                if s.get("total"):
                    progress.add_metric([*name, stage], s.get("done", 0) / s["total"])
        for (kind, value), count in sorted(counted.items()):
            total.add_metric([kind, value], count)
        yield from (total, condition, state, failed, progress, disruptions)


def _family(metric: catalog.Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.text, labels=metric.labels)
