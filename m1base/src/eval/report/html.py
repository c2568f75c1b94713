"""Renders results and their context as one HTML file.

plotly.js is inlined once, pictures are data URIs, and a content security policy forbids all
requests, so the page works offline. Every chart has its figures in a table next to it, for
screen readers and text browsers.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from captionless.errors import DataError
from captionless.eval import class_tables, tables
from captionless.eval.report import charts
from captionless.eval.report.context import ReportContext
from captionless.eval.trees import plain

_SIGNATURES = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"))
_CHARTED = ("zero-shot top-1", "image → shape R@1", "shape → image R@1")


def render_report(results: Mapping[str, Any], context: ReportContext) -> str:
    """The whole of `report.html` for `results` (see `captionless.eval.results`), everything inlined."""
    figures = results["figures"]
    columns = tables.columns(results)
    classes = _classes(figures, context)
    return render_page(
        "template.html",
        row_name=tables.row_name,
        percent=tables.percent,
        bounds=tables.bounds,
        flat=flat,
        short=_short,
        picture=lambda key: data_uri(context.thumbnails[key]) if key in context.thumbnails else None,
        data_uri=data_uri,
        results=results,
        figures=figures,
        class_names=class_names(figures),
        most_classes=charts.MOST_CLASSES,
        context=context,
        columns=columns,
        headings=_spans([column.heading for column in columns]),
        caption=" ".join(filter(None, (tables.caption(results), tables.about_intervals(results)))),
        differences=tables.differences(results),
        about_differences=tables.about_differences(results),
        baseline=tables.baseline_name(results),
        classes=classes,
        histories=[_curve_row(history) for history in context.histories],
        charts=_charts(figures, columns, classes, context),
        window=max((charts.window_of(len(history.steps)) for history in context.histories), default=0),
        map_rows=charts.map_rows(context.embedding_map) if context.embedding_map else [],
        pictures=_map_pictures(context),
    )


def render_page(template: str, **context: Any) -> str:
    """A template of this folder that extends `page.html`: style, policy, and plotly.js where it has `charts`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(plotly=lambda: Markup(get_plotlyjs()), **context)


def data_uri(image: bytes) -> str:
    """A WebP, PNG or JPEG file as a `data:` URI."""
    for signature, kind in _SIGNATURES:
        if image.startswith(signature):
            return f"data:{kind};base64,{base64.b64encode(image).decode()}"
    raise DataError(f"report: a picture of {len(image)} bytes is not WebP, PNG or JPEG")


def flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as (dotted name, text) pairs, in order."""
    pairs: list[tuple[str, str]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            pairs += flat(value, f"{name}.")
        elif isinstance(value, list | tuple):
            pairs.append((name, ", ".join(map(str, value)) or "none"))
        else:
            pairs.append((name, "–" if value in (None, "") else str(value)))
    return pairs


def _map_pictures(context: ReportContext) -> Markup:
    """The pictures of the map's objects by key, for the script that shows the one pointed at."""
    given = context.embedding_map
    keys = [] if given is None else given.keys if given.shown is None else [given.keys[i] for i in given.shown]
    return charts.script_json({key: data_uri(context.thumbnails[key]) for key in keys if key in context.thumbnails})


def _charts(
    figures: Mapping[str, Any],
    columns: Sequence[tables.Column],
    classes: Mapping[str, Any] | None,
    given: ReportContext,
) -> dict[str, Markup]:
    drawn = {"comparison": charts.comparison(figures["rows"], [c for c in columns if _full_name(c) in _CHARTED])}
    if given.histories:
        drawn["loss"] = charts.curves(given.histories, "loss")
    with_scale = [history for history in given.histories if len(history.scale)]
    if with_scale:
        drawn["temperature"] = charts.curves(with_scale, "temperature")
    if classes and len(figures["classes"]) <= charts.MOST_CLASSES:
        names = class_names(figures)
        drawn["per_class"] = charts.per_class(names, classes["accuracy"], classes["ceiling"])
        drawn["confusion"] = charts.confusion(names, classes["confusion"])
    if given.embedding_map is not None:
        drawn["map"] = charts.embedding_map(given.embedding_map)
    return drawn


def _classes(figures: Mapping[str, Any], given: ReportContext) -> dict[str, Any] | None:
    """The run whose classes are shown: its name, and a row for each class."""
    runs = figures["runs"]
    if not runs:
        return None
    mode, seed = given.chosen or (next(iter(runs)), next(iter(next(iter(runs.values())))))
    if str(seed) not in runs.get(mode, {}):
        raise DataError(f"report: unknown run {mode}, seed {seed}; expected one of {', '.join(runs)}")
    found = class_tables.of_tree(runs[mode][str(seed)]) or given.tables[f"{mode}-seed{seed}"]
    clip = class_tables.of_tree(figures["clip_mean"]) or given.tables["clip_mean"]
    names = class_names(figures)
    accuracy, ceiling = (_shares(names, table) for table in (found, clip))
    rows = []
    for i, name in enumerate(names):
        worst = next(iter(found.errors_of(i)), None)
        confused = "" if worst is None else f"{names[worst[0]]} ({worst[1]})"
        rows.append(
            {
                "name": name,
                "objects": int(found.support[i]),
                "accuracy": accuracy[name],
                "ceiling": ceiling[name],
                "confused": confused,
            }
        )
    whole = found.confusion().tolist() if len(names) <= charts.MOST_CLASSES else []
    name = f"{tables.row_name(mode)}, seed {seed}"
    return {"run": name, "rows": rows, "accuracy": accuracy, "ceiling": ceiling, "confusion": whole}


def class_names(figures: Mapping[str, Any]) -> Sequence[str]:
    """What the page calls each class."""
    names: Sequence[str] = figures.get("names", figures["classes"])
    return names


def _shares(names: Sequence[str], table: class_tables.ClassTable) -> dict[str, float | None]:
    return dict(zip(names, plain(table.accuracy.tolist()), strict=True))


def _curve_row(history: Any) -> dict[str, Any]:
    return {
        "run": f"{tables.row_name(history.mode)}, seed {history.seed}",
        "steps": history.steps[-1] if len(history.steps) else 0,
        "first": f"{history.loss[0]:.3f}" if len(history.loss) else "–",
        "last": f"{history.loss[-1]:.3f}" if len(history.loss) else "–",
        "temperature": f"{1 / history.scale[-1]:.4f}" if len(history.scale) else "–",
    }


def _spans(headings: Sequence[str]) -> list[tuple[str, int]]:
    """Runs of equal headings with their length."""
    spans: list[tuple[str, int]] = []
    for heading in headings:
        if spans and spans[-1][0] == heading:
            spans[-1] = (heading, spans[-1][1] + 1)
        else:
            spans.append((heading, 1))
    return spans


def _full_name(column: tables.Column) -> str:
    return f"{column.heading} {column.name}"


def _short(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
