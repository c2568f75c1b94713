"""Grafana dashboards (schema version 39) over the metrics of the controller and of the runs' pods.

Queries use the labels that prometheus-operator gives: `namespace` and `alignment` of the controller's metrics are
the run's; of a pod's metrics `captionless_dev_alignment` and `pod`.
"""

from __future__ import annotations

import json
from itertools import count
from typing import Any

Panel = dict[str, Any]
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_RUN = 'namespace=~"$namespace", alignment=~"$alignment"'
_POD = 'namespace=~"$namespace", captionless_dev_alignment=~"$alignment"'


def files() -> dict[str, str]:
    text = json.dumps(_dashboard("captionless", "Captionless", _alignments()), indent=1, ensure_ascii=False)
    return {"charts/captionless/files/dashboards/alignments.json": text + "\n"}


def _alignments() -> list[list[Panel]]:
    """Rows of panels, each row as wide as the screen."""
    summary = f'captionless_alignment_condition{{condition="Succeeded", {_RUN}}}'
    stalled = f'captionless_alignment_condition{{condition="Stalled", status="True", {_RUN}}}'
    outcome = 'sum by (status) (captionless_alignments{condition="Succeeded"})'
    seconds = "sum by (le) (rate(captionless_reconcile_seconds_bucket[5m]))"
    still = f"max by (captionless_dev_alignment, stage) (captionless_stage_last_advance_timestamp_seconds{{{_POD}}})"
    rate = f"sum by (captionless_dev_alignment, stage, unit) (captionless_stage_units_per_second{{{_POD}}})"
    pod, stage = "{{captionless_dev_alignment}} {{captionless_dev_stage}}", "{{captionless_dev_alignment}} {{stage}}"
    return [
        [
            _panel("stat", "Alignments: True succeeded, False failed", (outcome, "{{status}}")),
            _panel("stat", "Stalled", (f"count({stalled} == 1) or vector(0)", "")),
            _table("Where they stand", f"{summary} == 1", ("namespace", "alignment", "status", "reason")),
        ],
        [
            _panel(
                "timeseries",
                "Progress of the stages",
                (f"captionless_alignment_stage_progress_ratio{{{_RUN}}}", "{{alignment}} {{stage}}"),
                unit="percentunit",
            ),
            _panel("timeseries", "Units a second", (rate, stage + " {{unit}}")),
            _panel("timeseries", "Since the last unit", (f"time() - {still}", stage), unit="s"),
        ],
        [
            _panel("timeseries", "Training loss", (f"captionless_train_loss{{{_POD}}}", pod)),
            _panel("timeseries", "Logit scale (1/tau)", (f"captionless_train_logit_scale{{{_POD}}}", pod)),
            _panel("timeseries", "Rounds of the ranks", (f"captionless_train_round{{{_POD}}}", "{{pod}}")),
            _panel(
                "timeseries",
                "Disruptions",
                (f"captionless_alignment_stage_disruptions{{{_RUN}}} > 0", "{{alignment}} {{stage}}"),
            ),
        ],
        [
            _table(
                "Figures",
                f'{{__name__=~"captionless_eval_.+_ratio", {_RUN}}}',
                ("namespace", "alignment", "run", "__name__", "Value"),
            ),
        ],
        [
            _panel("stat", "Controllers that lead", ("sum(captionless_controller_leading)", "")),
            _panel(
                "timeseries",
                "Time to reconcile",
                *((f"histogram_quantile({q}, {seconds})", f"{100 * q:g} %") for q in (0.5, 0.99)),
                unit="s",
            ),
            _panel(
                "timeseries",
                "Reconcile errors a second",
                ("sum by (error) (rate(captionless_reconcile_errors_total[5m]))", "{{error}}"),
            ),
            _panel("timeseries", "Alignments that wait for the controller", ("captionless_work_queue_length", "")),
        ],
    ]


def _panel(kind: str, title: str, *queries: tuple[str, str], unit: str = "short") -> Panel:
    targets = [
        {"datasource": _SOURCE, "expr": expression, "legendFormat": legend or "__auto", "refId": chr(65 + i)}
        for i, (expression, legend) in enumerate(queries)
    ]
    defaults = {"defaults": {"unit": unit}, "overrides": []}
    return {"type": kind, "title": title, "datasource": _SOURCE, "fieldConfig": defaults, "targets": targets}


def _table(title: str, expression: str, columns: tuple[str, ...]) -> Panel:
    found = _panel("table", title, (expression, ""))
    found["targets"][0] |= {"format": "table", "instant": True}
    shown = {"include": {"names": list(columns)}}
    found["transformations"] = [{"id": "filterFieldsByName", "options": shown}]
    return found


def _dashboard(uid: str, title: str, rows: list[list[Panel]]) -> dict[str, Any]:
    panels, ids = [], count(1)
    for y, row in enumerate(rows):
        width = 24 // len(row)
        for x, panel in enumerate(row):
            panels.append({"id": next(ids), **panel, "gridPos": {"x": x * width, "y": y * 8, "w": width, "h": 8}})
    return {
        "uid": uid,
        "title": title,
        "tags": ["captionless"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
                _variable("namespace", "label_values(captionless_alignment_condition, namespace)"),
                _variable(
                    "alignment", 'label_values(captionless_alignment_condition{namespace=~"$namespace"}, alignment)'
                ),
            ]
        },
        "panels": panels,
    }


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
