"""Alerts and dashboards ask for metrics that the code tells."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
_NAME = re.compile(r"captionless_[a-z0-9_]+")
_DERIVED = re.compile(r"_(bucket|sum|count|total)$")  # what Prometheus' client makes of a histogram or counter
_LABELS = re.compile(r"captionless_dev_")  # a pod's labels, as Prometheus spells them


def _names(text: str) -> set[str]:
    return {_DERIVED.sub("", n) for n in _NAME.findall(text) if not _LABELS.match(n)}


def test_every_metric_that_is_asked_for_is_told() -> None:
    told = _names("".join(p.read_text() for p in (ROOT / "src").rglob("*.py")))
    files = ROOT / "charts" / "captionless" / "files"
    asked = _names("".join(p.read_text() for p in (files / "rules.yaml", *(files / "dashboards").glob("*.json"))))
    assert len(asked) > 10
    # Of the evaluation's there is one for each figure.
    assert {n for n in asked if not n.startswith("captionless_eval_")} <= told
    assert "captionless_eval_last_success_timestamp_seconds" in told
