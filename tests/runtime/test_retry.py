"""Retrying: what is called again, how long the pauses are, and what giving up raises."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from captionless.runtime.retry import Backoff, Transient, retry


def failing(times: int, retry_after: float = 0.0) -> Callable[[], str]:
    """A call that fails so often, then succeeds."""
    left = iter(range(times))

    def call() -> str:
        for number in left:
            raise Transient(f"failure {number}", retry_after) from OSError(number)
        return "done"

    return call


def test_pauses_double_up_to_the_longest() -> None:
    pauses: list[float] = []
    assert retry(failing(5), Backoff(0.5, 3.0, attempts=6), sleep=pauses.append) == "done"
    assert pauses == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_the_last_failure_is_raised_with_its_cause() -> None:
    seen: list[str] = []
    with pytest.raises(Transient) as caught:
        retry(failing(9), Backoff(1, 1, attempts=3), on_retry=lambda e: seen.append(str(e)), sleep=lambda _: None)
    assert str(caught.value) == "failure 2"
    assert isinstance(caught.value.__cause__, OSError)
    assert seen == ["failure 0", "failure 1"]


def test_no_pause_is_begun_that_would_end_too_late() -> None:
    pauses: list[float] = []
    with pytest.raises(Transient):
        retry(failing(9), Backoff(5, 5, seconds=4), sleep=pauses.append)
    assert pauses == []


@pytest.mark.parametrize(("asked", "paused"), [(0.1, 1.0), (7.0, 7.0), (99.0, 10.0)], ids=["less", "more", "too long"])
def test_the_server_may_ask_for_a_longer_pause(asked: float, paused: float) -> None:
    pauses: list[float] = []
    retry(failing(1, asked), Backoff(1, 10, attempts=2), sleep=pauses.append)
    assert pauses == [paused]


def test_jitter_shortens_a_pause_by_its_share_at_most() -> None:
    pauses: list[float] = []
    for _ in range(50):
        retry(failing(1), Backoff(4, 4, attempts=2, jitter=0.5), sleep=pauses.append)
    assert 2 <= min(pauses) < max(pauses) <= 4


def test_another_exception_is_not_retried() -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        raise KeyError("x")

    with pytest.raises(KeyError):
        retry(call, Backoff(1, 1, attempts=5))
    assert len(calls) == 1
