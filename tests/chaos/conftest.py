"""The table of what random sequences did, printed at a session's end, and written to CAPTIONLESS_TEST_CHAOS_TABLE."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

ROW = "chaos"
"""The property of a test's report that is a row of the table."""


def pytest_terminal_summary(terminalreporter: Any) -> None:
    rows = sorted(
        dict(report.user_properties)[ROW]
        for kind in ("passed", "failed")
        for report in terminalreporter.stats.get(kind, ())
        if report.when == "call" and ROW in dict(report.user_properties)
    )
    if not rows:
        return
    text = table(rows)
    terminalreporter.write_sep("-", "random sequences")
    terminalreporter.write_line(text)
    if path := os.environ.get("CAPTIONLESS_TEST_CHAOS_TABLE"):
        Path(path).write_text(text)


def table(rows: list[list[Any]]) -> str:
    """Rows of seed, equal, refused, killed, late, verdict, steps as Markdown, with their sums."""
    sums = [sum(row[i] for row in rows) for i in range(1, 5)]
    lines = ["| seed | equal | refused | killed | late | verdict | steps |", "| ---: " * 5 + "| --- | --- |"]
    for row in [*rows, [f"{len(rows)} sequences", *sums, "", ""]]:
        lines.append("| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in row) + " |")
    return "\n".join(lines) + "\n"
