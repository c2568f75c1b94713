"""What a child process is asked to do in test_expendable_process.py."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from captionless.errors import Retryable

_served = 0
_kept: list[np.ndarray[Any, Any]] = []


def perform(note: Callable[[object], None], deed: str, *arguments: Any) -> Any:
    """One of the deeds below; `note` first gets its name."""
    global _served
    _served += 1
    note(deed)
    return {name: deed for name, deed in globals().items() if name.startswith("do_")}[f"do_{deed}"](*arguments)


def prepare(deed: str, *arguments: Any) -> None:
    """Takes its time for one of them, and memory that it keeps for another."""
    if deed == "after_preparation":
        do_compute(*arguments)
    if deed == "beside_what_is_kept":
        _kept.append(np.empty(2 * arguments[0], np.uint8))  # in the address space only


def do_after_preparation(seconds: float) -> float:
    return seconds


def do_beside_what_is_kept(size: int) -> int:
    return sum(map(len, _kept)) + do_allocate(size // 2)


def do_add_one(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return values + 1


def do_count() -> tuple[int, int]:
    return os.getpid(), _served


def do_raise() -> None:
    raise Retryable("the storage is away")


def do_recurse() -> None:
    do_recurse()


def do_read_nothing() -> None:
    ctypes.string_at(0)


def do_abort() -> None:
    os.write(2, b"free(): invalid pointer\n")
    os.abort()


def do_exit() -> None:
    os._exit(3)


def do_kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def do_loop() -> None:
    while True:
        pass


def do_compute(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def do_sleep() -> None:
    time.sleep(600)


def do_allocate(size: int) -> int:
    return len(bytearray(size))


def do_crash_if_used() -> int:
    if _served > 1:
        os.abort()
    return _served


def do_where() -> tuple[str, dict[str, str]]:
    import sys

    return os.pathsep.join(sys.path), dict(os.environ)
