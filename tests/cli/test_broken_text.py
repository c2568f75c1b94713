"""What `captionless data broken` prints: kinds by frequency, some objects of each, all of them as JSON."""

from __future__ import annotations

import json

import pytest

from captionless.cli.broken_text import show, show_json
from captionless.precompute.meshes.reading import Loss
from captionless.stages.remedies import Broken, Lossy, remedy

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


def test_losses_are_told_after_them_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    lossy = [
        Lossy(f"k{i}", (Loss("texture missing", "a.png"), Loss("texture missing", "b.png"), Loss("faces dropped", "3")))
        if i == 0
        else Lossy(f"k{i}", (Loss("texture missing", f"{i}.png"),))
        for i in range(4)
    ]
    show(iter(FOUND[:1]), 2, iter(lossy))
    blocks = capsys.readouterr().out.split("\n\n")
    assert blocks[0] == "1 broken object"
    assert blocks[2] == "4 objects lack something that the files have"
    assert [block.split(": ")[0] for block in blocks[3:]] == ["texture missing (4)", "faces dropped (1)"]
    assert blocks[3].splitlines()[1:] == ["  k0: a.png; b.png", "  k1: 1.png", "  and 2 more; --json lists all"]
    show_json(iter(FOUND[:1]), iter(lossy))
    document = json.loads(capsys.readouterr().out)
    assert document["count"] == 1
    assert [(each["key"], each["kind"], each["detail"]) for each in document["losses"]] == [
        (o.key, loss.kind, loss.detail) for o in lossy for loss in o.losses
    ]
    assert all(each["remedy"] for each in document["losses"])


def test_none(capsys: pytest.CaptureFixture[str]) -> None:
    show(iter([]), examples=2)
    assert capsys.readouterr().out == "0 broken objects\n"
