"""The dashboards' queries are ones that a real Prometheus answers."""

from __future__ import annotations

import json
from typing import Any

from tests.charts.values import CHARTS
from tests.cluster.cluster import Cluster

_FOLDER = CHARTS / "captionless" / "files" / "dashboards"


def _dashboards() -> list[dict[str, Any]]:
    return [json.loads(p.read_text()) for p in sorted(_FOLDER.glob("*.json"))]


def test_every_query_is_answered(cluster: Cluster) -> None:
    queries = [t["expr"] for d in _dashboards() for p in d["panels"] for t in p["targets"]]
    assert len(queries) >= 15
    for query in queries:
        assert isinstance(cluster.query(query.replace("$namespace", ".*").replace("$alignment", ".*")), list), query


def test_variables_are_declared_and_panels_do_not_overlap() -> None:
    for dashboard in _dashboards():
        declared = {v["name"] for v in dashboard["templating"]["list"]}
        assert declared == {"datasource", "namespace", "alignment"}
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & taken, panel["title"]
            assert at["x"] + at["w"] <= 24
            taken |= cells
