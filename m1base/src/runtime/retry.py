"""Retrying after a transient error: how long to wait, how often, and when to give up.

Requests are retried by `retry`: object storage, the API server, pushes to the Pushgateway, a language model. The caller
says what is transient, by raising `Transient`, and what giving up means, by catching the last one; the waiting is
tenacity's. What holds a connection open (a watch, a followed log, the rendezvous) reconnects at a fixed interval
itself, and the controller's work queue defers a failed item without blocking a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity

T = TypeVar("T")


class Transient(Exception):
    """A failure that may be temporary; its `__cause__` is what failed.

    retry_after: seconds that the server asked clients to wait.
    """

    def __init__(self, message: str = "", retry_after: float = 0.0):
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Backoff:
    """Exponential back-off: pauses in seconds between attempts, and when to give up.

    first: the pause before the second attempt; pauses double up to `longest`. jitter: the random share of a pause, so
    that a thousand workers that failed together don't retry together. attempts, seconds: when to give up; a pause that
    would end after `seconds` is not begun.
    """

    first: float
    longest: float
    attempts: int | None = None
    seconds: float | None = None
    jitter: float = 0.0

    def pause(self, failures: int) -> float:
        """Seconds to wait after this many failures, without jitter."""
        return min(self.first * 2.0 ** min(failures - 1, 64), self.longest)


def retry(
    call: Callable[[], T],
    backoff: Backoff,
    *,
    on_retry: Callable[[Transient], None] = lambda error: None,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """What `call` returns, called again as long as it raises Transient. Raises the last Transient when giving up.

    on_retry: called with every failure that is followed by another attempt.
    """
    began = time.monotonic()
    try:
        return call()  # hot paths read storage through here: what succeeds at once does without tenacity
    except Transient as error:
        first = [error]
    spent = time.monotonic() - began

    def attempt() -> T:
        if first:
            raise first.pop()
        return call()

    stop: list[tenacity.stop.stop_base] = []
    if backoff.attempts is not None:
        stop.append(tenacity.stop_after_attempt(backoff.attempts))
    if backoff.seconds is not None:
        stop.append(tenacity.stop_before_delay(backoff.seconds - spent))
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(Transient),
        stop=tenacity.stop_any(*stop) if stop else tenacity.stop_never,
        wait=lambda state: _pause(backoff, state),
        before_sleep=lambda state: on_retry(_transient(state)),
        sleep=sleep,
        reraise=True,
    )
    return attempts(attempt)


def _pause(backoff: Backoff, state: tenacity.RetryCallState) -> float:
    chosen = backoff.pause(state.attempt_number)
    chosen -= tenacity.wait_random(0, backoff.jitter * chosen)(state)
    return min(max(chosen, _transient(state).retry_after), backoff.longest)


def _transient(state: tenacity.RetryCallState) -> Transient:
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, Transient)
    return error
