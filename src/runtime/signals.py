"""When a process has to end: with its parent, so that no orphan goes on writing, and when it is told to.

A container's first process ignores every signal that it has no handler for, and Kubernetes ends a pod by SIGTERM.
So the handler is the first thing that a command sets up, before anything heavy is imported, and it raises: whatever
the main thread is at, importing, computing or waiting for an answer, is unwound, and half-made outputs are cleaned
away by the blocks that made them.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_came: list[Stopped] = []


class Stopped(BaseException):
    """SIGTERM or SIGINT came. Not an Exception, so that no library takes it for a failure that it may try again, and
    not a KeyboardInterrupt, which the command line's parser swallows."""


def stop_on_signals() -> None:
    """Have the first SIGTERM or SIGINT raise Stopped in the main thread; further ones don't disturb the cleaning up."""

    def stop(number: int, frame: object) -> None:
        ignore_signals()
        _came.append(Stopped(_stopped_by(number)))
        raise _came[0]

    for number in _SIGNALS:
        signal.signal(number, stop)


def _stopped_by(number: int) -> str:
    return f"stopped by {signal.Signals(number).name}; run again to go on from what is whole"


def ignore_signals() -> None:
    """The end is decided and only has to be told."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def check() -> None:
    """Raises Stopped again after a signal came: where a destructor or a callback was at work, Python drops it."""
    if _came:
        raise _came[0]


@contextlib.contextmanager
def signals_noted() -> Iterator[Callable[[], bool]]:
    """Within it SIGTERM and SIGINT raise nothing, and the function that it gives says whether one came: for work that
    may be left at certain places only, and looks there. Raises Stopped at the end if one came and nothing else did."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda n, frame: came.append(n)) for number in _SIGNALS}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise Stopped(_stopped_by(came[0]))
