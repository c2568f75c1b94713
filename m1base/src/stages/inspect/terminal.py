"""The output of `captionless similarity inspect`."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from captionless.stages.inspect import tables
from captionless.stages.inspect.measure import Found
from captionless.terminal import console as terminal_console


def show(found: Found, page: str | None = None) -> None:
    """Prints the object, its nearest and farthest, the distributions of its category and of every other, and where the
    page is."""
    console = terminal_console.results_console()
    console.print(found.key, style="bold", highlight=False, markup=False)
    console.print(tables.summary(found), highlight=False, markup=False)
    for table in (_terms(found), _neighbours(found), _distributions(found)):
        console.print(table)
        console.print()
    console.print(tables.sampling(found), style="dim", highlight=False)
    if page is not None:
        console.print(f"page: {page}", highlight=False, soft_wrap=True, markup=False)


def _terms(found: Found) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, meaning in tables.terms(found):
        table.add_row(name, meaning)
    return table


def _neighbours(found: Found) -> Table:
    table = _table(f"Nearest and farthest in {found.category}")
    table.add_column("", no_wrap=True)
    table.add_column("object", overflow="fold")
    for column in tables.neighbour_columns(found):
        table.add_column(column.replace(", ", "\n"), justify="right", no_wrap=True)
    for line in tables.neighbours(found):
        table.add_row(line.what, Text(line.key), *line.values)
    return table


def _distributions(found: Found) -> Table:
    table = _table(f"Distributions: {found.category}, then every other category")
    table.add_column("category", overflow="fold")
    table.add_column("objects", justify="right")
    table.add_column("")
    for name in tables.QUANTILES:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(tables.BARS, no_wrap=True)
    for rows, quantities in tables.distributions(found):
        for i, (name, cells) in enumerate(quantities):
            lead = ("", "") if i else (Text(rows.category), f"{rows.objects:,}")
            table.add_row(*lead, name, *cells, end_section=i == len(quantities) - 1)
    return table


def _table(title: str) -> Table:
    return Table(title=Text(title), title_justify="left", box=None, header_style="dim", pad_edge=False)
