"""The landmarks stage: texts of every origin, embedded, made again only when they change."""

from __future__ import annotations

import json
import re
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from captionless.errors import SpecError
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.stages import landmarks, listing
from captionless.stages.clip_model import recorded
from captionless.stages.work_items import Outcome
from captionless.store.landmark_store import open_landmarks, write_landmarks
from tests.embedded import everything, write_texts
from tests.precompute.chat_server import Answer, ChatServer, failure, texts


def _spec(folder: Path, **own: object) -> AlignmentSpec:
    return load.build_spec(
        {
            "output": str(folder / "out"),
            "data": {"source": {"kind": "parametric", "categories": ["chair", "lamp"]}},
            "clip": {"model": "captionless-demo"},
            "landmarks": {"count": 6, **own},
        }
    )


def made(spec: AlignmentSpec) -> Outcome:
    """The stage's, after the one that it reads."""
    listing.run(spec)
    return landmarks.run(spec)


def test_the_grammar_s_texts_are_embedded_once(tmp_path: Path) -> None:
    outcome = made(_spec(tmp_path))
    assert (outcome.made, outcome.kept, outcome.unit) == (2 * 6, 0, "object")
    assert made(_spec(tmp_path)).made == 0
    assert made(_spec(tmp_path, count=7)).made == 2 * 7
    url = str(tmp_path / "out" / "landmarks")
    assert recorded(url).keys() == {"identity", "digest"}
    found = open_landmarks(url)
    assert sorted(found) == ["chair", "lamp"]
    assert len(set(found["chair"].texts())) == 7
    np.testing.assert_allclose(np.linalg.norm(found["chair"].embeddings(), axis=1), 1, atol=1e-5)


def test_a_file_s_changed_category_is_embedded_again_and_no_other(tmp_path: Path) -> None:
    lines = [{"category": c, "text": f"a {c} with {n} legs"} for c in ("chair", "lamp") for n in range(6)]
    file = tmp_path / "marks.jsonl"
    spec = _spec(tmp_path, origin="file", file=str(file))
    file.write_text("\n".join(map(json.dumps, lines)))
    assert made(spec).made == 2 * 6
    lines[0]["text"] = "a chair without legs"
    file.write_text("\n".join(map(json.dumps, lines)))
    assert made(spec).made == 6


def test_a_language_model_s_texts_are_kept_through_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second category is refused at first; the first one's texts are neither lost nor paid for again."""
    monkeypatch.setenv("TEST_KEY", "secret-key")
    numbers = count()

    def answer(question: str) -> Answer:
        category = re.search(r'category "(\w+)"', question)
        assert category is not None
        items = [f"a {category[1]} with {next(numbers)} legs and a flat top" for _ in range(3)]
        return texts(*items, f"a red {category[1]}")

    with ChatServer().running() as server:
        spec = _spec(tmp_path, origin="llm", endpoint=server.url, model="m", apiKeyEnv="TEST_KEY", textsPerRequest=3)
        server.answers(answer, answer, failure(403, "not yours"))
        with pytest.raises(SpecError) as caught:
            made(spec)
        assert "secret-key" not in str(caught.value)
        asked = len(server.requests)
        server.answers(answer)
        assert made(spec).made == 6
        assert len(server.requests) == asked + 2
        assert made(spec).made == 0
    found = open_landmarks(str(tmp_path / "out" / "landmarks"))
    for category in ("chair", "lamp"):
        assert len(found[category].texts()) == 6
        assert not any("red" in text for text in found[category].texts())


def test_texts_are_of_the_temperature_that_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At another one all are asked for anew; those that were paid for stay, and are used when it is set again."""
    monkeypatch.setenv("TEST_KEY", "secret-key")
    numbers = count()

    def answer(question: str) -> Answer:
        return texts(*(f"a thing with {next(numbers)} legs and a flat top" for _ in range(6)))

    own = {"origin": "llm", "model": "m", "apiKeyEnv": "TEST_KEY", "textsPerRequest": 6}
    url = str(tmp_path / "out" / "landmarks")
    with ChatServer().running() as server:
        server.answers(answer)
        of = {}
        for temperature in (1.0, 0.2):
            assert made(_spec(tmp_path, endpoint=server.url, temperature=temperature, **own)).made == 12
            of[temperature] = {c: found.texts() for c, found in open_landmarks(url).items()}
        assert len(server.requests) == 4
        assert {t["temperature"] for t in server.requests[-2:]} == {0.2}
        assert not {*of[1.0]["chair"], *of[1.0]["lamp"]} & {*of[0.2]["chair"], *of[0.2]["lamp"]}
        made(_spec(tmp_path, endpoint=server.url, temperature=1.0, **own))
        assert {c: found.texts() for c, found in open_landmarks(url).items()} == of[1.0]
        assert len(server.requests) == 4
    assert len(list((tmp_path / "out" / "landmarks" / "drafts").iterdir())) == 4


def test_a_model_is_asked_by_the_names_that_the_spec_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "secret-key")
    numbers, asked = count(), []

    def answer(question: str) -> Answer:
        asked.append(re.findall(r'category "(\w+)"', question)[0])
        return texts(*(f"a thing with {next(numbers)} legs and a flat top" for _ in range(6)))

    own = {"origin": "llm", "model": "m", "apiKeyEnv": "TEST_KEY", "textsPerRequest": 6}
    with ChatServer().running() as server:
        server.answers(answer)
        spec = _spec(tmp_path, endpoint=server.url, **own)
        assert made(spec).made == 12
        named = spec.model_copy(update={"data": spec.data.model_copy(update={"class_names": ("chair=armchair",)})})
        assert made(named).made == 6, "those of the other category are as they were asked for"
    assert asked == ["chair", "lamp", "armchair"]
    assert set(open_landmarks(str(tmp_path / "out" / "landmarks"))) == {"chair", "lamp"}


def test_categories_of_any_name(tmp_path: Path) -> None:
    url = str(tmp_path)
    names = [".22 rifle", "\N{CYRILLIC SMALL LETTER SHA}" * 52, "a/b", "CON", "Chair", "chair"]
    expected = write_texts(f"{url}/landmarks", dict.fromkeys(names, 1))
    found = open_landmarks(f"{url}/landmarks")
    for name in names:
        np.testing.assert_array_equal(found[name].embeddings(), expected[name])
        assert found[name].texts()[0] == f"{name} 0"
    files = [p.name for p in (tmp_path / "landmarks").glob("*.npy")]
    assert len({name.casefold() for name in files}) == len(names)
    assert not any(name.startswith(".") for name in files)


def test_a_late_writer_of_other_texts_overwrites_nothing(tmp_path: Path) -> None:
    write_texts(str(tmp_path), {"chair": 1}, seed=1)
    before = everything(tmp_path)
    write_landmarks(str(tmp_path), "chair", ["a late text"], np.ones((1, 24), np.float32))
    after = everything(tmp_path)
    assert {name: after[name] for name in before} == before
    assert open_landmarks(str(tmp_path))["chair"].texts()[0] == "chair 0"
