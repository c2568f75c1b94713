"""Chat completions from any OpenAI-compatible endpoint: asked again when it fails, within a budget.

What passes (429, 5xx, 408, 409, a time-out, a connection that breaks, a body that is cut off or is no
completion, an empty answer) is asked again with a growing pause, or after the pause that the server
names. What cannot pass (401, 403, 404, other 4xx, an exhausted quota) ends at once and says what to
change in the spec. The key is read from an environment variable and never appears in a message.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import openai

from captionless.errors import Retryable, SpecError

T = TypeVar("T")

MILLION = 1_000_000

LONGEST_PAUSE = 60.0
"""Seconds; also the most that a server's Retry-After is followed."""


@dataclass(frozen=True)
class Endpoint:
    """Where and how to ask.

    Attributes:
        url: base URL of the API, e.g. `http://localhost:8000/v1`.
        api_key_env: the environment variable with the key; empty for a server that wants none.
        timeout_seconds: without a byte from the server.
        attempts: how often one request is sent before it is given up.
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
                f"landmarks.api_key_env: the environment variable {self.api_key_env} is not set; "
                f'set it to the key of {self.url}, or api_key_env to "" if it wants none'
            )
        return key


@dataclass
class Budget:
    """What a run may spend, and what it has spent, in the currency of the prices.

    `input_price` and `output_price` are for a million tokens. A reply that does not say what it used is
    counted as one token for every three characters, more than any common tokenizer makes of prose.
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
        # retries are made here and not by the client, which does not know of empty or unreadable answers
        self._client = openai.OpenAI(
            base_url=endpoint.url, api_key=self._key, timeout=endpoint.timeout_seconds, max_retries=0
        )

    def ask(self, system: str, user: str, read: Callable[[str], T]) -> T:
        """What `read` makes of the model's answer; a ValueError of `read` makes the answer unusable.

        Raises:
            SpecError: the budget is used up, or the endpoint refuses for good.
            Retryable: no usable answer in `endpoint.attempts` attempts.
        """
        wait = self.endpoint.first_pause
        for attempt in range(1, self.endpoint.attempts + 1):
            if self.budget.exhausted:
                raise SpecError(
                    f"landmarks.max_cost: {self.budget.spent:.4g} of {self.budget.max_cost:.4g} is spent; "
                    "texts got so far are kept, raise max_cost and run again to go on"
                )
            try:
                return read(self._once(system, user))
            except openai.APIStatusError as error:
                if not _passing(error):
                    self._refused(error)
                problem, asked = _said(error), _retry_after(error.response.headers)
            except openai.APITimeoutError:
                problem, asked = f"no answer within {self.endpoint.timeout_seconds:g} s", 0.0
            except (openai.APIError, _Unusable, ValueError) as error:
                problem, asked = _short(str(error.__cause__ or error)), 0.0
            if attempt < self.endpoint.attempts:
                self._pause(min(max(wait, asked), LONGEST_PAUSE))
                wait *= 2
        raise Retryable(
            f"{self.endpoint.url}: no usable answer from {self.endpoint.model} in {self.endpoint.attempts} attempts, "
            f"the last: {self._without_key(problem)}"
        )

    def _once(self, system: str, user: str) -> str:
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

    def _refused(self, error: openai.APIStatusError) -> NoReturn:
        endpoint = self.endpoint
        where = f"{endpoint.url} answered: {self._without_key(_said(error))}"
        if error.status_code in (401, 403):
            raise SpecError(f"{where}; check the key in {endpoint.api_key_env or 'landmarks.api_key_env'}") from None
        if error.status_code == 404:
            raise SpecError(f'{where}; check landmarks.endpoint and landmarks.model "{endpoint.model}"') from None
        if error.status_code == 429:
            raise SpecError(f"{where}; the account's quota is used up") from None
        raise SpecError(f"{where}; the request was refused; check landmarks.model and landmarks.temperature") from None

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self.endpoint.api_key_env else text


class _Unusable(Exception):
    """The server answered, with nothing to work with."""


def _passing(error: openai.APIStatusError) -> bool:
    if error.status_code == 429:
        return "insufficient_quota" not in (error.code, error.type)
    return error.status_code >= 500 or error.status_code in (408, 409)


def _said(error: openai.APIStatusError) -> str:
    message = error.body.get("message") if isinstance(error.body, dict) else None
    return f"{error.status_code} {_short(str(message or error.response.reason_phrase))}"


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return float(headers.get("retry-after") or 0)
    except ValueError:  # a date: the growing pause will do
        return 0.0


def _estimate(text: str) -> int:
    return len(text) // 3 + 1


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:200] + "..."
