"""The controller's own metrics: the state of all Alignments, read from the cache at scrape, and its work.

State is not counted along the way but collected when it is asked for, so it cannot drift; what happened
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
from captionless.controller.record import State

PORT = 8081


class Metrics:
    """What the controller counts of its own work."""

    def __init__(self, registry: CollectorRegistry):
        self.seconds = Histogram(
            "captionless_reconcile_seconds", "Time to reconcile an Alignment once.", registry=registry
        )
        self.errors = Counter(
            "captionless_reconcile_errors", "Reconciles that failed and are tried again.", ["error"], registry=registry
        )
        self.queue = Gauge("captionless_work_queue_length", "Alignments that wait to be reconciled.", registry=registry)
        self.leading = Gauge("captionless_controller_leading", "1 while the Lease is held.", registry=registry)
        ProcessCollector(registry=registry)


class AlignmentCollector(Collector):
    """Conditions and stages of every Alignment, as their status has them."""

    def __init__(self, cache: Cache):
        self.cache = cache

    def collect(self) -> Iterator[Metric]:
        """The families, made from the cache as it is now."""
        one = ["namespace", "alignment"]
        total = GaugeMetricFamily(
            "captionless_alignments", "Alignments by condition and its status.", labels=["condition", "status"]
        )
        condition = GaugeMetricFamily(
            "captionless_alignment_condition",
            "1 for the status that a condition has.",
            labels=[*one, "condition", "status", "reason"],
        )
        state = GaugeMetricFamily(
            "captionless_alignment_stage_state", "1 for the state that a stage is in.", labels=[*one, "stage", "state"]
        )
        progress = GaugeMetricFamily(
            "captionless_alignment_stage_progress_ratio", "Share of a stage that is done.", labels=[*one, "stage"]
        )
        disruptions = GaugeMetricFamily(
            "captionless_alignment_stage_disruptions", "Disruptions of a stage so far.", labels=[*one, "stage"]
        )
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
                stage, now = str(s.get("name")), str(s.get("state") or State.waiting)
                state.add_metric([*name, stage, now], 1)
                disruptions.add_metric([*name, stage], s.get("disruptions", 0))
                if s.get("total"):
                    progress.add_metric([*name, stage], s.get("done", 0) / s["total"])
        for (kind, value), count in sorted(counted.items()):
            total.add_metric([kind, value], count)
        yield from (total, condition, state, progress, disruptions)
