"""What commands print on the terminal: plans, tables of results, and the locations of the output files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from captionless.clip.demo import NAME as DEMO
from captionless.eval import checkpoint_figures, classification, comparison_text, results, tables
from captionless.runtime.encoding import json_for_stdout
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import EVAL, Stage
from captionless.store import objects
from captionless.terminal import console as terminal_console


def show_plan(stages: Sequence[Stage]) -> None:
    """Prints the stages of a plan as a table."""
    table = Table(box=None, header_style="dim")
    for column in ("stage", "command", "workers", "cpus", "after"):
        table.add_column(column, overflow="fold")
    for s in stages:
        table.add_row(s.name, "captionless " + " ".join(s.command), str(s.workers), str(s.cpus), ", ".join(s.after))
    Console().print(table)


def show(spec: AlignmentSpec) -> None:
    """Prints the comparison table of a spec's results, or nothing if there are none yet."""
    url = _results(spec)
    if not objects.exists(url):
        return
    found = results.loads(objects.read_bytes(url), url)
    console = terminal_console.results_console()
    columns = tables.columns(found)
    table = Table(title=f"{spec.name}: unseen objects, percent", title_justify="left", box=None, header_style="dim")
    table.add_column("", no_wrap=True)
    before = ""
    for column in columns:
        heading = column.heading if column.heading != before else ""
        before = column.heading
        table.add_column(f"{heading}\n{column.name}", justify="right", no_wrap=True)
    for row in found["figures"]["rows"]:
        table.add_row(tables.row_name(row["name"]), *(tables.percent(c.spread(row)) for c in columns))
    console.print(table)
    console.print(tables.caption(found), style="dim", highlight=False)
    if spec.clip.model == DEMO:
        console.print(
            "The CLIP model is the small embedded one; do not compare these figures with published ones.",
            style="dim",
            highlight=False,
        )
    for what in (results.REPORT, results.RESULTS):
        console.print(f"{what}: {objects.join(spec.root, EVAL, what)}", highlight=False, soft_wrap=True)


def show_json(spec: AlignmentSpec) -> None:
    """Prints a spec's results.json, or nothing if there is none yet."""
    url = _results(spec)
    if objects.exists(url):
        print(json_for_stdout(objects.read_bytes(url).decode()), end="")


def _results(spec: AlignmentSpec) -> str:
    return objects.join(spec.root, EVAL, results.RESULTS)


def show_classifier(found: Mapping[str, Any], title: str) -> None:
    """Prints the accuracies of a classifier's results (`eval.classification`) next to chance."""
    figures = found["figures"]
    table = Table(title=f"{title}: percent", title_justify="left", box=None, header_style="dim")
    for number, heading in enumerate(classification.HEADINGS):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for row in classification.rows(figures):
        table.add_row(*row)
    Console().print(table)


def show_checkpoint(found: Mapping[str, Any]) -> None:
    """Prints the figures of one checkpoint on one data set (`eval.checkpoint_figures`) and their provenance."""
    console = terminal_console.results_console(160)
    table = Table(
        title=f"{found['provenance']['dataset']['name']}: percent", title_justify="left", box=None, header_style="dim"
    )
    table.add_column("", no_wrap=True)
    for column in checkpoint_figures.columns(found):
        table.add_column(f"{column.heading}\n{column.name}", justify="right", no_wrap=True)
    for row in checkpoint_figures.rows(found):
        table.add_row(*(cell.replace(" [", "\n[") for cell in row))
    console.print(table)
    for line in checkpoint_figures.caption(found):
        console.print(line, style="dim", highlight=False, soft_wrap=True)


def show_comparison(found: Mapping[str, Any]) -> None:
    """Prints a comparison of runs (`eval.comparison`): tables, significant differences, and why some figures are not
    comparable."""
    console = terminal_console.results_console(140)
    for table in found["tables"]:
        console.print(table["heading"], style="bold", highlight=False, markup=False)
        console.print(comparison_text.setting(table), style="dim", highlight=False, markup=False)
        shown = Table(box=None, header_style="dim")
        shown.add_column("")
        shown.add_column("seeds", justify="right")
        for column in table["columns"]:
            shown.add_column(column["name"], justify="right")
        for row in table["rows"]:
            cells = (comparison_text.lines(row, column["path"], found["alpha"]) for column in table["columns"])
            base = row["kind"] == "run" and row["name"] == table["baseline"]
            name = comparison_text.name(row) + ("\n(baseline)" if base else "")
            shown.add_row(
                Text(name), comparison_text.seeds(row), *(Text("\n".join(filter(None, pair))) for pair in cells)
            )
        console.print(shown)
        console.print()
    for text in comparison_text.conclusions(found):
        console.print(text, highlight=False, markup=False)
    for text in (*found["notes"], comparison_text.explanation(found)):
        console.print(text, style="dim", highlight=False, markup=False)
