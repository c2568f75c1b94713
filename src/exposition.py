"""A stage's progress for Prometheus, served by the process that a pod runs (METRICS_PORT).

What is told is read at the moment it is asked for, from the same small file that the local runner reads (see
`progress`): a training's progress is rank 0's, a grandchild of the process that serves. The metrics carry the
stage's name; which shard or node of which run it is stands in the pod's labels.

    captionless_stage_units, captionless_stage_units_done{stage,unit}
    captionless_stage_units_per_second{stage,unit}              since this process began
    captionless_stage_last_advance_timestamp_seconds{stage,unit}  when the last unit was done, or the first was begun
    captionless_train_loss, captionless_train_logit_scale, captionless_train_round{stage}
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from captionless import environment, progress
from captionless.errors import SpecError

_TRAINING = {
    "loss": ("captionless_train_loss", "Training loss of the last step."),
    "scale": ("captionless_train_logit_scale", "Learned scale of the logits, the inverse temperature."),
    "round": ("captionless_train_round", "How often this supervisor has started the ranks; of several nodes only."),
}


def serve(stage: str) -> None:
    """Serves the progress of this process's stage, where the environment names a port; else does nothing.

    That the port is taken, or that there is no place for the file, is told and ends no work. SpecError for a port
    that is no number.
    """
    port = os.environ.get(environment.METRICS_PORT, "")
    if not port:
        return
    if not port.isdigit() or int(port) > 65535:
        raise SpecError(f"{environment.METRICS_PORT}: expected a port, found {port!r}")
    try:
        if environment.PROGRESS not in os.environ:
            folder = tempfile.mkdtemp(prefix="captionless-progress-")
            os.environ[environment.PROGRESS] = os.path.join(folder, "progress.json")
        registry = CollectorRegistry()
        registry.register(_Progress(stage, os.environ[environment.PROGRESS]))
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

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Nothing before the stage has told any progress."""
        state = progress.read(self._path)
        if state is None:
            return
        yield self._gauge("captionless_stage_units", "Units of work of this process.", state.total, state.unit)
        yield self._gauge("captionless_stage_units_done", "Units that are done.", state.done, state.unit)
        yield self._gauge("captionless_stage_units_per_second", "Mean speed since it began.", state.rate, state.unit)
        name = "captionless_stage_last_advance_timestamp_seconds"
        yield self._gauge(name, "When the last unit was done, or the first begun.", state.advanced, state.unit)
        for key, (name, text) in _TRAINING.items():
            if isinstance(value := state.info.get(key), int | float):
                yield self._gauge(name, text, value)

    def _gauge(self, name: str, text: str, value: float, unit: str = "") -> GaugeMetricFamily:
        labels = {"stage": self._stage} | ({"unit": unit} if unit else {})
        family = GaugeMetricFamily(name, text, labels=list(labels))
        family.add_metric(list(labels.values()), value)
        return family
