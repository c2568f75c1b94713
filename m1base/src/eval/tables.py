"""The comparison table: which figures, under which names, and as Markdown.

The report's HTML table and its chart read the same `COLUMNS`, so no two of them can
show different figures under one name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from captionless.spec.variant import MODES, Mode, baseline_of

ROW_NAMES = {
    "chance": "chance",
    "clip_mean": "CLIP, all views",
    "clip_single": "CLIP, one view",
    "uniform": "InfoNCE",
    "category": "category-only",
    "i2i": "I2I",
    "i2l": "(I2L)²",
    "avg": "AVG",
}
_PART_NAMES = {"hcl": "HCL", "pointbert": "PointBERT", "sparseconv": "SparseConv"}


@dataclass(frozen=True)
class Column:
    """One figure of a row: the heading above it, its name, and its path in a figure tree."""

    heading: str
    name: str
    path: tuple[str, ...]

    def spread(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """{mean, std, n, low, high} of this figure in a row of `figures.rows`, None where the row has none."""
        return _spread_at(row["figures"], self.path)

    def value(self, tree: Mapping[str, Any]) -> float | None:
        """This figure in a run's figure tree, None where the run has none."""
        found = at(tree, self.path)
        return found if isinstance(found, int | float) else None


@dataclass(frozen=True)
class RunFigure:
    """One figure of one run: a share, None where the run has none."""

    column: Column
    mode: str
    seed: str
    value: float | None

    @property
    def run(self) -> str:
        """The run's name, as in the plan."""
        return f"{self.mode}-seed{self.seed}"


COLUMNS = (
    Column("zero-shot", "top-1", ("zero_shot", "top1")),
    Column("zero-shot", "top-5", ("zero_shot", "top5")),
    Column("image → shape", "R@1", ("gallery", "image_to_shape", "recall@1")),
    Column("image → shape", "R@5", ("gallery", "image_to_shape", "recall@5")),
    Column("image → shape", "mAP", ("gallery", "image_to_shape", "map")),
    Column("shape → image", "R@1", ("gallery", "shape_to_image", "recall@1")),
    Column("shape → image", "R@5", ("gallery", "shape_to_image", "recall@5")),
    Column("shape → image", "mAP", ("gallery", "shape_to_image", "map")),
)


def row_name(name: str) -> str:
    """What readers call the row: `uniform` is InfoNCE, `hcl-avg-pointbert` is "HCL, AVG, PointBERT"; an unknown name is
    its own."""
    mode = MODES.get(name)
    if mode is None:
        return ROW_NAMES.get(name, name)
    loss = [_PART_NAMES[mode.loss]] if mode.loss != Mode.loss else []
    weights = [ROW_NAMES[mode.weights]] if mode != mode.baseline or not loss else []
    encoder = [_PART_NAMES[mode.encoder]] if mode.encoder != Mode.encoder else []
    return ", ".join([*loss, *weights, *encoder])


def baseline_name(results: Mapping[str, Any]) -> str:
    """What readers call the row with which the others are compared."""
    return ", ".join(dict.fromkeys(row_name(baseline_of(mode)) for mode, _ in differences(results)))


def columns(results: Mapping[str, Any]) -> tuple[Column, ...]:
    """The `COLUMNS` that these results have figures for."""
    rows = results["figures"]["rows"]
    return tuple(column for column in COLUMNS if any(column.spread(row) for row in rows))


def percent(spread: Mapping[str, Any] | None, sign: bool = False) -> str:
    """`{mean, std, n}` of a share as "71.3 ± 1.2" (in percent), with `sign` "+1.4 ± 0.3"; "–" for none."""
    if spread is None or spread["mean"] is None:
        return "–"
    text = format(100 * spread["mean"], "+.1f" if sign else ".1f").replace("-", "−")
    return text if spread["std"] is None else f"{text} ± {100 * spread['std']:.1f}"


def bounds(spread: Mapping[str, Any] | None, sign: bool = False) -> str:
    """The interval of a share in percent, "[69.1, 73.4]", with `sign` "[−0.3, +3.1]"; empty where there is none."""
    if spread is None or spread.get("low") is None:
        return ""
    ends = (format(100 * spread[end], "+.1f" if sign else ".1f").replace("-", "−") for end in ("low", "high"))
    return f"[{', '.join(ends)}]"


def cell(spread: Mapping[str, Any] | None, sign: bool = False) -> str:
    """`percent` and `bounds`: "71.3 ± 1.2 [69.1, 73.4]"."""
    return f"{percent(spread, sign)} {bounds(spread, sign)}".rstrip()


def run_figures(results: Mapping[str, Any]) -> Iterator[RunFigure]:
    """Every run's figures, one column after the other: those that are read first of all runs come before others."""
    for column in sorted(columns(results), key=lambda column: column.name not in ("top-1", "top-5", "R@1")):
        for mode, seeds in results["figures"]["runs"].items():
            for seed, tree in seeds.items():
                yield RunFigure(column, mode, seed, column.value(tree))


def percentages(results: Mapping[str, Any]) -> dict[str, float]:
    """`run_figures` in percent by `<run>/<path>`, without those that a run lacks."""
    return {
        f"{figure.run}/{'/'.join(figure.column.path)}": round(100 * figure.value, 1)
        for figure in run_figures(results)
        if figure.value is not None
    }


def markdown(results: Mapping[str, Any]) -> str:
    """The table of `results.json` with the rows of chance, CLIP and the runs, and a line that explains it."""
    chosen = columns(results)
    head = ["row", "seeds", *(f"{column.heading} {column.name}" for column in chosen)]
    lines = [head, ["---", *(["---:"] * (len(head) - 1))]]
    for row in results["figures"]["rows"]:
        seeds = str(len(row["seeds"])) if row["seeds"] else ""
        lines.append([row_name(row["name"]), seeds, *(cell(column.spread(row)) for column in chosen)])
    about = " ".join(filter(None, (caption(results), about_intervals(results))))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{about}\n"


def markdown_differences(results: Mapping[str, Any]) -> str:
    """Each mode minus its baseline, paired by seed, in percentage points; empty where there is nothing to pair."""
    gaps = differences(results)
    if not gaps:
        return ""
    chosen = columns(results)
    head = [f"minus {baseline_name(results)}", "pairs", *(f"{column.heading} {column.name}" for column in chosen)]
    lines = [head, ["---", *(["---:"] * (len(head) - 1))]]
    for mode, tree in gaps:
        spreads = [_spread_at(tree, column.path) for column in chosen]
        pairs = next((str(spread["n"]) for spread in spreads if spread), "")
        lines.append([row_name(mode), pairs, *(cell(spread, sign=True) for spread in spreads)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def differences(results: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Each mode's differences to the baseline, in the order of the rows: JSON keeps them by name."""
    gaps = results["figures"]["differences"]
    return [(row["name"], gaps[row["name"]]) for row in results["figures"]["rows"] if row["name"] in gaps]


def caption(results: Mapping[str, Any]) -> str:
    """A caption of the results table."""
    figures = results["figures"]
    spread = any(len(row["seeds"]) > 1 for row in figures["rows"])
    absent = len(figures.get("without_objects", ()))
    return (
        f"Percent, on {figures['objects']} unseen objects of {len(figures['classes'])} classes"
        + (f" ({absent} of which have none, and are candidates all the same)" if absent else "")
        + (", mean ± standard deviation over seeds" if spread else "")
        + f". Retrieval ranks all {figures['objects']} objects, of which only the query's own counts; "
        "ties count against the method. The CLIP rows are untrained references: classification of an object's views, "
        "retrieval from one view to the mean of the others (all views) or to the opposite view (one view)."
    )


def about_differences(results: Mapping[str, Any]) -> str:
    """A caption of the table of differences."""
    several = any(len(row["seeds"]) > 1 for row in results["figures"]["rows"])
    if several:
        return (
            "Percentage points, mean ± standard deviation of the paired differences, and their 95 % interval over test "
            "objects. A difference below its deviation, or whose interval contains 0, is not conclusive."
        )
    return (
        "Percentage points of one pair of training runs, and their 95 % interval over test objects. A difference whose "
        "interval contains 0 is not conclusive; nor is any other until more seeds confirm it."
    )


def about_intervals(results: Mapping[str, Any]) -> str:
    """An explanation of the intervals; empty for results without."""
    rows = results["figures"]["rows"]
    if not any(bounds(column.spread(row)) for column in columns(results) for row in rows):
        return ""
    return (
        "Brackets are the 95 % bootstrap interval over test objects, for these trained encoders: how much other "
        "test objects would change a figure. Variation between training runs is the deviation over seeds and not "
        "included. A zero-width interval means that all objects agreed, not that all others would."
    )


def _spread_at(tree: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any] | None:
    found = at(tree, path)
    return found if isinstance(found, dict) else None


def at(tree: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """What a tree has at a path, None where it has nothing there."""
    found: Any = tree
    for step in path:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found
