"""How far a long piece of work is: one bar, one line or one file, as the place demands.

A stage tells its progress once, through `Progress`; where it is shown depends on who
looks. On a terminal it is a bar with rate and ETA; without one, as in a pod's log or
the local runner's, a plain line every ten seconds. Where the environment names a file
(PROGRESS), it gets a small JSON document, for the runner's live view and, with what else the
process has measured (`measures`), for Prometheus; a terminal gets nothing. Whoever asked for
quiet (QUIET) sees nothing on stderr.
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


@dataclass
class ProgressState:
    """Where the work stands; `rate` is units per second since the start of this process, `advanced` when the last
    unit was done or, before that, the work begun (seconds since the epoch). `measures` are as `measures.taken`."""

    title: str
    unit: str
    total: int
    done: int = 0
    rate: float = 0.0
    info: dict[str, Any] = field(default_factory=dict)
    advanced: float = 0.0
    measures: list[list[Any]] = field(default_factory=list)

    @property
    def eta(self) -> float | None:
        """Seconds to go, None while unknown."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None


def read(path: str) -> ProgressState | None:
    """The state another process last wrote to `path`; None when there is none yet."""
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
    """The state in one plain line."""
    percent = 100 * state.done / state.total if state.total else 100.0
    return (
        f"{state.title}: {state.done}/{state.total} {state.unit}s ({percent:.0f} %), "
        f"{state.rate:.3g}/s, ETA {duration(state.eta)}{_info(state)}"
    )


def say(text: str) -> None:
    """A line on stderr about how the work goes, which nobody needs who asked for quiet."""
    if QUIET not in os.environ:
        print(text, file=sys.stderr, flush=True)


def _info(state: ProgressState) -> str:
    return "".join(f"  {k} {v:.4g}" if isinstance(v, float) else f"  {k} {v}" for k, v in state.info.items())


class Progress:
    """Progress of `total` units of work, of which `done` were there before. A context manager."""

    def __init__(self, title: str, total: int, unit: str = "object", done: int = 0):
        self.state = ProgressState(title, unit, total, done, advanced=time.time())
        self._start, self._before = time.monotonic(), done
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
        """`count` more units are done; `info` (a loss, say) is shown beside them."""
        if count:
            self.state.done += count
            self.state.advanced = time.time()
        self.state.info.update(info)
        self._show()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._show(force=True)
        if self._bar is not None:
            self._bar.stop()
        elif self._lines():
            nothing = self.state.total == self._before and kind is None
            print(f"{self.state.title}: nothing left to do" if nothing else line(self.state), file=sys.stderr)

    def _show(self, force: bool = False) -> None:
        now = time.monotonic()
        state = self.state
        state.rate = (state.done - self._before) / max(now - self._start, 1e-9)
        if self._bar is not None:
            rate = f"{state.rate:.3g} {state.unit}s/s"
            self._bar.update(self._bar.task_ids[0], completed=state.done, rate=rate, info=_info(state))
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
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[info]}"),
        console=Console(stderr=True),
    )
    bar.add_task(state.title, total=state.total, completed=state.done, rate="", info="")
    return bar
