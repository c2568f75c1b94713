"""What was listed once: its split stays for good, and its key until pruning has proved that nothing names it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from captionless.errors import DataError, SpecError
from captionless.precompute.sources import split_of
from captionless.spec.alignment import AlignmentSpec
from captionless.stages import listing, pruning
from captionless.stages.listing import removed
from captionless.stages.listing.layout import order_of
from captionless.store import objects
from captionless.store.ledger import Ledger
from captionless.store.listing import open_listing
from captionless.store.table import TableReader
from tests.stages.listing.sources import fill, manifest, put, rows, spec_of


@pytest.fixture
def spec(tmp_path: Path) -> AlignmentSpec:
    """Of a listed folder of ten objects."""
    fill(str(tmp_path / "shapes"), 10)
    found = spec_of(str(tmp_path / "out"), "folder", str(tmp_path / "shapes"))
    listing.run(found)
    return found


def _remove(tmp_path: Path, *numbers: int) -> None:
    for number in numbers:
        (tmp_path / "shapes" / "box" / f"{number:03d}.obj").unlink()


def _files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "out" / "list").glob("removed-*"))


def _recorded(tmp_path: Path) -> dict[str | None, str]:
    """The keys that are recorded, with their splits."""
    found: list[dict[str, Any]] = removed.read(open_listing(str(tmp_path / "out" / "list"))).to_pylist()
    assert [row["hash"] for row in found] == sorted(row["hash"] for row in found)
    assert all(row["key"] is None or row["hash"] == order_of(row["key"]) for row in found)
    return {row["key"]: row["split"] for row in found}


def test_removed_keys_are_recorded_until_they_are_back(tmp_path: Path, spec: AlignmentSpec) -> None:
    assert _files(tmp_path) == []
    splits = {key: row["split"] for key, row in rows(spec.root).items()}
    _remove(tmp_path, 1, 2)
    listing.run(spec)
    _remove(tmp_path, 3)
    listing.run(spec)
    assert _recorded(tmp_path) == {key: splits[key] for key in ("box/001", "box/002", "box/003")}
    assert len(_files(tmp_path)) == 1
    fill(str(tmp_path / "shapes"), 1, first=2)
    listing.run(spec)
    assert set(_recorded(tmp_path)) == {"box/001", "box/003"}
    fill(str(tmp_path / "shapes"), 3, first=1)
    listing.run(spec)
    assert _files(tmp_path) == []
    assert {key: row["split"] for key, row in rows(spec.root).items()} == splits


def test_it_is_no_part_of_what_the_listing_says(tmp_path: Path, spec: AlignmentSpec) -> None:
    """So that no reader has to be rerun for it."""
    _remove(tmp_path, 1, 2)
    listing.run(spec)
    other = spec_of(str(tmp_path / "other"), "folder", str(tmp_path / "shapes"), shardObjects=10)
    listing.run(other)
    _remove(tmp_path, 3)
    listing.run(spec)
    before = open_listing(f"{spec.root}/list")
    pruning.prune(spec).check()
    after = open_listing(f"{spec.root}/list")
    assert after.removed != before.removed
    assert (after.digest, after.table_url) == (before.digest, before.table_url)
    assert Ledger(after.url).manifest().header.made_from == Ledger(before.url).manifest().header.made_from


def test_it_is_read_only_where_something_is_new_or_removed(
    tmp_path: Path, spec: AlignmentSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    _remove(tmp_path, 1)
    listing.run(spec)
    before = objects.read_bytes(f"{spec.root}/list/manifest.json")
    opened: list[str] = []
    init = TableReader.__init__
    monkeypatch.setattr(
        TableReader, "__init__", lambda self, url, *size: (opened.append(url), init(self, url, *size))[1]
    )
    listing.run(spec)
    assert objects.read_bytes(f"{spec.root}/list/manifest.json") == before
    put(str(tmp_path / "shapes"), box__004="it is another one")
    listing.run(spec)
    assert not [url for url in opened if "removed" in url]
    assert set(_recorded(tmp_path)) == {"box/001"}


def test_without_it_a_listing_says_so(tmp_path: Path, spec: AlignmentSpec) -> None:
    _remove(tmp_path, 1)
    listing.run(spec)
    _files(tmp_path)[0].unlink()
    listing.run(spec)
    fill(str(tmp_path / "shapes"), 1, first=1)
    with pytest.raises(DataError, match=r"removed-.*missing"):
        listing.run(spec)


def test_of_two_files_of_one_key_the_one_that_was_listed_counts(tmp_path: Path, spec: AlignmentSpec) -> None:
    objects.write_bytes(f"{tmp_path}/shapes/box/001.off", b"another file of the same name")
    listing.run(spec)
    _remove(tmp_path, 1)
    listing.run(spec)
    assert _files(tmp_path) == [], "it is the other file's now"
    (tmp_path / "shapes" / "box" / "001.off").unlink()
    listing.run(spec)
    assert set(_recorded(tmp_path)) == {"box/001"}


def test_many_rows_are_stored_in_groups(tmp_path: Path, spec: AlignmentSpec) -> None:
    keys = pa.array([f"box/{number:05d}" for number in range(20_000)])
    table = pa.table({"hash": pa.array(map(order_of, keys.to_pylist()), pa.uint64()), "key": keys})
    table = table.append_column("split", pa.array(["train"] * len(keys))).select(removed.ROWS.names).cast(removed.ROWS)
    stored = removed.store(f"{spec.root}/list", str(tmp_path), table)
    assert pq.read_metadata(tmp_path / "out" / "list" / next(iter(stored))).num_row_groups == 3


# -- the split


def test_a_copy_that_comes_back_alone_has_the_split_that_it_had(tmp_path: Path) -> None:
    shapes, root = tmp_path / "shapes", str(tmp_path / "out")
    names = [f"n{n:02d}" for n in range(100)]
    older = next(name for name in names if split_of(f"box/{name}", 0.25) == "train")
    copy = next(name for name in names if split_of(f"box/{name}", 0.25) == "test")
    fill(str(shapes), 4)
    put(str(shapes), **{f"box__{older}": "the same content"})
    spec = spec_of(root, "folder", str(shapes))
    listing.run(spec)
    put(str(shapes), **{f"box__{copy}": "the same content"})
    listing.run(spec)
    for name in (older, copy):
        (shapes / "box" / f"{name}.obj").unlink()
    listing.run(spec)
    pruning.prune(spec).check()  # of the keys nothing is left, of the splits everything
    put(str(shapes), **{f"box__{copy}": "the same content"})
    listing.run(spec)
    assert rows(root)[f"box/{copy}"]["split"] == "train"


@pytest.mark.parametrize("pruned", [False, True])
def test_a_manifest_that_moves_an_object_that_was_gone_is_refused(tmp_path: Path, pruned: bool) -> None:
    root, path = str(tmp_path / "out"), tmp_path / "m" / "list.jsonl"
    kept = {"key": "b", "split": "test"}
    spec = spec_of(root, "manifest", manifest(path, {"key": "gone", "split": "train"}, kept), split="manifest")
    listing.run(spec)
    manifest(path, kept)
    for _ in range(2):
        listing.run(spec)
    if pruned:
        pruning.prune(spec).check()
    manifest(path, {"key": "gone", "split": "test"}, kept)
    with pytest.raises(SpecError, match="split of gone: test, but sealed as train"):
        listing.run(spec)
    manifest(path, {"key": "gone", "split": "train"}, kept)
    listing.run(spec)
    assert rows(root)["gone"]["split"] == "train"


# -- the key


def test_pruning_searches_for_what_was_removed_and_forgets_it_then(tmp_path: Path, spec: AlignmentSpec) -> None:
    out = tmp_path / "out"
    for number in (1, 2):
        _remove(tmp_path, number)
        listing.run(spec)
    (out / "logs").mkdir()
    (out / "logs" / "pack.log").write_text("read box/001")
    (out / "notes.txt").write_text("box/002 looks odd")
    report = pruning.prune(spec)
    assert (report.keys, report.found) == (2, [(f"{out}/notes.txt", "box/002")])
    assert set(_recorded(tmp_path)) == {"box/001", "box/002"}, "until nothing names them"
    (out / "notes.txt").unlink()
    assert pruning.prune(spec, dry_run=True).keys == 2
    report = pruning.prune(spec)
    report.check()
    assert report.keys == 2
    assert list((out / "logs").iterdir()) == []
    assert set(_recorded(tmp_path)) == {None}
    named = re.compile(rb"box/00[12]")
    assert not [path for path in out.rglob("*") if path.is_file() and named.search(path.read_bytes())]
    before = objects.read_bytes(f"{out}/list/manifest.json")
    assert pruning.prune(spec).keys == 0
    assert listing.run(spec).made == 0
    assert objects.read_bytes(f"{out}/list/manifest.json") == before


def test_what_was_left_out_and_then_removed_is_searched_for(tmp_path: Path, spec: AlignmentSpec) -> None:
    (tmp_path / "denied.txt").write_text("box/001\n")
    listing.run(spec_of(spec.root, "folder", str(tmp_path / "shapes"), deny=str(tmp_path / "denied.txt")))
    _remove(tmp_path, 1)
    listing.run(spec)
    (tmp_path / "out" / "notes.txt").write_text("box/001")
    assert [key for _, key in pruning.prune(spec).found] == ["box/001"]
