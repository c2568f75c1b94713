"""When a process has to end: with its parent, so that no orphan goes on writing, and when it is told to.

A container's first process ignores every signal that it has no handler for, and Kubernetes ends a pod by SIGTERM.
So the handler is the first thing that a command sets up, before anything heavy is imported, and it raises: whatever
the main thread is at, importing, computing or waiting for an answer, is unwound, and half-made outputs are cleaned
away by the blocks that made them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from captionless import environment
from captionless.errors import Interrupted

_PR_SET_PDEATHSIG = 1
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


@contextlib.contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool that is waited for, but not by a process that was told to stop: a thread may be at a storage that is
    away, and is left to the end of the process."""
    pool, wait = ThreadPoolExecutor(count), True
    try:
        yield pool
    except Stopped:
        wait = False
        raise
    finally:
        pool.shutdown(wait, cancel_futures=not wait)


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends. Does nothing but on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_with_parent() -> None:
    """Bind this process's life to its parent's and to the process that PARENT names; ends it if that one is gone.

    PARENT need not be the direct parent: torchrun stands between a rank and its supervisor. Does nothing without it.
    """
    named = os.environ.pop(environment.PARENT, "")
    if named:
        die_with_parent()
        if not is_alive(int(named)):
            os._exit(Interrupted.exit_code)


def is_alive(pid: int) -> bool:
    """Whether there is a process with this id that has not ended; one that nobody has reaped yet has ended."""
    with contextlib.suppress(OSError, IndexError):
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
