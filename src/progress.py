"""How far a long piece of work is: one bar, one line or one file, as the place demands.

A stage tells its progress once, through `Progress`; where it is shown depends on who
looks. On a terminal it is a bar with rate and ETA; without one, a plain line every ten
seconds; under the local runner (`CAPTIONLESS_PROGRESS` names a file) a small JSON
document that the runner reads for its own live view, and nothing on the screen.
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

from captionless.environment import PROGRESS

VARIABLE = PROGRESS
_LINE_EVERY = 10.0
_FILE_EVERY = 0.25


@dataclass
class State:
    """Where the work stands; `rate` is units per second since the start of this process."""

    title: str
    unit: str
    total: int
    done: int = 0
    rate: float = 0.0
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def eta(self) -> float | None:
        """Seconds to go, None while unknown."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None


def read(path: str) -> State | None:
    """The state another process last wrote to `path`; None when there is none yet."""
    try:
        with open(path) as file:
            return State(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None


def duration(seconds: float | None) -> str:
    """`1:02:03`, `2:03`, or `-:--` when unknown."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def line(state: State) -> str:
    """The state in one plain line."""
    percent = 100 * state.done / state.total if state.total else 100.0
    info = "".join(f"  {k} {v:.4g}" if isinstance(v, float) else f"  {k} {v}" for k, v in state.info.items())
    return (
        f"{state.title}: {state.done}/{state.total} {state.unit}s ({percent:.0f} %), "
        f"{state.rate:.3g}/s, ETA {duration(state.eta)}{info}"
    )


class Progress:
    """Progress of `total` units of work, of which `done` were there before. A context manager."""

    def __init__(self, title: str, total: int, unit: str = "object", done: int = 0):
        self.state = State(title, unit, total, done)
        self._start, self._before = time.monotonic(), done
        self._shown = self._start
        self._path = os.environ.get(PROGRESS, "")
        self._bar: Any = None

    def __enter__(self) -> Self:
        if not self._path and sys.stderr.isatty():
            self._bar = _bar(self.state)
            self._bar.start()
        self._show(force=True)
        return self

    def advance(self, count: int = 1, **info: Any) -> None:
        """`count` more units are done; `info` (a loss, say) is shown beside them."""
        self.state.done += count
        self.state.info.update(info)
        self._show()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._show(force=True)
        if self._bar is not None:
            self._bar.stop()
        elif not self._path:
            nothing = self.state.total == self._before and kind is None
            print(f"{self.state.title}: nothing left to do" if nothing else line(self.state), file=sys.stderr)

    def _show(self, force: bool = False) -> None:
        now = time.monotonic()
        state = self.state
        state.rate = (state.done - self._before) / max(now - self._start, 1e-9)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=state.done, rate=f"{state.rate:.3g} {state.unit}s/s")
        elif self._path:
            if force or now - self._shown >= _FILE_EVERY:
                self._shown = now
                with contextlib.suppress(OSError):  # a view that cannot be written must not end the work
                    temporary = f"{self._path}.tmp"
                    with open(temporary, "w") as file:
                        json.dump(asdict(state), file, default=float)
                    os.replace(temporary, self._path)
        elif now - self._shown >= _LINE_EVERY:
            self._shown = now
            print(line(state), file=sys.stderr, flush=True)


def _bar(state: State) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    bar.add_task(state.title, total=state.total, completed=state.done, rate="")
    return bar
