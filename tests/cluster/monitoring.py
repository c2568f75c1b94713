"""The chart's rules and dashboards on a real Prometheus: alerts sped up, and queries as Grafana sends them."""

from __future__ import annotations

import json
import math
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests import pace
from tests.cluster.cluster import Cluster
from tests.cluster.operator import CHARTS

FILES = CHARTS / "captionless" / "files"
QUICKER = 180
"""What every time in the rules is divided by: half an hour becomes ten seconds."""

_LEAST = 10.0
"""Seconds of a range at least, scaled by the pace: a few scrapes, or a rate has nothing to go by."""

_ROUNDS = 90.0
"""Seconds of a range of rounds at least, scaled by the pace: a training makes a few of them."""

_RANGE = re.compile(r"\[(\d+[smhd])(?::(\d+[smhd]))?\]")
_AGE = re.compile(r"(time\(\) - \S+ > )(\d+)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def quicker(text: str) -> str:
    """The rules of a file with every time divided by `QUICKER`, and nothing else changed: how long a cause must last
    (`for`), the ranges that are looked at (`_LEAST` or `_ROUNDS` at least) with their steps, and ages in seconds."""
    rules = yaml.safe_load(text)
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        least = _ROUNDS if "captionless_train_round" in rule["expr"] else _LEAST
        rule["expr"] = _RANGE.sub(partial(_quicker_range, least), rule["expr"])
        rule["expr"] = _AGE.sub(lambda found: f"{found[1]}{int(found[2]) / QUICKER:g}", rule["expr"])
        if "for" in rule:
            rule["for"] = f"{_divided(rule['for'])}ms"
    return str(yaml.safe_dump(rules))


def _quicker_range(least: float, found: re.Match[str]) -> str:
    step = f":{_divided(found[2])}ms" if found[2] else ""
    return f"[{max(_divided(found[1]), 1000 * pace.scaled(least))}ms{step}]"


def _divided(duration: str) -> int:
    """Milliseconds of a duration, divided."""
    return round(1000 * int(duration[:-1]) * _UNITS[duration[-1]] / QUICKER)


@contextmanager
def alerting(cluster: Cluster) -> Iterator[None]:
    """The chart's rules, quicker, are Prometheus' while the block lasts."""
    file = Path(cluster.variables["CAPTIONLESS_TEST_PROMETHEUS_RULES"]) / "captionless.yaml"
    file.write_text(quicker((FILES / "rules.yaml").read_text()))
    _reload(cluster)
    try:
        yield
    finally:
        file.unlink()
        _reload(cluster)


def _reload(cluster: Cluster) -> None:
    urllib.request.urlopen(f"{cluster.prometheus}/-/reload", b"", timeout=pace.seconds(30)).close()


def fires(cluster: Cluster, alert: str, **labels: str) -> bool:
    """Whether an alert is raised whose labels have these values."""
    wanted = {"alertname": alert, "alertstate": "firing", **labels}
    matchers = ", ".join(f'{label}="{value}"' for label, value in wanted.items())
    return bool(cluster.query(f"ALERTS{{{matchers}}}"))


@dataclass(frozen=True)
class Panel:
    """A panel's query with the variables filled in. table: it is asked for one moment, else for a range."""

    name: str
    query: str
    table: bool


def panels() -> list[Panel]:
    """Every query of every dashboard, for all namespaces and Alignments, with ranges as the rules have them here."""
    return [
        Panel(f"{path.stem}: {panel['title']}", _filled(target["expr"]), bool(target.get("instant")))
        for path in sorted((FILES / "dashboards").glob("*.json"))
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
    ]


def _filled(expression: str) -> str:
    expression = _RANGE.sub(partial(_quicker_range, _LEAST), expression)
    for name, value in {"$namespace": ".*", "$alignment": ".*", "$__rate_interval": "30s"}.items():
        expression = expression.replace(name, value)
    return expression


def has_data(cluster: Cluster, panel: Panel, since: float) -> bool:
    """Whether a panel that shows the time from `since` (seconds since the epoch) on has a number to show."""
    if panel.table:
        values = [found["value"] for found in cluster.query(panel.query)]
    else:
        asked = {"query": panel.query, "start": since, "end": time.time(), "step": 2}
        url = f"{cluster.prometheus}/api/v1/query_range?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(url, timeout=pace.seconds(30)) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        values = [value for series in found for value in series["values"]]
    return any(not math.isnan(float(value)) for _, value in values)
