"""The table of what random sequences did: printed at a session's end, and kept up to date, as each ends, in the file
CAPTIONLESS_TEST_CHAOS_TABLE, so that several calls fill one table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

ROW = "chaos"
"""The property of a test's report that is a row of the table."""
Row = list[int | str]

_HEADER = ("seed", "equal", "refused", "killed", "late", "verdict", "steps")
_COUNTS = range(1, 5)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runs from scratch: one for all of pytest's processes; that of the environment is kept, for
    calls on the same code."""
    if kept := os.environ.get("CAPTIONLESS_TEST_CHAOS_REFERENCES"):
        return Path(kept)
    base = tmp_path_factory.getbasetemp()
    return (base.parent if base.name.startswith("popen-") else base) / "chaos-references"


def pytest_runtest_logreport(report: Any) -> None:
    path = os.environ.get("CAPTIONLESS_TEST_CHAOS_TABLE")
    row = _row_of(report)
    if path and row and not os.environ.get("PYTEST_XDIST_WORKER"):
        file = Path(path)
        rows = rows_of(file.read_text()) if file.exists() else {}
        file.write_text(table({**rows, int(row[0]): row}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = (report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ()))
    rows = {int(row[0]): row for row in map(_row_of, reports) if row}
    if rows:
        terminalreporter.write_sep("-", "random sequences")
        terminalreporter.write_line(table(rows))


def _row_of(report: Any) -> Row | None:
    return dict(report.user_properties).get(ROW) if getattr(report, "when", "") == "call" else None


def table(rows: dict[int, Row]) -> str:
    """Rows by seed as Markdown, with their sums."""
    sums = [sum(int(row[i]) for row in rows.values()) for i in _COUNTS]
    total = [f"{len(rows)} sequences", *sums, "", ""]
    lines = [_line(_HEADER), "| ---: " * 5 + "| --- | --- |"]
    return "\n".join([*lines, *(_line(rows[seed]) for seed in sorted(rows)), _line(total)]) + "\n"


def rows_of(text: str) -> dict[int, Row]:
    """The rows of a table, by seed."""
    cells = ([cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines())
    return {int(row[0]): list(row) for row in cells if row[0].isdigit()}


def _line(row: Any) -> str:
    return "| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in row) + " |"
