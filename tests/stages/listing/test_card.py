"""The data card and the export."""

from __future__ import annotations

from pathlib import Path

import pytest

from captionless.errors import DataError
from captionless.stages import listing
from captionless.stages.listing import card
from captionless.stages.listing.export import export
from captionless.store.table import read_table
from tests.stages.listing.sources import manifest, put, rows, spec_of
from tests.stages.listing.test_versions import pack


def cells(text: str) -> list[list[str]]:
    """The rows of all tables."""
    return [[c.strip() for c in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("|")]


def test_a_card_says_what_there_is(tmp_path: Path) -> None:
    root = str(tmp_path / "out")
    put(str(tmp_path), a="1", b="2222", c="2222", d="no")
    lines = [
        {"key": "a", "split": "test", "licence": "a|b"},
        {"key": "b", "split": "train", "up": "z"},
        {"key": "c", "split": "train", "category": "04"},
        {"key": "d", "split": "train", "licence": "no"},
    ]
    spec = spec_of(
        root, "manifest", manifest(tmp_path / "list.jsonl", *lines), split="manifest", filter=["licence!=no"],
        classNames=["04=rod"],
    )  # fmt: skip
    with pytest.raises(DataError, match=r"list/manifest\.json"):
        card.describe(spec)
    listing.run(spec)
    text = card.describe(spec)
    assert Path(root, "list", card.FILE).read_text() == text
    found = cells(text)
    assert ["objects", "2", "1", "3"] in found
    assert ["categories", "2", "1", "2"] in found
    assert ["a\\|b", "1", "33.3 %"] in found
    assert ["here", "3", "100.0 %"] in found
    assert ["z", "1", "33.3 %"] in found
    assert ["04", "rod", "1", "0"] in found
    assert ["median", "4"] in found
    assert next(row for row in found if row[0] == "filter")[1] == "1"
    assert ["copies of other objects", "", "", "1"] in found
    assert not [row for row in found if row[0] == "packed"]
    pack(spec)
    found = cells(card.describe(spec))
    assert [row for row in found if row[0] in ("packed", "broken", "textured")] == [
        ["packed", "3"], ["broken", "0"], ["textured", "0.0 %"],
    ]  # fmt: skip
    assert ["faces, median", "1"] in found


def test_an_export_has_every_object(tmp_path: Path) -> None:
    root, out = str(tmp_path / "out"), str(tmp_path / "objects.parquet")
    lines = [{"key": k, "licence": k, "attributes": {"size": k}} for k in "abc"]
    spec = spec_of(root, "manifest", manifest(tmp_path / "list.jsonl", *lines), licences=["a", "b"])
    listing.run(spec)
    assert export(spec, out).count == 3
    expected = {k: {n: v for n, v in row.items() if n not in ("token", "files")} for k, row in rows(root).items()}
    assert {row["key"]: row for row in read_table(out).to_pylist()} == expected
    assert expected["c"]["verdict"] == "licence"
