"""Deadlines that follow the machine's pace."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from tests import pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that advances by what is slept, and a pace to set: `[seconds, pace]`."""
    found = [0.0, 1.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: found[0])
    monkeypatch.setattr(pace.time, "sleep", lambda s: found.__setitem__(0, found[0] + s))

    def measure() -> float:
        monkeypatch.setattr(pace, "_measured", (found[1], found[0]))
        return found[1]

    monkeypatch.setattr(pace, "measure", measure)
    measure()
    return found


def test_the_pace_is_at_least_one() -> None:
    assert pace.measure() >= 1
    assert pace.now() >= 1
    assert pace.scaled(20) >= 20
    assert pace.seconds(20) >= 20


def test_a_wait_returns_what_it_waited_for(clock: list[float]) -> None:
    tries = itertools.count()
    assert pace.wait_for("the third try", lambda: next(tries) // 2 and "third", 10) == "third"
    assert clock[0] < 1


def test_a_wait_in_vain_names_what_it_waited_for_and_the_state(clock: list[float]) -> None:
    with pytest.raises(pace.TimedOut, match=r"the moon\nlast seen: a cloud"):
        pace.wait_for("the moon", lambda: False, 10, every=1, state=lambda: "a cloud")
    assert 10 <= clock[0] <= 25


@pytest.mark.parametrize("begins", [3.0, 19.0], ids=["early", "just-before-the-deadline"])
def test_load_that_begins_later_moves_the_deadline(clock: list[float], begins: float) -> None:
    def after_a_minute() -> bool:
        clock[1] = 5.0 if clock[0] > begins else 1.0
        return clock[0] > 60

    assert pace.wait_for("a minute", after_a_minute, 10, every=1)


def test_a_process_that_does_not_end_is_killed() -> None:
    command = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(600)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        with pytest.raises(pace.TimedOut, match="begun"):
            pace.communicate(process, 1.0)
        assert process.returncode != 0


def test_a_promised_time_is_asserted_only_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(pace.ASSERT_TIMES, raising=False)
    pace.took("resumed", 31, 30)
    monkeypatch.setenv(pace.ASSERT_TIMES, "1")
    pace.took("resumed", 29, 30)
    with pytest.raises(AssertionError, match="resumed"):
        pace.took("resumed", 31, 30)
