"""What this process has measured beside its progress: counters and gauges of `metrics`, kept where they are found.

Who reads, skips or steps says so with one line and knows of no Prometheus. The values go into the progress file
(`progress`) and from there, by the process that serves a pod's metrics, to whoever asks (`exposition`).
"""

from __future__ import annotations

from threading import Lock
from typing import Any

from captionless.telemetry.catalog import Metric

_values: dict[tuple[str, tuple[str, ...]], float] = {}
_lock = Lock()


def set_value(metric: Metric, value: float, **labels: str) -> None:
    """The metric's value is this now. `labels`: all of the metric's but `stage`, which the exposition knows."""
    with _lock:
        _values[_key(metric, labels)] = value


def add(metric: Metric, amount: float = 1, **labels: str) -> None:
    """A counter is so much further; with 0 it is there from now on, so that its first increase is seen as one."""
    key = _key(metric, labels)
    with _lock:
        _values[key] = _values.get(key, 0) + amount


def snapshot() -> list[list[Any]]:
    """All values: name, values of the labels without `stage`, value."""
    with _lock:
        return [[name, list(labels), value] for (name, labels), value in _values.items()]


def reset() -> None:
    """Begin anew, as another process would."""
    with _lock:
        _values.clear()


def _key(metric: Metric, labels: dict[str, str]) -> tuple[str, tuple[str, ...]]:
    wanted = tuple(label for label in metric.labels if label != "stage")
    if set(labels) != set(wanted):
        raise ValueError(f"{metric.name} has the labels {wanted}, not {tuple(labels)}")
    return metric.name, tuple(labels[label] for label in wanted)
