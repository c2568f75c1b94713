"""Landmarks from a language model: filtered, refilled, resumed, bounded."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from captionless.errors import DataError, Retryable, SpecError
from captionless.precompute.landmark_texts import LandmarkSet, count_flags
from captionless.precompute.landmark_writer import MAX_BARREN_ROUNDS, from_llm, parse_reply, prompt
from captionless.precompute.llm import Budget, Chat, Endpoint
from captionless.store import objects
from tests import pace

from .chat_server import Answer, ChatServer, completion, failure, texts

PARTS = ("leg", "arm", "rail", "slat", "panel", "spindle", "castor", "hinge", "shelf", "drawer")
SHAPES = ("round", "square", "oval", "tapered", "curved", "splayed", "stacked", "folded")
FRESH = [f"A chair with {n} {shape} {part}s." for n, shape, part in itertools.product("2345", SHAPES, PARTS)]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer().running() as server:
        yield server


@pytest.fixture(params=["file", "memory"])
def draft(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The beginning of the files' names."""
    return f"{request.param}://{tmp_path}/drafts/chair"


def chat(
    server: ChatServer, max_cost: float = 1.0, attempts: int = 3, temperature: float = 1.0, seconds: float = 60.0
) -> Chat:
    endpoint = Endpoint(
        server.url, "a-model", "", temperature, timeout_seconds=pace.seconds(seconds), attempts=attempts
    )
    return Chat(endpoint, Budget(max_cost, 1.0, 2.0), lambda _: None)


def asked_for(question: str) -> int:
    match = re.match(r"Write (\d+) descriptions", question)
    assert match is not None
    return int(match[1])


class Model:
    """Gives as many texts as are asked for, never one twice."""

    def __init__(self) -> None:
        self.fresh = iter(FRESH)

    def __call__(self, question: str) -> Answer:
        return texts(*itertools.islice(self.fresh, asked_for(question)))


class Repeating(Model):
    """Gives the same answer to a question that is asked again."""

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, Answer] = {}

    def __call__(self, question: str) -> Answer:
        if question not in self.given:
            self.given[question] = super().__call__(question)
        return self.given[question]


def test_until_there_are_enough(server: ChatServer, draft: str) -> None:
    server.answers(Model())
    seen: list[int] = []
    held = from_llm(chat(server), "chair", 75, draft, "seats with a back", 32, seen.append)
    assert held == LandmarkSet("chair", tuple(FRESH[:75]), {}, held.cost)
    assert seen == [32, 64, 75]
    assert held.cost == pytest.approx(3 * (1000 + 2 * 500) / 1e6)
    questions = [request["messages"][-1]["content"] for request in server.requests]
    assert [asked_for(q) for q in questions] == [32, 32, 11]
    assert all('"chair"' in q and "seats with a back" in q for q in questions)
    assert FRESH[31] not in questions[0]
    assert FRESH[31] in questions[1]


def test_texts_that_name_appearance_or_repeat_are_asked_for_again(server: ChatServer, draft: str) -> None:
    bad = ["A red chair.", "A wooden, red seat with arms.", FRESH[0].upper(), "A chair", "A chair " + "and more " * 40]
    server.answers(texts(FRESH[0], *bad), texts(FRESH[0], FRESH[1]), texts(*FRESH[2:4]))
    held = from_llm(chat(server), "chair", 4, draft)
    assert held.texts == tuple(FRESH[:4])
    assert held.flagged == {"colour": 2, "duplicate": 2, "length": 2, "material": 1}
    assert count_flags(held.texts) == {}
    question = server.requests[1]["messages"][-1]["content"]
    assert "Do not use these words: wooden, red." in question


def test_faults_on_the_way_change_nothing(server: ChatServer, draft: str) -> None:
    model = Repeating()
    faults = [
        failure(429, Retry_After="1"),
        failure(500),
        model,
        Answer(hang=True),
        Answer(body=completion("[]").body, cut=9),
        model,
        completion("I would rather talk about something else."),
        completion(""),
        model,
    ]
    server.answers(*faults)
    # As many attempts as there are answers: on a slow machine a good one may come too late as well.
    asking = chat(server, attempts=len(faults), seconds=0.3)
    assert from_llm(asking, "chair", 96, draft).texts == tuple(FRESH[:96])


def test_a_model_that_repeats_itself_ends_the_requests(server: ChatServer, draft: str) -> None:
    server.answers(texts(*FRESH[:3], "A green chair."))
    with pytest.raises(SpecError, match=r'"chair": a-model .*\b5\b.*\b3 of 4\b.*15 duplicate, 6 colour'):
        from_llm(chat(server), "chair", 4, draft)
    assert len(server.requests) == 1 + MAX_BARREN_ROUNDS


def test_the_budget_keeps_what_was_got_and_counts_it_after_a_restart(server: ChatServer, draft: str) -> None:
    server.answers(Model())
    cost = (1000 + 2 * 500) / 1e6
    with pytest.raises(SpecError, match=r"landmarks\.maxCost"):
        from_llm(chat(server, max_cost=2 * cost), "chair", 96, draft)
    with pytest.raises(SpecError, match=r"landmarks\.maxCost"):
        from_llm(chat(server, max_cost=2 * cost), "chair", 96, draft)
    assert len(server.requests) == 2
    held = from_llm(chat(server), "chair", 96, draft)
    assert held.texts == tuple(FRESH[:96])
    assert held.cost == pytest.approx(3 * cost)
    assert len(server.requests) == 3


def test_a_failed_endpoint_keeps_what_was_got(server: ChatServer, draft: str) -> None:
    model = Model()
    server.answers(model, failure(503))
    with pytest.raises(Retryable):
        from_llm(chat(server), "chair", 64, draft)
    server.answers(model)
    assert from_llm(chat(server), "chair", 64, draft).texts == tuple(FRESH[:64])


def test_texts_of_other_settings_are_not_used_but_kept_and_named(
    server: ChatServer, draft: str, capfd: pytest.CaptureFixture[str]
) -> None:
    server.answers(Model())
    first = from_llm(chat(server), "chair", 10, draft)
    assert from_llm(chat(server), "chair", 10, draft) == first
    assert len(server.requests) == 1
    assert capfd.readouterr().err == ""
    assert from_llm(chat(server), "chair", 10, draft, "with wheels").texts == tuple(FRESH[10:20])
    folder = draft.rpartition("/")[0]
    said = capfd.readouterr().err
    (written,) = {n for n in objects.list_names(folder) if n in said}
    assert objects.read_json(objects.join(folder, written))["texts"] == FRESH[:10]
    assert from_llm(chat(server, temperature=0.5), "chair", 10, draft).texts == tuple(FRESH[20:30])
    assert len(objects.list_names(folder)) == 3
    assert from_llm(chat(server), "chair", 10, draft) == first  # set again
    assert len(server.requests) == 3


def test_a_draft_of_an_earlier_release_is_not_used_but_kept_and_named(
    server: ChatServer, draft: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """It does not say with which temperature it was asked for."""
    objects.write_json(f"{draft}.json", {"fingerprint": "?", "texts": ["A chair."], "rejected": {}, "cost": 1.0})
    objects.write_json(f"{draft}-with-arms.json", {})  # another category's
    server.answers(Model())
    assert from_llm(chat(server), "chair", 2, draft).texts == tuple(FRESH[:2])
    err = capfd.readouterr().err
    assert "chair.json" in err
    assert "with-arms" not in err
    assert objects.read_json(f"{draft}.json")["texts"] == ["A chair."]


def test_a_damaged_draft_is_named(server: ChatServer, draft: str) -> None:
    server.answers(Model())
    from_llm(chat(server), "chair", 2, draft)
    folder = draft.rpartition("/")[0]
    (name,) = objects.list_names(folder)
    for content in (b"{", b"[]", b"{}"):
        objects.write_bytes(objects.join(folder, name), content)
        with pytest.raises(DataError, match=f"{name}: .*delete"):
            from_llm(chat(server), "chair", 4, draft)


RUN = """
import json, sys
from captionless.precompute.landmark_writer import from_llm
from captionless.precompute.llm import Budget, Chat, Endpoint
url, draft = sys.argv[1:]
held = from_llm(Chat(Endpoint(url, "a-model", ""), Budget(1, 1, 2)), "chair", 96, draft)
json.dump(held.texts, sys.stdout)
"""


def test_killed_and_run_again(server: ChatServer, tmp_path: Path) -> None:
    model, killable = Model(), threading.Event()

    def last_before_the_kill(_: str) -> Answer:
        killable.set()
        return Answer(hang=True)

    server.answers(model, model, last_before_the_kill)
    command = [sys.executable, "-c", RUN, server.url, f"file://{tmp_path}/chair"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert killable.wait(pace.seconds(60))
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (kept,) = tmp_path.glob("chair-*.json")
    assert json.loads(kept.read_text())["texts"] == FRESH[:64]
    server.answers(model)
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    assert json.loads(out) == FRESH[:96]
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "reply",
    [
        '["A mug with one ear.", "A tall mug, tapered."]',
        '```json\n["A mug with one ear.",\n "A tall mug, tapered."]\n```',
        '{"texts": ["A mug with one ear.", "A tall mug, tapered."]}',
        '[{"text": "A mug with one ear."}, {"text": "A tall mug, tapered."}]',
        '["A mug with one ear.", "A tall mug, tapered.", "A mug with tw',
        "Here they are:\n1. A mug with one ear.\n2) A tall mug, tapered.\n\nEnjoy!",
        '- "A mug with one ear."\n* A tall mug,  tapered.',
        "Sure [as asked]:\n1. A mug with one ear.\n2. A tall mug, tapered.",
    ],
    ids=["list", "fenced", "object", "objects", "truncated", "numbered", "bulleted", "brackets-in-prose"],
)
def test_replies(reply: str) -> None:
    assert parse_reply(reply) == ["A mug with one ear.", "A tall mug, tapered."]


@pytest.mark.parametrize(
    "reply",
    ["No.", "[]", "[1, 2]", '{"a": 1}', '[""]', "1.\n2.\n"],
    ids=["prose", "empty-list", "numbers", "object", "empty-text", "empty-items"],
)
def test_replies_without_texts(reply: str) -> None:
    with pytest.raises(ValueError, match="list"):
        parse_reply(reply)


def test_the_prompt_has_the_rules_of_the_method() -> None:
    text = prompt("mug", 7, "drinking vessels", ["A mug."], ["red"])
    for part in (
        '7 descriptions of different hypothetical objects of the category "mug"',
        "drinking vessels",
        "structural features and details only",
        "High variety",
        "Never mention texture, material or colour",
        "Do not use these words: red.",
        "- A mug.",
    ):
        assert part in text
    assert "About" not in prompt("mug", 7)
