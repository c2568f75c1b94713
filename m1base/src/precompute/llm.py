"""Chat completions from any OpenAI-compatible endpoint, retried after transient errors, within a budget.

Transient errors (429, 5xx, 408, 409, a timeout, a broken connection, a truncated body or one that is not a
completion, an empty answer) are retried with exponential backoff, or after the server's Retry-After.
Permanent ones (401, 403, 404, other 4xx, an exhausted quota) fail at once and say which spec field to
change. The API key is read from an environment variable and never appears in a message.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import openai

from captionless.errors import Retryable, SpecError
from captionless.runtime.retry import Backoff, Transient, retry

T = TypeVar("T")

MILLION = 1_000_000

LONGEST_PAUSE = 60.0
"""Seconds; a longer Retry-After is cut to this."""


@dataclass(frozen=True)
class Endpoint:
    """Where requests go and how they are made.

    Attributes:
        url: base URL of the API, e.g. `http://localhost:8000/v1`.
        api_key_env: the environment variable that holds the key; empty for a server without authentication.
        timeout_seconds: without a byte from the server.
        attempts: per request, including the first.
        first_pause: seconds before the second attempt; doubles up to `LONGEST_PAUSE`.
    """

    url: str
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    temperature: float = 1.0
    timeout_seconds: float = 60.0
    attempts: int = 6
    first_pause: float = 1.0

    def key(self) -> str:
        """The API key; SpecError when its variable is not set."""
        if not self.api_key_env:
            return "none"
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise SpecError(
                f"landmarks.apiKeyEnv: the environment variable {self.api_key_env} is not set; "
                f'set it to the key for {self.url}, or api_key_env to "" if the server needs no key'
            )
        return key


@dataclass
class Budget:
    """What a run may spend and has spent, in the currency of the prices.

    `input_price` and `output_price` are per million tokens. Where a reply reports no usage, one token per
    three characters is assumed, more than common tokenizers need for prose.
    """

    max_cost: float
    input_price: float
    output_price: float
    spent: float = 0.0

    def charge(self, input_tokens: int, output_tokens: int) -> None:
        """Count a request."""
        self.spent += (input_tokens * self.input_price + output_tokens * self.output_price) / MILLION

    @property
    def exhausted(self) -> bool:
        return self.spent >= self.max_cost


class Chat:
    """One endpoint and one budget; `ask` is a single question without a history."""

    def __init__(self, endpoint: Endpoint, budget: Budget, pause: Callable[[float], None] = time.sleep) -> None:
        self.endpoint = endpoint
        self.budget = budget
        self._pause = pause
        self._key = endpoint.key()
        # retried in `ask` and not by the client, which would accept empty or unreadable answers
        self._client = openai.OpenAI(
            base_url=endpoint.url, api_key=self._key, timeout=endpoint.timeout_seconds, max_retries=0
        )

    def ask(self, system: str, user: str, read: Callable[[str], T]) -> T:
        """The model's answer as parsed by `read`; a ValueError from `read` makes the answer unusable.

        Raises:
            SpecError: the budget is exhausted, or the endpoint rejects the request permanently.
            Retryable: no usable answer in `endpoint.attempts` attempts.
        """
        endpoint = self.endpoint
        backoff = Backoff(endpoint.first_pause, LONGEST_PAUSE, attempts=endpoint.attempts)
        try:
            return retry(lambda: self._attempt(system, user, read), backoff, sleep=self._pause)
        except Transient as error:
            raise Retryable(
                f"{endpoint.url}: no usable answer from {endpoint.model} after {endpoint.attempts} attempts; "
                f"last error: {self._without_key(str(error))}"
            ) from error.__cause__

    def _attempt(self, system: str, user: str, read: Callable[[str], T]) -> T:
        """One request. Transient for an error that is worth a retry."""
        if self.budget.exhausted:
            raise SpecError(
                f"landmarks.maxCost: budget exhausted ({self.budget.spent:.4g} of {self.budget.max_cost:.4g} spent); "
                "accepted texts are kept: raise landmarks.maxCost and rerun to resume"
            )
        try:
            return read(self._complete(system, user))
        except openai.APIStatusError as error:
            if not _is_transient(error):
                raise self._rejection(error) from None
            raise Transient(_status_and_message(error), _retry_after(error.response.headers)) from error
        except openai.APITimeoutError as error:
            raise Transient(f"no answer within {self.endpoint.timeout_seconds:g} s") from error
        except (openai.APIError, _Unusable, ValueError) as error:
            raise Transient(_shortened(str(error.__cause__ or error))) from error

    def _complete(self, system: str, user: str) -> str:
        completion = self._client.chat.completions.create(
            model=self.endpoint.model,
            temperature=self.endpoint.temperature,
            messages=[{"role": "system", "content": system}, {"role": "user", "content": user}],
        )
        choices = getattr(completion, "choices", None)  # the client does not validate what a server sends
        if not choices:
            raise _Unusable("the answer is not a chat completion")
        text = getattr(getattr(choices[0], "message", None), "content", None) or ""
        usage = completion.usage
        self.budget.charge(
            (usage.prompt_tokens if usage else None) or _estimate(system + user),
            (usage.completion_tokens if usage else None) or _estimate(text),
        )
        if not text.strip():
            raise _Unusable("the answer is empty")
        return text

    def _rejection(self, error: openai.APIStatusError) -> SpecError:
        """A permanent error, with the spec field to check."""
        endpoint = self.endpoint
        where = f"{endpoint.url} answered: {self._without_key(_status_and_message(error))}"
        if error.status_code in (401, 403):
            return SpecError(f"{where}; check the key in {endpoint.api_key_env or 'landmarks.apiKeyEnv'}")
        if error.status_code == 404:
            return SpecError(f'{where}; check landmarks.endpoint and landmarks.model "{endpoint.model}"')
        if error.status_code == 429:
            return SpecError(f"{where}; the account's quota is exhausted")
        return SpecError(f"{where}; request rejected: check landmarks.model and landmarks.temperature")

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self.endpoint.api_key_env else text


class _Unusable(Exception):
    """The server answered, but without usable content."""


def _is_transient(error: openai.APIStatusError) -> bool:
    if error.status_code == 429:
        return "insufficient_quota" not in (error.code, error.type)
    return error.status_code >= 500 or error.status_code in (408, 409)


def _status_and_message(error: openai.APIStatusError) -> str:
    message = error.body.get("message") if isinstance(error.body, dict) else None
    return f"{error.status_code} {_shortened(str(message or error.response.reason_phrase))}"


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return float(headers.get("retry-after") or 0)
    except ValueError:  # an HTTP date: the exponential pause will do
        return 0.0


def _estimate(text: str) -> int:
    return len(text) // 3 + 1


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:200] + "..."
