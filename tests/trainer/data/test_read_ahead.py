"""Batches made ahead of their steps: the right ones, in threads that overlap with the step and end with it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from captionless.errors import DataError, Interrupted
from captionless.trainer.data.read_ahead import AHEAD, ReadAhead
from tests import pace

PATIENCE = pace.seconds(60)


def ours() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith(("read", "make"))]


def squares(read: Callable[[int], int] = lambda step: step, end: int = 10) -> ReadAhead[int, int]:
    return ReadAhead(read, lambda value: value * value, end)


def test_steps_in_sequence_out_of_order_and_at_the_end() -> None:
    asked: list[int] = []
    with squares(lambda step: asked.append(step) or step) as batches:
        assert [batches.take(step) for step in (0, 1, 2, 7, 8, 9, 3, 4)] == [0, 1, 4, 49, 64, 81, 9, 16]
        assert not batches.is_late(10)
        batches.wait(10)
    assert max(asked) == 9
    assert not ours()


def test_reading_goes_on_while_a_step_computes() -> None:
    """The step holds the first batch, and waits until the batches behind it have been read."""
    read = {step: threading.Event() for step in range(10)}
    with squares(lambda step: read[step].set() or step) as batches:
        batches.take(0)
        for step in range(1, 1 + AHEAD):
            assert read[step].wait(PATIENCE)
        assert not read[1 + AHEAD].is_set()  # the memory is bounded
        batches.take(1)
        assert read[1 + AHEAD].wait(PATIENCE)


def test_storage_is_waited_for_by_several_steps_at_a_time_and_batches_are_made_in_order() -> None:
    waiting, go, made = threading.Semaphore(0), threading.Event(), []

    def read(step: int) -> int:
        waiting.release()
        assert go.wait(PATIENCE)
        return step

    with ReadAhead(read, lambda step: made.append(step) or step, end=4) as batches:
        assert batches.is_late(0)
        for _ in range(1 + AHEAD):
            assert waiting.acquire(timeout=PATIENCE)
        go.set()
        batches.wait(0)
        assert not batches.is_late(0)
        assert [batches.take(step) for step in range(4)] == [0, 1, 2, 3]
    assert made == [0, 1, 2, 3]


def test_what_a_thread_raises_is_raised_by_its_step_and_no_other() -> None:
    def read(step: int) -> int:
        if step == 2:
            raise DataError("object 'x' is damaged")
        return step

    with squares(read) as batches:
        assert [batches.take(0), batches.take(1)] == [0, 1]
        batches.wait(2)
        with pytest.raises(DataError, match="object 'x'"):
            batches.take(2)
        assert batches.take(3) == 9


def test_who_is_interrupted_does_not_wait_for_a_storage_that_is_away() -> None:
    away, reading = threading.Event(), threading.Event()

    def read(step: int) -> int:
        if step > 0:
            reading.set()
            assert away.wait(PATIENCE)
        return step

    def interrupted() -> None:
        with squares(read) as batches:
            batches.take(0)
            assert reading.wait(PATIENCE)
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        interrupted()
    assert ours()  # it is left to itself
    away.set()
    until_ended()


def test_what_is_dropped_is_read_again() -> None:
    factor = 1
    with squares(lambda step: factor * step) as batches:
        batches.wait(3)
        factor = 10
        batches.drop()
        assert batches.take(3) == 900


def until_ended() -> None:
    for thread in ours():
        thread.join(PATIENCE)
    assert not ours()
