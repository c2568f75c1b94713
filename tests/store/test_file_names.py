"""Stems of file names: readable, allowed everywhere, and different for different names, whatever the file system."""

from __future__ import annotations

import random
import re

import pytest

from captionless.store.file_names import file_stem

CYRILLIC = "превысокомногорассмотрительствующийавтомобилестроитель"
ODD = [
    ".22 rifle", CYRILLIC, "a/b", "a\\b", "CON", "con", "Nul", "com1", "lpt0", "..", ".", "", " ", "a ", " a", "a.",
    "Chair", "chair", "CHAIR", "Stuhl", "ſtuhl", "stuhl", "x" * 300, "x" * 299, "-rf", "a\x00b", "\udcff", "🪑",
    "0123456789abcdef", "chair-0123456789abcdef", "CON.0-0", "a:b", "a*?<>|b", "é", "e\u0301", "a.b", "tōrii",
]  # fmt: skip


@pytest.mark.parametrize("name", ["chair", "02691156", "arm chair", "band_aid", "t-shirt", "a", "c0"])
def test_a_plain_name_is_its_own_stem(name: str) -> None:
    assert file_stem(name) == name


@pytest.mark.parametrize("name", ODD)
def test_every_stem_is_a_name_that_any_file_system_takes(name: str) -> None:
    stem = file_stem(name)
    assert re.fullmatch(r"[a-z0-9_]([a-z0-9_ -]*[a-z0-9_])?", stem)
    assert len(stem) <= 64
    assert not re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)", stem)


def test_no_two_names_share_a_stem_even_without_case() -> None:
    names = set(ODD) | {file_stem(name) for name in ODD if file_stem(name) != name}  # names that look like stems
    drawn = random.Random(0)
    names |= {"".join(drawn.choices("aAbB.-/ 0f", k=drawn.randint(1, 20))) for _ in range(20_000)}
    assert len({file_stem(name).casefold() for name in names}) == len(names)


def test_what_can_be_read_of_a_name_is_in_its_stem() -> None:
    assert file_stem(".22 rifle").startswith("22-rifle-")
    assert file_stem("a/b").startswith("a-b-")
    assert file_stem("Café Chair").startswith("cafe-chair-")
