"""No alert is without severity, words, a section of the runbook, and a test that it is raised and clears."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
_GROUPS = yaml.safe_load((ROOT / "charts" / "captionless" / "files" / "rules.yaml").read_text())["groups"]
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in _GROUPS for rule in group["rules"]}
_TESTS = yaml.safe_load((ROOT / "tests" / "charts" / "alerts.yaml").read_text())["tests"]


@pytest.mark.parametrize("name", ALERTS)
def test_it_says_how_bad_it_is_and_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"]
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"


@pytest.mark.parametrize("name", ALERTS)
def test_it_is_tested_to_be_raised_and_to_clear(name: str) -> None:
    """By promtool, in tests/charts: at one time it is expected, and at a later one it is not, or of fewer."""

    def at(text: str) -> int:
        return int(text.removesuffix("m"))

    for test in _TESTS:
        asked = [a for a in test["alert_rule_test"] if a["alertname"] == name]
        raised = [(at(a["eval_time"]), len(a["exp_alerts"])) for a in asked]
        if any(later > when and fewer < count for when, count in raised for later, fewer in raised):
            return
    pytest.fail(f"{name}: tests/charts/alerts.yaml does not hold that it clears")


def test_the_runbook_has_a_section_for_each_and_no_other() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    sections = dict(
        zip(re.findall(r"^## (\w+)$", text, re.M), re.split(r"^## \w+$", text, flags=re.M)[1:], strict=True)
    )
    assert list(sections) == list(ALERTS)
    for section in sections.values():
        assert all(f"**{word}**" in section for word in ("Means", "Look", "Do"))
