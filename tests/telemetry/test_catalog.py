"""Metric names follow one rule, label values are bounded, and alerts and dashboards query no other metrics."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from captionless.eval.tables import COLUMNS
from captionless.kube.condition_types import TYPES
from captionless.kube.stage_record import StageState
from captionless.telemetry.catalog import EVAL_FIGURE, LABELS, METRICS, Kind, Metric

ROOT = Path(__file__).parents[2]
_FILES = ROOT / "charts" / "captionless" / "files"
_NAME = re.compile(r"captionless_[a-z0-9_]+")
_LABELS = re.compile(r"captionless_dev_")  # a pod's labels, as Prometheus spells them


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_and_labels(metric: Metric) -> None:
    assert metric.name.startswith("captionless_")
    assert metric.name.endswith("_total") == (metric.kind is Kind.counter)
    assert not re.search(r"milli|micro|minutes|percent|kilo|mega|_ms|_mb", metric.name)
    assert metric.text.endswith(".")
    assert set(metric.labels) <= set(LABELS)


def test_no_two_have_one_name_and_no_label_is_without_use() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert {label for metric in METRICS for label in metric.labels} == set(LABELS)


def test_no_label_is_an_object_or_a_message() -> None:
    """What would make as many series as there are objects, steps or errors."""
    assert not set(LABELS) & {"key", "object", "shard", "step", "url", "path", "message", "pod", "category"}


def test_label_values_are_those_of_the_code() -> None:
    assert re.findall(r"`(\w+)`", LABELS["condition"]) == list(TYPES)
    assert re.findall(r"`(\w+)`", LABELS["state"]) == [str(state) for state in StageState]


def test_every_queried_metric_is_exported() -> None:
    exported = {metric.name for metric in METRICS}
    exported |= {f"{metric.name}_bucket" for metric in METRICS if metric.kind is Kind.histogram}
    exported |= {EVAL_FIGURE.name.format(figure="_".join(c.path).replace("@", "_at_")) for c in COLUMNS}
    groups = yaml.safe_load((_FILES / "rules.yaml").read_text())["groups"]
    queried = [rule["expr"] for group in groups for rule in group["rules"]]
    for path in (_FILES / "dashboards").glob("*.json"):
        dashboard = json.loads(path.read_text())
        queried += [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
        queried += [v["query"]["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    names = {name for text in queried for name in _NAME.findall(text) if not _LABELS.match(name)}
    assert len(names) > 30
    assert names - {"captionless_eval_"} <= exported
    assert {m.name for m in METRICS if m.name.startswith(("captionless_stage", "captionless_train"))} <= names
