"""Progress of long-running work: a bar, plain lines or a file, depending on where it runs.

A stage reports its progress once, through `Progress`. On a terminal it is shown as a bar with rate and ETA; elsewhere,
as in the log of a pod or of the local runner, as a plain line every ten seconds. If the environment names a file
(PROGRESS), the file gets a small JSON document for the runner's live view and, with everything else that the process
measured (`registry`), for Prometheus, and no bar is drawn. With QUIET set, nothing is printed to stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self

from captionless.runtime.env import PROGRESS, QUIET
from captionless.telemetry import registry

_LINE_EVERY = 10.0
_FILE_EVERY = 0.25
_SETTLED_AFTER = 1.0
"""Seconds after the first completed unit before which no rate is derived from those that follow."""


@dataclass
class ProgressState:
    """How far the work is.

    rate: units per second; 0 while unknown. While the work runs it is measured from the first completed unit on, since
    that one includes loading models and data; once the work has ended it is the mean of the whole.
    before: units that were complete when this process began. advanced: when the last unit was completed or, before
    that, the work began, in seconds since the epoch. measures: as from `registry.snapshot`.
    """

    title: str
    unit: str
    total: int
    done: int = 0
    rate: float = 0.0
    info: dict[str, Any] = field(default_factory=dict)
    advanced: float = 0.0
    measures: list[list[Any]] = field(default_factory=list)
    before: int = 0

    @property
    def eta(self) -> float | None:
        """The seconds that remain; None while unknown."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None

    def mean_rate(self, seconds: float) -> float:
        """Units per second of the work done in so many seconds."""
        return max(self.done - self.before, 0) / max(seconds, 1e-9)


def read(path: str) -> ProgressState | None:
    """The state that another process last wrote to `path`; None if there is none yet."""
    try:
        with open(path) as file:
            return ProgressState(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None


def duration(seconds: float | None) -> str:
    """`1:02:03`, `2:03`, or `-:--` when unknown."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def line(state: ProgressState) -> str:
    """The state in one plain line; rate and ETA if they are known."""
    percent = 100 * state.done / state.total if state.total else 100.0
    rate = f", {state.rate:.3g}/s" if state.rate > 0 else ""
    eta = f", ETA {duration(state.eta)}" if state.eta else ""
    return f"{state.title}: {state.done}/{state.total} {state.unit}s ({percent:.0f} %){rate}{eta}{_info(state)}"


def rate_text(rate: float, unit: str) -> str:
    """`3.2 objects/s`; empty if unknown."""
    return f"{rate:.3g} {unit}s/s" if rate > 0 else ""


def say(text: str) -> None:
    """Prints a status line to stderr, unless QUIET is set."""
    if QUIET not in os.environ:
        print(text, file=sys.stderr, flush=True)


def _info(state: ProgressState) -> str:
    return "".join(f"  {k} {v:.4g}" if isinstance(v, float) else f"  {k} {v}" for k, v in state.info.items())


class Progress:
    """Progress of `total` units of work, of which `done` were complete before. A context manager."""

    def __init__(self, title: str, total: int, unit: str = "object", done: int = 0):
        self.state = ProgressState(title, unit, total, done, advanced=time.time(), before=done)
        self._start = time.monotonic()
        self._first: tuple[float, int] | None = None
        """When the first unit was completed, and how many were then."""
        self._written = self._lined = self._start
        self._path, self._quiet = os.environ.get(PROGRESS, ""), QUIET in os.environ
        self._bar: Any = None

    def __enter__(self) -> Self:
        if not self._path and not self._quiet and sys.stderr.isatty():
            self._bar = _bar(self.state)
            self._bar.start()
        self._show(force=True)
        return self

    def advance(self, count: int = 1, **info: Any) -> None:
        """Counts `count` more units as complete; `info` (a loss, for example) is shown next to the count."""
        if count:
            self.state.done += count
            self.state.advanced = time.time()
            if self._first is None:
                self._first = time.monotonic(), self.state.done
        self.state.info.update(info)
        self._show()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._show(force=True, ended=True)
        if self._bar is not None:
            self._bar.stop()
        elif self._lines():
            nothing = self.state.total == self.state.before and kind is None
            print(f"{self.state.title}: nothing left to do" if nothing else line(self.state), file=sys.stderr)

    def _rate(self, now: float, ended: bool) -> float:
        if ended or self.state.done >= self.state.total:
            return self.state.mean_rate(now - self._start)
        if self._first is None or now - self._first[0] < _SETTLED_AFTER:
            return 0.0
        return max(self.state.done - self._first[1], 0) / (now - self._first[0])

    def _show(self, force: bool = False, ended: bool = False) -> None:
        now = time.monotonic()
        state = self.state
        state.rate = self._rate(now, ended)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=state.done, **_bar_fields(state))
        if self._path and (force or now - self._written >= _FILE_EVERY):
            self._written = now
            self._write()
        if self._bar is None and now - self._lined >= _LINE_EVERY and self._lines():
            self._lined = now
            print(line(state), file=sys.stderr, flush=True)

    def _lines(self) -> bool:
        return not self._quiet and not sys.stderr.isatty()

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # a view that cannot be written must not end the work
            self.state.measures = registry.snapshot()
            temporary = f"{self._path}.tmp"
            with open(temporary, "w") as file:
                json.dump(asdict(self.state), file, default=float)
            os.replace(temporary, self._path)


def _bar(state: ProgressState) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[eta]}"),
        TextColumn("{task.fields[info]}"),
        console=Console(stderr=True),
    )
    bar.add_task(state.title, total=state.total, completed=state.done, **_bar_fields(state))
    return bar


def _bar_fields(state: ProgressState) -> dict[str, Any]:
    """What the bar's columns of text show."""
    eta = f"ETA {duration(state.eta)}" if state.done < state.total else ""
    return {"rate": rate_text(state.rate, state.unit), "eta": eta, "info": _info(state)}
