"""How fast this machine is now, and deadlines that follow it: no test fails because a machine is slow.

The pace is the wall-clock time of a fixed piece of work (Python, numpy, a process's start) over what it takes on an
idle core of the machine that the tests' seconds were chosen on: 1 there, 2 where everything takes twice as long. It is
measured at the session's start and again during every wait, so that load that begins later counts too.

A deadline in a test ends a wait that would never end, so it may be generous: `seconds` doubles what it is given before
it scales it. A time that is promised is no deadline: `took` prints it, and asserts it in targets of their own
(`make test-cluster-times`), on a machine that does nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

ASSERT_TIMES = "CAPTIONLESS_TEST_TIMES"
"""The environment variable that makes `took` assert."""

_REFERENCE = 0.08  # seconds of `_work` where the pace is 1
_ROUNDS = 3
_GENEROUS = 2.0
_FRESH = 15.0  # seconds for which a measurement is used again
_REPORTED_AFTER = 2.0  # seconds after which a wait is reported

_measured: tuple[float, float] | None = None  # the pace, and when it was measured

report: Callable[[str], None] = print
"""Where waits and times are reported: pytest shows it with a failure; with `-v`, at once (`tests/conftest.py`)."""


def _work() -> None:
    total = 0
    for i in range(400_000):
        total += i * i % 7
    np.sort(np.random.default_rng(0).standard_normal(500_000))
    subprocess.run([sys.executable, "-c", ""], check=True)


def measure() -> float:
    """The pace now, at least 1."""
    global _measured
    began = time.monotonic()
    for _ in range(_ROUNDS):
        _work()
    ended = time.monotonic()
    _measured = (max(1.0, (ended - began) / _ROUNDS / _REFERENCE), ended)
    return _measured[0]


def now() -> float:
    """The pace, measured a few seconds ago at most."""
    if _measured is None or time.monotonic() - _measured[1] > _FRESH:
        return measure()
    return _measured[0]


def scaled(value: float) -> int:
    """A whole number of seconds that is part of what is tested (a time-out in a spec, say), for this pace."""
    return round(value * now())


def seconds(value: float) -> float:
    """How long to wait for what takes less than `value` seconds on an idle machine."""
    return value * now() * _GENEROUS


class Deadline:
    """The end of a wait of `seconds(value)` that has begun; it moves away when the machine turns out slower."""

    def __init__(self, value: float) -> None:
        self.value, self.pace, self.began = value, now(), time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def passed(self) -> bool:
        self.pace = max(self.pace, now())
        if self.elapsed <= self._allowed():
            return False
        self.pace = max(self.pace, measure())
        return self.elapsed > self._allowed()

    def _allowed(self) -> float:
        return self.value * self.pace * _GENEROUS


class TimedOut(AssertionError):
    """What was waited for did not come."""


def wait_for(
    what: str,
    condition: Callable[[], T | None],
    value: float = 30,
    every: float = 0.05,
    state: Callable[[], object] | None = None,
) -> T:
    """The first true result of `condition`. TimedOut after `seconds(value)`, naming what was waited for, how long,
    and the last `state`."""
    deadline, reported = Deadline(value), False
    while not (found := condition()):
        if deadline.passed():
            seen = f"\nlast seen: {state()}" if state else ""
            raise TimedOut(f"waited {deadline.elapsed:.1f} s (pace {deadline.pace:.1f}) in vain for: {what}{seen}")
        if not reported and deadline.elapsed > _REPORTED_AFTER:
            report(f"waiting for: {what} (up to {seconds(value):.0f} s)")
            reported = True
        time.sleep(every)
    if reported:
        report(f"waited {deadline.elapsed:.1f} s for: {what}")
    return found


def communicate(process: subprocess.Popen[Any], value: float, what: str = "") -> tuple[Any, Any]:
    """`process.communicate` for at most `seconds(value)`; a process that has not ended by then is killed, and TimedOut
    tells what it wrote."""
    deadline = Deadline(value)
    while True:
        try:
            return process.communicate(timeout=max(value, 1.0))
        except subprocess.TimeoutExpired:
            if deadline.passed():
                process.kill()
                output, error = process.communicate()
                name = what or f"{process.args} to end"
                raise TimedOut(f"waited {deadline.elapsed:.1f} s in vain for: {name}\n{output}\n{error}") from None


def took(what: str, elapsed: float, promised: float) -> None:
    """Prints how long something took beside what is promised; asserts it where `ASSERT_TIMES` is set."""
    report(f"{what}: {elapsed:.1f} s (promised: {promised:g} s; pace {now():.1f})")
    if os.environ.get(ASSERT_TIMES):
        assert elapsed <= promised, f"{what}: took {elapsed:.1f} s, promised are {promised:g} s"


@contextmanager
def promised(what: str, bound: float) -> Iterator[None]:
    """`took`, for the block."""
    began = time.monotonic()
    yield
    took(what, time.monotonic() - began, bound)
