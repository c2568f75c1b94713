"""The report's charts as Plotly figures, in JSON for one inlined plotly.js.

Colours have medium lightness, so that they are visible on light and dark pages; text, grid
and background are set by the page from its style sheet, also when the colour scheme
changes. No information is conveyed by colour alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup
from numpy.typing import NDArray

from captionless.eval.cosine import Rows, unit_blocks
from captionless.eval.report.context import EmbeddingMap, History
from captionless.eval.tables import Column, cell, row_name
from captionless.store.columns import Named

PALETTE = ("#3f7fd6", "#d67d2c", "#2e9b74", "#b4589f", "#c94f5d", "#8b8f2f", "#4aa3b8", "#8a74d1")
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x")
DASHES = ("solid", "dash", "dot", "dashdot")
MOST_CLASSES = 60
"""Classes that a chart shows each by its name; of more it could not be read."""
_MAX_POINTS = 400  # of a training curve


def comparison(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> Markup:
    """Rows of `figures.rows` on one axis of percent, one marker per column, bars of the interval over test objects."""
    figure = _figure(height=130 + 40 * len(rows))
    names = [row_name(row["name"]) for row in rows]
    for i, column in enumerate(columns):
        spreads = [column.spread(row) for row in rows]
        figure.add_scatter(
            x=[None if s is None else 100 * s["mean"] for s in spreads],
            y=[line + 0.2 * (i - (len(columns) - 1) / 2) for line in range(len(rows))],  # side by side, not on top
            error_x={
                "array": [_reach(s, "high") for s in spreads],
                "arrayminus": [_reach(s, "low") for s in spreads],
                "thickness": 1.5,
                "width": 3,
            },
            mode="markers",
            name=f"{column.heading} {column.name}",
            marker={"color": PALETTE[i % len(PALETTE)], "symbol": SYMBOLS[i % len(SYMBOLS)], "size": 8},
            text=[f"{name}: {cell(spread)}" for name, spread in zip(names, spreads, strict=True)],
            hovertemplate="%{text}",
        )
    lines = list(range(len(rows)))
    figure.update_xaxes(range=[-2, 102], ticksuffix=" %", nticks=6)
    figure.update_yaxes(
        tickvals=lines, ticktext=names, range=[len(rows) - 0.4, -0.6], automargin=True, ticksuffix="  ", zeroline=False
    )
    return _json(figure)


def curves(histories: Sequence[History], value: Literal["loss", "temperature"]) -> Markup:
    """Loss or temperature over steps: a colour for each mode, a dash for each seed; the loss as `running_mean`."""
    figure = _figure(height=320)
    modes = list(dict.fromkeys(history.mode for history in histories))
    seeds = list(dict.fromkeys(history.seed for history in histories))
    for i, history in enumerate(histories):
        name = row_name(history.mode)
        if value == "loss":
            values = running_mean(np.asarray(history.loss, dtype=float))
        else:
            values = 1 / np.asarray(history.scale, dtype=float)
        shown = np.unique(np.linspace(0, len(values) - 1, min(len(values), _MAX_POINTS)).astype(int))
        figure.add_scatter(
            x=np.asarray(history.steps)[shown].tolist(),
            y=_round(values[shown], 5),
            mode="lines",
            name=name,
            legendgroup=name,
            showlegend=history.mode not in [earlier.mode for earlier in histories[:i]],
            line={
                "color": PALETTE[modes.index(history.mode) % len(PALETTE)],
                "dash": DASHES[seeds.index(history.seed) % len(DASHES)],
                "width": 1.75,
            },
            hovertemplate=f"{name}, seed {history.seed}, step %{{x}}: %{{y:.4g}}<extra></extra>",
        )
    figure.update_xaxes(title_text="step", nticks=6)
    figure.update_yaxes(title_text=value, automargin=True, nticks=6)
    return _json(figure)


def running_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each of the values (n,) as the mean of those up to it that lie in the last `window_of(n)`."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - window_of(len(values)), 0)
    return np.asarray((sums[end] - sums[start]) / (end - start))


def window_of(values: int) -> int:
    """Over how many of a curve's values `running_mean` goes: few enough to show a turn, enough to part the curves."""
    return max(1, values // 25)


def per_class(
    classes: Sequence[str], accuracy: Mapping[str, float | None], ceiling: Mapping[str, float | None]
) -> Markup:
    """Accuracy of each class as a bar, with what CLIP reaches from the views as a mark."""
    figure = _figure(height=100 + 24 * len(classes))
    figure.add_bar(
        x=_percents(classes, accuracy),
        y=list(classes),
        orientation="h",
        name="this run",
        marker={"color": PALETTE[0]},
        hovertemplate="%{y}: %{x:.1f} %",
    )
    figure.add_scatter(
        x=_percents(classes, ceiling),
        y=list(classes),
        mode="markers",
        name=row_name("clip_mean"),
        marker={"color": PALETTE[1], "symbol": "line-ns", "size": 13, "line": {"width": 3, "color": PALETTE[1]}},
        hovertemplate="%{y}: %{x:.1f} %",
    )
    figure.update_xaxes(range=[0, 102], ticksuffix=" %", nticks=6)
    figure.update_yaxes(autorange="reversed", automargin=True, ticksuffix="  ", dtick=1)
    return _json(figure)


def confusion(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Markup:
    """Share of each true class (row) that is predicted as each class (column); counts in the hover text."""
    matrix = np.asarray(counts, dtype=np.float64)
    support = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, support, out=np.zeros_like(matrix), where=support > 0)
    figure = _figure(height=170 + 22 * len(classes))
    figure.add_heatmap(
        z=_round(100 * share, 1),
        x=list(classes),
        y=list(classes),
        customdata=matrix.astype(int).tolist(),
        colorscale=[[0, "rgba(63,127,214,0.04)"], [1, "rgba(63,127,214,1)"]],
        zmin=0,
        zmax=100,
        xgap=1,
        ygap=1,
        showscale=False,
        hovertemplate="%{y} predicted as %{x}: %{customdata} (%{z:.0f} %)<extra></extra>",
    )
    figure.update_xaxes(
        title={"text": "predicted", "standoff": 8}, tickangle=-60, automargin=True, dtick=1, showgrid=False
    )
    figure.update_yaxes(
        title={"text": "true", "standoff": 8}, autorange="reversed", automargin=True, dtick=1, showgrid=False
    )
    return _json(figure)


def histograms(edges: NDArray[np.float64], shares: Mapping[str, NDArray[np.float64]], quantity: str) -> Markup:
    """Shares (bins,) of what is counted over bins between `edges` (bins + 1,), a stepped line for each name."""
    figure = _figure(height=300)
    for i, (name, share) in enumerate(shares.items()):
        figure.add_scatter(
            x=_round(edges, 5),
            y=[*_round(100 * share, 3), 0],
            mode="lines",
            name=name,
            fill="tozeroy" if i == 0 else None,
            line={
                "color": PALETTE[i % len(PALETTE)],
                "dash": DASHES[i % len(DASHES)],
                "shape": "hv",
                "width": 1.75,
            },
            hovertemplate="from %{x:.4f}: %{y:.1f} %",
        )
    figure.update_xaxes(title_text=quantity, nticks=8)
    figure.update_yaxes(title_text="share", ticksuffix=" %", automargin=True, nticks=5, rangemode="tozero")
    return _json(figure)


def embedding_map(given: EmbeddingMap) -> Markup:
    """The first two principal components, a colour and symbol for each category, its name at its median.

    Of very many categories only those with the most objects are named on the map: all names would cover it.
    """
    points, explained = principal_components(given.embeddings)
    column = Named.of(given.categories)
    marked = np.isin(np.arange(len(column)), np.arange(len(column)) if given.shown is None else given.shown)
    sizes = np.array([len(rows) for rows in column.rows])
    named = set(np.argsort(-sizes, kind="stable")[:MOST_CLASSES].tolist())
    figure = _figure(height=520, showlegend=False, hovermode="closest")
    for i, (name, chosen) in enumerate(zip(column.names, column.rows, strict=True)):
        drawn = chosen[marked[chosen]]
        figure.add_scatter(
            x=_round(points[drawn, 0], 4),
            y=_round(points[drawn, 1], 4),
            text=[given.keys[j] for j in drawn],
            mode="markers",
            name=name,
            marker={
                "color": PALETTE[i % len(PALETTE)],
                "symbol": SYMBOLS[(i // len(PALETTE)) % len(SYMBOLS)],
                "size": 7,
                "opacity": 0.75,
            },
            hovertemplate="%{text}" + (f"<br>{name}" if name else "") + "<extra></extra>",
        )
        if i in named:
            middle = np.median(points[chosen], axis=0)
            figure.add_annotation(x=float(middle[0]), y=float(middle[1]), text=name, showarrow=False, font={"size": 12})
    for axis, share, update in zip("xy", explained, (figure.update_xaxes, figure.update_yaxes), strict=True):
        ordinal = "first" if axis == "x" else "second"
        text = f"{ordinal} principal component ({share:.0%} of the variance)"
        update(title={"text": text, "standoff": 10}, automargin=True, showticklabels=False)
    return _json(figure)


def map_rows(given: EmbeddingMap) -> list[dict[str, Any]]:
    """The map as a table: for each category its median, and the closest other category.

    Closest by the cosine of the mean embeddings, in all their dimensions; none where there is but one category.
    """
    points, _ = principal_components(given.embeddings)
    column = Named.of(given.categories)
    sums, start = np.zeros((len(column.names), given.embeddings.shape[1])), 0
    for unit in unit_blocks(given.embeddings, "embeddings of the map"):
        np.add.at(sums, column.codes[start : start + len(unit)], unit)
        start += len(unit)
    means = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.finfo(float).tiny)
    cosine = means @ means.T
    np.fill_diagonal(cosine, -np.inf)
    rows = []
    for i, (name, chosen) in enumerate(zip(column.names, column.rows, strict=True)):
        x, y = np.median(points[chosen], axis=0)
        closest = f"{column.names[j := int(cosine[i].argmax())]} ({cosine[i, j]:.3f})" if len(column.names) > 1 else ""
        rows.append({"name": name, "objects": len(chosen), "x": x, "y": y, "closest": closest})
    return rows


def principal_components(embeddings: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates (n, 2) of unit rows on their first two principal axes, and the variance shares (2,).

    Signs are fixed (each axis' largest loading is positive), so that equal input gives equal charts.
    """
    count, width = embeddings.shape
    name = "embeddings of the map"
    mean = sum(unit.sum(axis=0) for unit in unit_blocks(embeddings, name)) / count
    centred = ((unit - mean) for unit in unit_blocks(embeddings, name))
    products = sum((rows.T @ rows for rows in centred), np.zeros((width, width)))
    squares, axes = np.linalg.eigh(products)  # of D x D, however many rows
    squares, axes = np.maximum(squares[::-1], 0), axes[:, ::-1].T[:2]
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    points = np.zeros((count, 2))
    points[:, : len(axes)] = np.concatenate([(unit - mean) @ axes.T for unit in unit_blocks(embeddings, name)])
    variance = np.zeros(2)
    total = float(squares.sum())
    if total > 0:
        variance[: len(axes)] = squares[:2] / total
    return points, variance


def _figure(height: int, **layout: Any) -> Any:
    figure = go.Figure()
    figure.update_layout(
        template=go.layout.Template(),
        height=height,
        margin={"l": 10, "r": 16, "t": 8, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        dragmode=False,
        **layout,
    )
    return figure


def script_json(value: Any) -> Markup:
    """JSON that is safe inside a `<script>` element."""
    return Markup(json.dumps(value, ensure_ascii=False).replace("<", "\\u003c"))


def _json(figure: Any) -> Markup:
    return script_json(json.loads(figure.to_json()))


def _reach(spread: Mapping[str, Any] | None, end: Literal["low", "high"]) -> float:
    """How far, in percent, one end of the interval is from the mean; 0 without interval."""
    return 0.0 if spread is None or spread.get(end) is None else abs(100 * (spread[end] - spread["mean"]))


def _percents(classes: Sequence[str], accuracy: Mapping[str, float | None]) -> list[float | None]:
    found = [accuracy.get(name) for name in classes]
    return [None if value is None else round(100 * value, 2) for value in found]


def _round(values: NDArray[np.float64], digits: int) -> Any:
    return np.round(values, digits).tolist()
