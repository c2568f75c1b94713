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
from captionless.stages import landmarks
from captionless.store.landmark_store import open_landmarks
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


def test_the_grammar_s_texts_are_embedded_once(tmp_path: Path) -> None:
    assert landmarks.run(_spec(tmp_path)).made == 2
    assert landmarks.run(_spec(tmp_path)).made == 0
    assert landmarks.run(_spec(tmp_path, count=7)).made == 2
    found = open_landmarks(str(tmp_path / "out" / "landmarks"))
    assert sorted(found) == ["chair", "lamp"]
    assert len(set(found["chair"].texts())) == 7
    np.testing.assert_allclose(np.linalg.norm(found["chair"].embeddings(), axis=1), 1, atol=1e-5)


def test_a_file_s_changed_category_is_embedded_again_and_no_other(tmp_path: Path) -> None:
    lines = [{"category": c, "text": f"a {c} with {n} legs"} for c in ("chair", "lamp") for n in range(6)]
    file = tmp_path / "marks.jsonl"
    spec = _spec(tmp_path, origin="file", file=str(file))
    file.write_text("\n".join(map(json.dumps, lines)))
    assert landmarks.run(spec).made == 2
    lines[0]["text"] = "a chair without legs"
    file.write_text("\n".join(map(json.dumps, lines)))
    assert landmarks.run(spec).made == 1


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
            landmarks.run(spec)
        assert "secret-key" not in str(caught.value)
        asked = len(server.requests)
        server.answers(answer)
        assert landmarks.run(spec).made == 1
        assert len(server.requests) == asked + 2
        assert landmarks.run(spec).made == 0
    found = open_landmarks(str(tmp_path / "out" / "landmarks"))
    for category in ("chair", "lamp"):
        assert len(found[category].texts()) == 6
        assert not any("red" in text for text in found[category].texts())
