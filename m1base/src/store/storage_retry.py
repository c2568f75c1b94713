"""Retrying storage operations: transient failures until a deadline, everything else once, in one line.

Broken connections and 5xx responses are retried for `RETRY_SECONDS`; a denied key, missing credentials or a missing
bucket end at once as `SpecError`, a full disk as `Retryable`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from captionless.errors import CaptionlessError, Retryable, one_line
from captionless.runtime.retry import Backoff, Transient, retry
from captionless.store.storage_errors import explain, is_storage_error
from captionless.telemetry import catalog, registry

RETRY_SECONDS = float(os.environ.get("CAPTIONLESS_STORE_RETRY_SECONDS", "120"))

_P = ParamSpec("_P")
_R = TypeVar("_R")


def retrying(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Retries a storage operation while its failure is transient; its first argument is the URL."""

    @functools.wraps(function)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        url = str(args[0])

        def attempt() -> _R:
            try:
                return function(*args, **kwargs)
            except CaptionlessError:
                raise
            except Exception as error:
                if not is_storage_error(error):
                    raise
                explained = explain(url, error)
                if explained is error:
                    raise
                raise Transient if explained is None else explained from error

        backoff = Backoff(first=0.2, longest=10.0, seconds=RETRY_SECONDS)
        try:
            return retry(attempt, backoff, on_retry=lambda _: registry.add(catalog.STAGE_STORAGE_RETRIES))
        except Transient as last:
            cause = last.__cause__ or last
            raise Retryable(
                f"{url}: storage did not answer for {RETRY_SECONDS:.0f} s ({type(cause).__name__}: {one_line(cause)})"
            ) from cause

    return wrapped
