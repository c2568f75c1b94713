"""What a Grafana dashboard (schema version 39) is made of: panels on a grid, variables, links to its siblings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

Panel = dict[str, Any]
Query = tuple[str, str]
"""A PromQL expression, and its legend."""

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_HEIGHT = 8
_WIDTH = 24


def graph(
    title: str,
    *queries: Query,
    unit: str = "short",
    text: str = "",
    limit: float | None = None,
    top: float | None = None,
    logarithmic: bool = False,
) -> Panel:
    """Curves over time; with a red line at `limit`, up to `top` at least."""
    custom: dict[str, Any] = {"lineWidth": 1, "fillOpacity": 8, "showPoints": "auto", "spanNulls": False}
    if limit is not None:
        custom["thresholdsStyle"] = {"mode": "dashed"}
    if logarithmic:
        custom["scaleDistribution"] = {"type": "log", "log": 10}
    defaults = {"unit": unit, "custom": custom, "thresholds": _thresholds(limit, "red")}
    if not logarithmic:
        defaults |= {"min": 0} | ({} if top is None else {"max": top})
    legend = {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull"], "showLegend": True}
    options = {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
    return _panel("timeseries", title, queries, text, defaults, options)


def number(title: str, query: str, unit: str = "short", text: str = "", limit: float | None = None,
           color: str = "red", legend: str = "") -> Panel:  # fmt: skip
    """What it is now, on a ground of `color` from `limit` on."""
    defaults = {"unit": unit, "thresholds": _thresholds(limit, color)}
    options = {"colorMode": "background" if limit is not None else "value", "reduceOptions": {"calcs": ["lastNotNull"]}}
    return _panel("stat", title, [(query, legend)], text, defaults, options)


def table(title: str, query: str, columns: Sequence[str], unit: str = "short", text: str = "") -> Panel:
    """What there is now, a row a series, in these of its labels and `Value`."""
    found = _panel("table", title, [(query, "")], text, {"unit": unit}, {})
    found["targets"][0] |= {"format": "table", "instant": True}
    names = [{"id": "filterFieldsByName", "options": {"include": {"names": list(columns)}}}]
    order = {"id": "organize", "options": {"indexByName": {name: place for place, name in enumerate(columns)}}}
    found["transformations"] = [*names, order]
    return found


def dashboard(
    uid: str, title: str, text: str, since: str, variables: Sequence[Query], rows: Sequence[Sequence[Panel]]
) -> dict[str, Any]:
    """A dashboard of rows of panels, each row as wide as the screen. variables: names and their queries."""
    panels, ids = [], count(1)
    for y, row in enumerate(rows):
        width = _WIDTH // len(row)
        for x, panel in enumerate(row):
            at = {"x": x * width, "y": y * _HEIGHT, "w": width, "h": _HEIGHT}
            panels.append({"id": next(ids), **panel, "gridPos": at})
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    siblings = {
        "type": "dashboards", "title": "captionless", "tags": ["captionless"], "asDropdown": False,
        "includeVars": True, "keepTime": True, "targetBlank": False,
    }  # fmt: skip
    return {
        "uid": uid,
        "title": title,
        "description": text,
        "tags": ["captionless"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": since, "to": "now"},
        "links": [siblings],
        "templating": {"list": [source, *(_variable(name, query) for name, query in variables)]},
        "panels": panels,
    }


def _panel(
    kind: str, title: str, queries: Sequence[Query], text: str, defaults: dict[str, Any], options: dict[str, Any]
) -> Panel:
    targets = [
        {"datasource": _SOURCE, "expr": expression, "legendFormat": legend or "__auto", "refId": chr(65 + i)}
        for i, (expression, legend) in enumerate(queries)
    ]
    found = {"type": kind, "title": title, "description": text, "datasource": _SOURCE, "targets": targets}
    return {**found, "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options}


def _thresholds(limit: float | None, color: str) -> dict[str, Any]:
    above = [] if limit is None else [{"color": color, "value": limit}]
    return {"mode": "absolute", "steps": [{"color": "green", "value": None}, *above]}


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
