"""The live view of a run: a table that moves on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from captionless.runtime import env
from captionless.telemetry import progress

Row = tuple[str, str, progress.ProgressState | None, float]
"""A stage: name, status, progress, elapsed seconds."""

_LINE_EVERY = 10.0
_STYLE = {"waiting": "dim", "running": "bold", "done": "green", "failed": "bold red", "stopped": "yellow"}
_BAR = 16


class LiveView:
    """Shows rows of stages on stderr; `say` prints a line above them."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._quiet = env.QUIET in os.environ
        self._live: Live | None = None
        self._statuses: dict[str, str] = {}
        self._last_lines = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._quiet:
            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Prints a line that stays above the live view."""
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def show(self, rows: Sequence[Row], last: bool = False) -> None:
        """Shows the current state of all stages."""
        if self._live is not None:
            self._live.update(table(rows), refresh=True)
        elif not self._quiet:
            self._lines(rows, last)

    def _lines(self, rows: Sequence[Row], last: bool) -> None:
        """Without a terminal: a line when a stage starts or ends, and every ten seconds for those that are running."""
        now = time.monotonic()
        due = now - self._last_lines >= _LINE_EVERY
        for name, status, state, seconds in rows:
            changed = self._statuses.get(name, "waiting") != status
            if changed and status != "failed":  # the runner reports a failure, with its log
                took = f" after {progress.duration(seconds)}" if status != "running" else ""
                done = f" ({state.done} {state.unit}s)" if state is not None and status == "done" else ""
                self.say(f"{name}: {status}{took}{done}")
            elif due and status == "running" and state is not None:
                self.say(progress.line(state))
            self._statuses[name] = status
        if due:
            self._last_lines = now


def table(rows: Sequence[Row]) -> Table:
    """The rows as a table, with a bar for each stage that has reported progress."""
    found = Table(box=None, pad_edge=False, header_style="dim")
    for title, align in (("stage", "left"), ("", "left"), ("progress", "left"), ("", "right"), ("rate", "right"),
                         ("time", "right"), ("ETA", "right"), ("", "left")):  # fmt: skip
        found.add_column(title, justify=align, no_wrap=True)  # type: ignore[arg-type]
    for name, status, state, seconds in rows:
        style = _STYLE.get(status, "")
        clock = progress.duration(seconds) if status != "waiting" else ""
        if state is None:
            found.add_row(name, status, "", "", "", clock, "", "", style=style)
            continue
        share = state.done / state.total if state.total else 1.0
        bar = "━" * round(share * _BAR) + "╌" * (_BAR - round(share * _BAR))
        rate = state.mean_rate(seconds) if status == "done" else state.rate if status == "running" else 0.0
        speed = progress.rate_text(rate, state.unit)
        eta = progress.duration(state.eta) if status == "running" and state.done < state.total else ""
        info = "  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in state.info.items())
        found.add_row(name, status, bar, f"{state.done}/{state.total}", speed, clock, eta, info, style=style)
    return found
