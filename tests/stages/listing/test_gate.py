"""What the gate drops, and how it says so."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from captionless.errors import DataError, SpecError
from captionless.stages import listing
from captionless.stages.listing.gate import LONGEST
from captionless.store.listing import open_listing
from tests.stages.listing.sources import fill, manifest, put, rows, spec_of

LINES: list[dict[str, Any]] = [
    {"key": "a", "licence": "CC0", "attributes": {"size": "big", "wood": "oak"}},
    {"key": "b", "licence": "CC-BY", "attributes": {"size": "small"}},
    {"key": "c", "licence": "secret", "category": "rod"},
    {"key": "d", "licence": "CC0", "category": "rod", "source": "there", "text": "a rod"},
]


@pytest.mark.parametrize(
    ("data", "dropped"),
    [
        ({}, {}),
        ({"licences": ["CC0", "CC-BY"]}, {"c": "licence"}),
        ({"filter": ["category=box"]}, {"c": "filter", "d": "filter"}),
        ({"filter": ["licence!=secret"]}, {"c": "filter"}),
        ({"filter": ["size=big", "size=small"]}, {"c": "filter", "d": "filter"}),
        ({"filter": ["size!=small", "source=here"]}, {"b": "filter", "d": "filter"}),
        ({"filter": ["text=a rod", "text="]}, {}),
        ({"filter": ["text!=a rod"]}, {"d": "filter"}),
        ({"filter": ["key=d", "wood!=oak"]}, {"a": "filter", "b": "filter", "c": "filter"}),
        ({"licences": ["CC0"], "minPerCategory": 2}, {"a": "all", "b": "are", "c": "left", "d": "out"}),
        ({"source": {"categories": ["rod"]}, "minPerCategory": 2}, {}),
    ],
    ids=lambda value: json.dumps(value),
)  # fmt: skip
def test_verdicts(tmp_path: Path, data: dict[str, Any], dropped: dict[str, str]) -> None:
    root = str(tmp_path / "out")
    spec = spec_of(root, "manifest", manifest(tmp_path / "m" / "list.jsonl", *LINES), **data)
    if len(dropped) == len(LINES):
        with pytest.raises(DataError, match="all 4 objects are left out"):
            listing.run(spec)
        return
    outcome = listing.run(spec)
    found = rows(root)
    assert {key: row["verdict"] for key, row in found.items() if row["verdict"]} == dropped
    assert all(bool(row["reason"]) == bool(row["verdict"]) == (row["shard"] == "") for row in found.values())
    assert (outcome.made, outcome.skipped) == (len(found) - len(dropped), len(dropped))
    left_out = open_listing(f"{root}/list").facts["left_out"]
    assert sum(left_out.values()) == len(dropped)
    assert set(left_out) == set(dropped.values())


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"filter": ["sise=big"]}, r"data\.filter: sise=big: .*did you mean \"size\""),
        ({"deny": "gone.txt"}, r"data\.deny: gone\.txt: no such file"),
        ({"deny": "/"}, r"data\.deny: /: no such file"),
    ],
)
def test_a_gate_that_cannot_be_meant(tmp_path: Path, data: dict[str, Any], named: str) -> None:
    spec = spec_of(str(tmp_path / "out"), "manifest", manifest(tmp_path / "list.jsonl", *LINES), **data)
    with pytest.raises(SpecError, match=named):
        listing.run(spec)


def test_a_file_of_denied_keys_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "deny").write_bytes(b"\xff\xfe")
    spec = spec_of(
        str(tmp_path / "out"), "manifest", manifest(tmp_path / "list.jsonl", *LINES), deny=str(tmp_path / "deny")
    )
    with pytest.raises(SpecError, match=r"data\.deny: .*UTF-8"):
        listing.run(spec)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("a\0b", "control"),
        ("a\x1bb", "control"),
        ("a\nb", "control"),
        ("a\ud800b", "Unicode"),
        ("x" * (LONGEST + 1), "bytes"),
        ("a/../b", "segment"),
        ("a//b", "segment"),
        ("./b", "segment"),
    ],
)
def test_a_name_that_cannot_be_stored_costs_its_object(tmp_path: Path, key: str, reason: str) -> None:
    root = str(tmp_path / "out")
    url = manifest(tmp_path / "list.jsonl", {"key": "good"}, {"key": key, "mesh": "x.obj"})
    assert listing.run(spec_of(root, "manifest", url)).skipped == 1
    bad = next(row for name, row in rows(root).items() if name != "good")
    assert bad["verdict"] == "name"
    assert reason in bad["reason"]
    assert bad["reason"].isprintable()


@pytest.mark.parametrize("field", ["category", "mesh"])
def test_other_names_that_cannot_be_stored(tmp_path: Path, field: str) -> None:
    root = str(tmp_path / "out")
    lines = [{"key": "good"}, *({"key": f"bad{i}", field: f"a{c}b"} for i, c in enumerate("\0\x7f\udc80"))]
    assert listing.run(spec_of(root, "manifest", manifest(tmp_path / "list.jsonl", *lines))).skipped == 3
    assert {row["verdict"] for key, row in rows(root).items() if key != "good"} == {"name"}


def test_a_name_that_cannot_be_stored_is_shown_as_one_that_can(tmp_path: Path) -> None:
    root = str(tmp_path / "out")
    url = manifest(tmp_path / "list.jsonl", {"key": "a\ud800"}, {"key": "a\\ud800"}, {"key": "b" * 9999 + "\n"})
    outcome = listing.run(spec_of(root, "manifest", url))
    assert (outcome.made, outcome.skipped) == (1, 2)
    assert all(len(row["reason"]) < 200 for row in rows(root).values())


def test_file_names_that_are_not_text(tmp_path: Path) -> None:
    root, shapes = str(tmp_path / "out"), str(tmp_path / "shapes")
    fill(shapes, 2)
    Path(os.fsdecode(os.fsencode(f"{shapes}/box/") + b"\xff.obj")).write_text("x")
    os.mkdir(os.fsencode(shapes) + b"/\xfe")
    Path(os.fsdecode(os.fsencode(shapes) + b"/\xfe/a.obj")).write_text("y")
    put(shapes, **{"box__new\nline": "z"})
    outcome = listing.run(spec_of(root, "folder", shapes))
    assert (outcome.made, outcome.skipped) == (2, 3)


def test_keys_that_webdataset_would_cut_are_refused(tmp_path: Path) -> None:
    spec = spec_of(str(tmp_path / "out"), "manifest", manifest(tmp_path / "list.jsonl", {"key": "a.b"}))
    with pytest.raises(SpecError, match=r"list\.jsonl:1: key 'a\.b'"):
        listing.run(spec)


def test_two_files_of_one_key_cost_the_later_one(tmp_path: Path) -> None:
    root, shapes = str(tmp_path / "out"), str(tmp_path / "shapes")
    put(shapes, box__a="1", box__a_b="3")
    spec = spec_of(root, "folder", shapes)
    listing.run(spec)
    put(shapes, **{"box__a b": "2"})  # its name is less
    (tmp_path / "shapes" / "box" / "a.stl").write_text("4")
    assert listing.run(spec).skipped == 2
    table = [row for batch in open_listing(f"{root}/list").batches() for row in batch.to_pylist()]
    found = {row["url"].rpartition("/")[2]: (row["key"], row["verdict"], row["reason"]) for row in table}
    assert found["a b.obj"] == ("box/a_b", "", "")
    assert found["a.obj"] == ("box/a", "", "")
    assert found["a_b.obj"][:2] == ("box/a_b", "name")
    assert "a b.obj" in found["a_b.obj"][2]
    assert found["a.stl"][:2] == ("box/a", "name")
    again = listing.run(spec)
    assert (again.made, again.kept, again.skipped) == (0, 2, 2)


def test_two_lines_of_one_key_are_refused(tmp_path: Path) -> None:
    url = manifest(tmp_path / "list.jsonl", {"key": "a", "mesh": "x.obj"}, {"key": "b"}, {"key": "a", "mesh": "y.obj"})
    with pytest.raises(SpecError, match=r'"a": .*x\.obj and .*y\.obj; rename one'):
        listing.run(spec_of(str(tmp_path / "out"), "manifest", url))


def test_a_key_beyond_all_measure_is_not_written_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = manifest(tmp_path / "list.jsonl", {"key": "a"}, {"key": "x" * 100_000, "mesh": "x.obj"})
    assert listing.run(spec_of(str(tmp_path / "out"), "manifest", url)).skipped == 1
    assert len(capsys.readouterr().err) < 1000
    assert max(map(len, rows(str(tmp_path / "out")))) < 200


def test_denied_keys_of_a_windows_editor(tmp_path: Path) -> None:
    url = manifest(tmp_path / "list.jsonl", {"key": "a"}, {"key": "b"}, {"key": "c"})
    (tmp_path / "deny").write_bytes("\ufeffa\r\n\r\n\tb  \r\n".encode())
    listing.run(spec_of(str(tmp_path / "out"), "manifest", url, deny=str(tmp_path / "deny")))
    assert {key for key, row in rows(str(tmp_path / "out")).items() if row["verdict"] == "denied"} == {"a", "b"}


def test_classes_without_test_objects_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(str(tmp_path / "shapes"), 40)
    fill(str(tmp_path / "shapes"), 1, "rod")
    fill(str(tmp_path / "shapes"), 1, "tube", first=4)
    names = ["rod=stick", "tubes=pipe"]
    listing.run(spec_of(str(tmp_path / "out"), "folder", str(tmp_path / "shapes"), classNames=names))
    counts = open_listing(str(tmp_path / "out" / "list")).counts
    told = capsys.readouterr().err
    assert [name for name in counts if not counts[name]["test"]] == ["rod", "tube"]
    assert "rod, tube" in told
    assert """data.classNames: no object is of category 'tubes'; did you mean "tube"?""" in told


def test_what_matches_nothing_and_what_reads_alike_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = [{"key": "a", "category": "Dining_table"}, {"key": "b", "category": "dining table"}, {"key": "c"}]
    url = manifest(tmp_path / "list.jsonl", *lines)
    filters = ["category=Dining_table", "category=dining table", "category=taple"]
    (tmp_path / "deny").write_text("c\n# of March\nno\x1b[0m\n")
    listing.run(spec_of(str(tmp_path / "out"), "manifest", url, filter=filters, deny=str(tmp_path / "deny")))
    told = capfd.readouterr().err
    assert "data.filter: category=taple: no object is that" in told
    assert told.count("no object is that") == 1
    assert r"data.deny: 2 of 3 keys are not in the source: '# of March', 'no\x1b[0m'" in told
    assert "the categories 'Dining_table' and 'dining table' both read 'dining table' to CLIP" in told
