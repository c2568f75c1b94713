"""What `captionless data broken` prints: kinds by frequency, some objects of each, all of them as JSON."""

from __future__ import annotations

import json

import pytest

from captionless.cli.broken_text import show, show_json
from captionless.stages.remedies import Broken, remedy

MISSING, DENIED = "/data/x.obj: no such file", "/data/x.png: access denied"
FOUND = [Broken(f"k{i}", DENIED if i % 4 == 0 else MISSING) for i in range(9)]


def test_kinds_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    show(iter(FOUND), examples=2)
    first, *rest = capsys.readouterr().out.split("\n\n")
    assert first.startswith("9 ")
    assert [block.split(" (")[0] for block in rest] == ["missing", "denied"]
    assert [block.splitlines()[1:3] for block in rest] == [
        [f"  k1: {MISSING}", f"  k2: {MISSING}"],
        [f"  k0: {DENIED}", f"  k4: {DENIED}"],
    ]
    assert [f" {more} more" in block for block, more in zip(rest, (4, 1), strict=True)] == [True, True]
    assert remedy(MISSING).text in rest[0]


def test_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    show_json(iter(FOUND))
    document = json.loads(capsys.readouterr().out)
    assert document["count"] == 9
    assert [(each["key"], each["reason"]) for each in document["broken"]] == [(b.key, b.reason) for b in FOUND]
    assert {each["kind"] for each in document["broken"]} == {"missing", "denied"}


def test_none(capsys: pytest.CaptureFixture[str]) -> None:
    show(iter([]), examples=2)
    assert capsys.readouterr().out == "0 broken objects\n"
