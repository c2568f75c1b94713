"""SIGTERM and SIGINT: the only place that installs handlers for them.

A container's first process ignores every signal that it has no handler for, and Kubernetes stops a pod with SIGTERM. So
a command installs its handler first of all, before anything heavy is imported, and the handler raises: whatever the
main thread is doing, importing, computing or waiting for an answer, is unwound, and incomplete outputs are removed by
the blocks that were writing them. Work that can be left at certain points only notes the signal instead.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_came: list[Stopped] = []


class Stopped(BaseException):
    """SIGTERM or SIGINT arrived. Not an Exception, so that no library takes it for a failure that it may retry, and not
    a KeyboardInterrupt, which the command line's parser swallows."""


def stop_on_signals() -> None:
    """Make the first SIGTERM or SIGINT raise Stopped in the main thread; further ones don't disturb the clean-up."""

    def stop(number: int) -> None:
        ignore_signals()
        _came.append(Stopped(_stopped_by(number)))
        raise _came[0]

    _install(stop)


def ignore_signals() -> None:
    """Ignore SIGTERM and SIGINT from now on: the process is about to exit."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def check() -> None:
    """Raise Stopped again after a signal: Python drops it when a destructor or a callback was running."""
    if _came:
        raise _came[0]


@contextlib.contextmanager
def handle_signals(handle: Callable[[int], None]) -> Iterator[None]:
    """Within it SIGTERM and SIGINT call `handle` with their number, and nothing else; then the handlers from before.

    Python delivers signals to the main thread: in another one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = _install(handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def note_signals() -> Iterator[Callable[[], bool]]:
    """Within it SIGTERM and SIGINT are only noted; the function that it yields says whether one arrived."""
    came: list[int] = []
    with handle_signals(came.append):
        yield lambda: bool(came)


@contextlib.contextmanager
def defer_signals() -> Iterator[Callable[[], bool]]:
    """`note_signals`, then Stopped at the end if a signal arrived and nothing else was raised."""
    came: list[int] = []
    with handle_signals(came.append):
        yield lambda: bool(came)
    if came:
        raise Stopped(_stopped_by(came[0]))


def _install(handle: Callable[[int], None]) -> dict[int, signal._HANDLER]:
    """The handlers from before."""
    return {number: signal.signal(number, lambda number, frame: handle(number)) for number in _SIGNALS}


def _stopped_by(number: int) -> str:
    return f"stopped by {signal.Signals(number).name}; rerun to resume"
