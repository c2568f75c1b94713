"""The table of what fuzzing found: printed at a session's end, and kept in the file CAPTIONLESS_TEST_FUZZ_TABLE."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

ROW = "fuzz"
"""The property of a test's report that is a row of the table."""
HEADER = (
    "format", "inputs", "read", "refused", "past the container", "lines reached", "neither", "slowest, s", "memory, MB",
)  # fmt: skip


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = (report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ()))
    rows = [row for row in map(_row_of, reports) if row]
    if rows:
        terminalreporter.write_sep("-", "fuzzing")
        terminalreporter.write_line(table(rows))
        if path := os.environ.get("CAPTIONLESS_TEST_FUZZ_TABLE"):
            file = Path(path)
            found = {row[0]: row for row in map(_cells, rows)}
            file.write_text(table(list((rows_of(file.read_text() if file.exists() else "") | found).values())))


def _row_of(report: Any) -> list[Any] | None:
    return dict(report.user_properties).get(ROW) if getattr(report, "when", "") == "call" else None


def _cells(row: list[Any]) -> list[str]:
    return list(map(str, row))


def rows_of(text: str) -> dict[str, list[str]]:
    """The rows of a table by their format, so that several calls fill one."""
    lines = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines()[2:-1]]
    return {line[0]: line for line in lines}


def table(rows: list[list[Any]]) -> str:
    """Rows of one format each as Markdown, with the sum of the inputs."""
    sums = [sum(int(row[i]) for row in rows) for i in (1, 2, 3)]
    total = ["all", *sums, *[""] * (len(HEADER) - 1 - len(sums))]
    lines = [HEADER, ["---", *["---:"] * (len(HEADER) - 1)], *sorted(map(_cells, rows)), total]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"
