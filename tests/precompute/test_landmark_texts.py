"""Landmarks from the grammar and from files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from captionless import demo_world
from captionless.errors import DataError, SpecError
from captionless.precompute.landmark_texts import count_flags, from_file, from_grammar, read_file, same_text
from captionless.store import objects
from captionless.store.landmark_store import write_landmarks

TEXTS = {
    "armchair": ["A chair with two arms.", "A wing chair.", "A red club chair.", "A chair with two arms"],
    "file cabinet": ["A cabinet with two drawers.", "A cabinet with four drawers.", "A wooden, red cabinet."],
}


def jsonl(texts: dict[str, list[str]]) -> str:
    return "\n".join(json.dumps({"category": c, "synset": "0", "text": t}) for c in texts for t in texts[c])


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    url = f"{request.param}://{tmp_path}/landmarks.jsonl"
    objects.write_bytes(url, jsonl(TEXTS).encode() + b"\n\n")
    return url


def test_a_file_is_taken_as_it_is_and_counted(url: str) -> None:
    sets = from_file(url, ["armchair", "File_Cabinet"], 3)
    assert sets["armchair"].texts == tuple(TEXTS["armchair"][:3])
    assert sets["armchair"].flagged == {"colour": 1}
    assert sets["File_Cabinet"].texts == tuple(TEXTS["file cabinet"])
    assert sets["File_Cabinet"].flagged == {"colour": 1, "material": 1}
    assert from_file(url, ["armchair"], 4)["armchair"].flagged == {"colour": 1, "duplicate": 1}


def test_a_file_with_flagged_texts_dropped(url: str) -> None:
    held = from_file(url, ["armchair"], 2, drop=True)["armchair"]
    assert held.texts == ("A chair with two arms.", "A wing chair.")
    assert held.flagged == {"colour": 1, "duplicate": 1}
    with pytest.raises(SpecError, match=r'"armchair" has 2 .*\b3\b.*landmarks\.count'):
        from_file(url, ["armchair"], 3, drop=True)


def test_what_the_stage_stores_can_be_read_as_a_file(url: str) -> None:
    held = from_file(url, ["armchair"], 4)["armchair"]
    folder = url.rpartition("/")[0]
    files, _ = write_landmarks(folder, "armchair", held.texts, np.zeros((4, 2), np.float32))
    assert read_file(objects.join(folder, files[0])) == {"armchair": list(held.texts)}


def test_missing_categories_are_named(url: str) -> None:
    with pytest.raises(SpecError, match=r'"armchairs" \(did you mean "armchair"\?\), "boat";') as caught:
        from_file(url, ["armchairs", "file cabinet", "boat"], 1)
    assert "armchair (4), file cabinet (3)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_few_texts(url: str) -> None:
    with pytest.raises(SpecError, match=r'"armchair" has 4, "file cabinet" has 3 .*\b128\b'):
        from_file(url, ["armchair", "file cabinet"], 128)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none\.jsonl: .*landmarks\.file"):
        read_file(f"file://{tmp_path}/none.jsonl")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{", "line 8 .*JSON"),
        ("[1]", "line 8 .*JSON"),
        ('"text"', "line 8 .*JSON"),
        ('{"category": "mug"}', "line 8 .*JSON"),
        ('{"category": "mug", "text": "  "}', 'line 8: .*"text"'),
        ('{"category": "mug", "text": 3}', 'line 8: .*"text"'),
    ],
    ids=["truncated", "list", "string", "without-text", "blank-text", "number"],
)
def test_a_wrong_line_is_named(url: str, line: str, named: str) -> None:
    objects.write_bytes(url, f"{jsonl(TEXTS)}\n{line}\n".encode())
    with pytest.raises(DataError, match=named):
        read_file(url)


def test_wrong_files(url: str) -> None:
    objects.write_bytes(url, b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"UTF-8"):
        read_file(url)
    objects.write_bytes(url, b"\n \n")
    with pytest.raises(DataError, match="JSON"):
        read_file(url)


def test_line_separators_inside_texts_do_not_end_a_line(url: str) -> None:
    objects.write_bytes(url, '{"category": "mug", "text": "A mug\u2028with one ear."}'.encode())
    assert read_file(url) == {"mug": ["A mug with one ear."]}


@pytest.mark.parametrize("category", demo_world.CLASSES)
def test_the_grammar_names_no_appearance_and_does_not_repeat_itself(category: str) -> None:
    held = from_grammar(category, 128)
    assert held.flagged == {}
    assert len({same_text(text) for text in held.texts}) == 128
    assert from_grammar(category, 128) == held


def test_same_text() -> None:
    assert same_text("A chair, with  two arms!") == same_text("the Chair with two-arms")
    assert same_text("A chair") != same_text("A chair leg")
    assert same_text("Ein Stühlchen") == "ein stühlchen"
    assert count_flags(["A mug.", "a mug", "The mug!", "An urn"]) == {"duplicate": 2}
