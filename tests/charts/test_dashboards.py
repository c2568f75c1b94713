"""The dashboards' layout, and that a real Prometheus understands their queries; tests/cluster holds them to data."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.monitoring import FILES, panels

_DASHBOARDS = {p.stem: json.loads(p.read_text()) for p in sorted((FILES / "dashboards").glob("*.json"))}


def test_every_query_is_understood(cluster: Cluster) -> None:
    for panel in panels():
        assert isinstance(cluster.query(panel.query), list), panel


def test_there_are_four_that_lead_to_one_another() -> None:
    assert set(_DASHBOARDS) == {"overview", "precompute", "training", "evaluation"}
    assert len({d["uid"] for d in _DASHBOARDS.values()}) == 4
    for found in _DASHBOARDS.values():
        [links] = found["links"]
        assert set(links["tags"]) <= set(found["tags"])
        assert links["includeVars"]


@pytest.mark.parametrize("name", _DASHBOARDS)
def test_variables_are_declared_and_used_and_panels_do_not_overlap(name: str) -> None:
    found: dict[str, Any] = _DASHBOARDS[name]
    assert {v["name"] for v in found["templating"]["list"]} == {"datasource", "namespace", "alignment"}
    text = json.dumps(found["panels"])
    assert all(variable in text for variable in ("${datasource}", "$namespace", "$alignment"))
    taken: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        assert panel["fieldConfig"]["defaults"]["unit"]
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["title"] for panel in found["panels"]}) == len(found["panels"])
