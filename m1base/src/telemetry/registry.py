"""The registry of this process: values of the counters and gauges of `catalog`.

Code that counts or measures calls `add` or `set_value` and needs no Prometheus. The values go into the progress file
(`progress`), from which the process that serves a pod's metrics reads them (`server`).
"""

from __future__ import annotations

from threading import Lock
from typing import Any

from captionless.telemetry.catalog import Metric

_values: dict[tuple[str, tuple[str, ...]], float] = {}
_lock = Lock()


def set_value(metric: Metric, value: float, **labels: str) -> None:
    """Sets a gauge. `labels`: all of the metric's but `stage`, which the server adds."""
    with _lock:
        _values[_key(metric, labels)] = value


def add(metric: Metric, amount: float = 1, **labels: str) -> None:
    """Increments a counter; by 0 to export it from now on, so that its first increase is visible as one."""
    key = _key(metric, labels)
    with _lock:
        _values[key] = _values.get(key, 0) + amount


def snapshot() -> list[list[Any]]:
    """All values: name, values of the labels without `stage`, value."""
    with _lock:
        return [[name, list(labels), value] for (name, labels), value in _values.items()]


def reset() -> None:
    """Clears all values, as in a new process."""
    with _lock:
        _values.clear()


def _key(metric: Metric, labels: dict[str, str]) -> tuple[str, tuple[str, ...]]:
    wanted = tuple(label for label in metric.labels if label != "stage")
    if set(labels) != set(wanted):
        raise ValueError(f"{metric.name}: expected the labels {wanted}, found {tuple(labels)}")
    return metric.name, tuple(labels[label] for label in wanted)
