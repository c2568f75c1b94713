"""The endpoint's faults, over a real connection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from captionless.errors import Retryable, SpecError
from captionless.precompute.llm import LONGEST_PAUSE, Budget, Chat, Endpoint

from .chat_server import Answer, ChatServer, completion, failure

KEY = "sk-very-secret"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("TEST_LLM_KEY", KEY)
    with ChatServer().running() as server:
        yield server


class Asked:
    """A chat whose pauses are recorded instead of waited for."""

    def __init__(self, server: ChatServer, attempts: int = 4, max_cost: float = 1.0, url: str = "") -> None:
        self.pauses: list[float] = []
        self.budget = Budget(max_cost, input_price=1.0, output_price=2.0)
        endpoint = Endpoint(url or server.url, "a-model", "TEST_LLM_KEY", 0.7, 0.3, attempts)
        self.chat = Chat(endpoint, self.budget, self.pauses.append)

    def __call__(self) -> str:
        return self.chat.ask("be brief", "what is a chair?", str)


def test_what_is_asked_and_answered(server: ChatServer) -> None:
    server.answers(completion("a seat", (3000, 2000)))
    ask = Asked(server)
    assert ask() == "a seat"
    [request] = server.requests
    assert (request["model"], request["temperature"]) == ("a-model", 0.7)
    assert [m["role"] for m in request["messages"]] == ["system", "user"]
    assert server.keys == [f"Bearer {KEY}"]
    assert ask.budget.spent == pytest.approx((3000 * 1.0 + 2000 * 2.0) / 1e6)
    assert ask.pauses == []


TRANSIENT = {
    "429": failure(429),
    "500": failure(500),
    "502 that is no JSON": Answer(502, b"<html>bad gateway</html>"),
    "503": failure(503),
    "408": failure(408),
    "time-out": Answer(hang=True),
    "truncated body": Answer(body=completion("a seat").body, cut=20),
    "body that is no JSON": Answer(body=b"{not json"),
    "JSON that is no completion": Answer(body=b'{"hello": 1}'),
    "a JSON list": Answer(body=b"[]"),
    "no choices": Answer(body=b'{"id": "1", "object": "chat.completion", "choices": []}'),
    "choice without a message": Answer(body=b'{"id": "1", "choices": [{"index": 0}]}'),
    "empty content": completion("  "),
    "null content": completion(None),
}


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_transient_fault_is_retried(server: ChatServer, fault: str) -> None:
    server.answers(TRANSIENT[fault], TRANSIENT[fault], completion("a seat"))
    ask = Asked(server)
    assert ask() == "a seat"
    assert ask.pauses == [1.0, 2.0]


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_persisting_fault_ends_as_retryable(server: ChatServer, fault: str) -> None:
    server.answers(TRANSIENT[fault])
    with pytest.raises(Retryable, match=r"a-model.*\b2 attempts.*: \w") as caught:
        Asked(server, attempts=2)()
    assert len(server.requests) == 2
    assert "\n" not in str(caught.value)


def test_an_unreadable_answer_is_retried(server: ChatServer) -> None:
    server.answers(completion("nonsense"), completion("42"))
    ask = Asked(server)
    assert ask.chat.ask("", "a number", int) == 42
    assert ask.budget.spent == pytest.approx(2 * (1000 + 2 * 500) / 1e6)


def test_the_servers_retry_after_is_followed(server: ChatServer) -> None:
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    answers = [failure(429, Retry_After="7"), failure(503, Retry_After="999"), failure(429, Retry_After=date)]
    server.answers(*answers, completion("a seat"))
    ask = Asked(server)
    assert ask() == "a seat"
    assert ask.pauses == [7.0, LONGEST_PAUSE, 4.0]


def test_a_refused_connection_is_retried() -> None:
    with ChatServer().running() as gone:
        url = gone.url
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_LLM_KEY", KEY)
        with pytest.raises(Retryable, match=r"a-model.*\b2 attempts"):
            Asked(gone, attempts=2, url=url)()


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (failure(401, f"Incorrect API key provided: {KEY}"), "401 .*TEST_LLM_KEY"),
        (failure(403), "403 .*TEST_LLM_KEY"),
        (failure(404, "no such model"), r'404 .*landmarks\.endpoint .*landmarks\.model "a-model"'),
        (failure(400, "temperature too high"), "400 .*temperature too high"),
        (failure(429, "quota", "insufficient_quota"), "429 .*quota"),
    ],
    ids=["401-key", "403-key", "404-model", "400-request", "429-quota"],
)
def test_a_permanent_error_ends_at_once_and_never_shows_the_key(server: ChatServer, answer: Answer, named: str) -> None:
    server.answers(answer)
    ask = Asked(server)
    with pytest.raises(SpecError, match=named) as error:
        ask()
    assert KEY not in str(error.value)
    assert len(server.requests) == 1
    assert ask.pauses == []


def test_a_wrong_path(server: ChatServer) -> None:
    server.answers(completion("a seat"))
    with pytest.raises(SpecError, match=r"404 .*landmarks\.endpoint"):
        Asked(server, url=server.url + "/typo")()


def test_the_key(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_LLM_KEY")
    with pytest.raises(SpecError, match=r"landmarks\.apiKeyEnv: .*TEST_LLM_KEY"):
        Asked(server)
    server.answers(completion("a seat"))
    keyless = Chat(Endpoint(server.url, "a-model", ""), Budget(1, 1, 1))
    assert keyless.ask("", "?", str) == "a seat"


def test_an_exhausted_budget_ends_the_requests(server: ChatServer) -> None:
    server.answers(completion("a seat", (400_000, 50_000)))
    ask = Asked(server, max_cost=1.0)
    ask()
    ask()
    with pytest.raises(SpecError, match=r"landmarks\.maxCost: .*\b1 of 1\b"):
        ask()
    assert len(server.requests) == 2


def test_answers_that_cannot_be_used_are_paid_too(server: ChatServer) -> None:
    server.answers(completion("", (600_000, 1)))
    with pytest.raises(SpecError, match=r"landmarks\.maxCost"):
        Asked(server, attempts=6)()
    assert len(server.requests) == 2


def test_unreported_usage_is_estimated(server: ChatServer) -> None:
    server.answers(completion("x" * 3000, None))
    ask = Asked(server)
    ask()
    assert ask.budget.spent == pytest.approx((len("be briefwhat is a chair?") // 3 + 1 + 2 * 1001) / 1e6)
