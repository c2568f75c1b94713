"""The list stage: what is sealed, what changes, and what is left as it was."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pytest

from captionless.errors import DataError, SpecError
from captionless.precompute.sources import split_of
from captionless.stages import listing
from captionless.stages.work_items import Outcome
from captionless.store import objects
from captionless.store.listing import open_listing
from tests.stages.listing.sources import fill, manifest, put, rows, shards, spec_of


def counts(outcome: Outcome) -> tuple[int, int, int, int]:
    return outcome.made, outcome.kept, outcome.removed, outcome.skipped


def test_a_folder_is_listed_sealed_and_dealt_to_shards(tmp_path: Path) -> None:
    root, shapes = str(tmp_path / "out"), str(tmp_path / "shapes")
    fill(shapes, 30)
    fill(shapes, 10, "rod")
    spec = spec_of(root, "folder", shapes)
    assert counts(listing.run(spec)) == (40, 0, 0, 0)
    found = rows(root)
    assert {key: row["split"] for key, row in found.items()} == {key: split_of(key, 0.25) for key in found}
    assert found["rod/007"]["category"] == "rod"
    assert found["rod/007"]["url"] == f"{shapes}/rod/007.obj"
    assert found["rod/007"]["size"] == 5
    dealt = shards(root)
    assert sorted(key for keys in dealt.values() for key in keys) == sorted(found)
    for split in ("train", "test"):
        sizes = [len(keys) for name, keys in sorted(dealt.items()) if name.startswith(split)]
        assert all(size == 4 for size in sizes[:-1])
        assert all(found[key]["split"] == split for name in dealt if name.startswith(split) for key in dealt[name])
    read = open_listing(objects.join(root, "list"))
    assert (read.objects, read.categories) == (40, ["box", "rod"])
    assert sum(read.counts["rod"].values()) == 10
    before = objects.read_bytes(f"{root}/list/manifest.json")
    assert counts(listing.run(spec)) == (0, 40, 0, 0)
    assert objects.read_bytes(f"{root}/list/manifest.json") == before


def test_what_is_new_fills_the_last_shard_and_nothing_else_moves(tmp_path: Path) -> None:
    root, shapes = str(tmp_path / "out"), str(tmp_path / "shapes")
    fill(shapes, 30)
    spec = spec_of(root, "folder", shapes)
    listing.run(spec)
    before, sealed = shards(root), rows(root)
    prints = {s.name: s.fingerprint for s in open_listing(f"{root}/list").shards}
    fill(shapes, 5, first=30)
    assert counts(listing.run(spec)) == (5, 30, 0, 0)
    after = shards(root)
    assert all(set(keys) <= set(after[name]) for name, keys in before.items())
    assert {key: rows(root)[key]["split"] for key in sealed} == {key: row["split"] for key, row in sealed.items()}
    grown = {name for name in after if after[name] != before.get(name)}
    now = {s.name: s.fingerprint for s in open_listing(f"{root}/list").shards}
    assert {name for name in now if now[name] != prints.get(name)} == grown
    assert len(grown) <= 4, "the last shard of either split, and at most one more"
    for number in (0, 5, 17):
        Path(shapes, "box", f"{number:03d}.obj").unlink()
    assert counts(listing.run(spec)) == (0, 32, 3, 0)
    assert all(set(keys) >= set(shards(root).get(name, [])) for name, keys in after.items())
    assert len([f for f in objects.list_names(f"{root}/list") if f.startswith("objects-")]) == 1


def test_shards_are_filled_up_to_another_size_only_where_they_are_new(tmp_path: Path) -> None:
    root, shapes = str(tmp_path / "out"), str(tmp_path / "shapes")
    fill(shapes, 10)
    listing.run(spec_of(root, "folder", shapes, testFraction=0))
    before = shards(root)
    fill(shapes, 10, first=10)
    listing.run(spec_of(root, "folder", shapes, testFraction=0, shardObjects=5))
    assert {name: len(keys) for name, keys in shards(root).items()} == {
        "train-00000": 4, "train-00001": 4, "train-00002": 5, "train-00003": 5, "train-00004": 2,
    }  # fmt: skip
    assert shards(root)["train-00000"] == before["train-00000"]


@pytest.mark.parametrize("field", ["testFraction", "split"])
def test_a_sealed_split_is_not_changed(tmp_path: Path, field: str) -> None:
    root = str(tmp_path / "out")
    lines = [{"key": f"k{n}", "split": "train" if n % 3 else "test"} for n in range(9)]
    url = manifest(tmp_path / "m" / "list.jsonl", *lines)
    listing.run(spec_of(root, "manifest", url))
    sealed = rows(root)
    changed = {"testFraction": 0.5} if field == "testFraction" else {"split": "manifest"}
    with pytest.raises(SpecError, match=rf"data\.{field}: .*{'0.25' if field == 'testFraction' else 'hash'}.*output"):
        listing.run(spec_of(root, "manifest", url, **changed))
    assert rows(root) == sealed


def test_a_manifest_that_moves_an_object_to_another_split_is_refused(tmp_path: Path) -> None:
    root, path = str(tmp_path / "out"), tmp_path / "m" / "list.jsonl"
    spec = spec_of(
        root,
        "manifest",
        manifest(path, {"key": "a", "split": "train"}, {"key": "b", "split": "test"}),
        split="manifest",
    )
    listing.run(spec)
    manifest(path, {"key": "a", "split": "test"}, {"key": "b", "split": "test"})
    with pytest.raises(SpecError, match="split of a: test, but sealed as train"):
        listing.run(spec)


def test_a_parametric_source_is_listed_without_files(tmp_path: Path) -> None:
    root = f"memory://{uuid.uuid4()}"
    spec = spec_of(root, "parametric", "", source={"objects": 20, "testObjects": 8, "categories": ["chair", "lamp"]})
    assert counts(listing.run(spec)) == (28, 0, 0, 0)
    assert open_listing(f"{root}/list").counts["chair"] == {"train": 10, "test": 4}
    more = spec_of(root, "parametric", "", source={"objects": 22, "testObjects": 8, "categories": ["chair", "lamp"]})
    assert counts(listing.run(more)) == (2, 28, 0, 0)
    other = spec_of(
        root, "parametric", "", source={"objects": 22, "testObjects": 8, "categories": ["chair"], "seed": 1}
    )
    made, kept, removed, _ = counts(listing.run(other))
    assert (made, kept, removed) == (30, 0, 15), "other objects of the same names"


def test_a_changed_file_changes_its_object_alone(tmp_path: Path) -> None:
    root, shapes = str(tmp_path / "out"), str(tmp_path / "shapes")
    fill(shapes, 12)
    spec = spec_of(root, "folder", shapes)
    listing.run(spec)
    before = rows(root)
    put(shapes, box__003="another content")
    assert counts(listing.run(spec)) == (1, 11, 0, 0)
    after = rows(root)
    assert {key for key in after if after[key]["version"] != before[key]["version"]} == {"box/003"}


def test_an_object_that_was_left_out_keeps_its_split(tmp_path: Path) -> None:
    root, shapes = str(tmp_path / "out"), str(tmp_path / "shapes")
    fill(shapes, 12)
    spec = spec_of(root, "folder", shapes)
    listing.run(spec)
    split = rows(root)["box/004"]["split"]
    (tmp_path / "deny").write_text("box/004\r\n\nunknown\n")
    assert counts(listing.run(spec_of(root, "folder", shapes, deny=str(tmp_path / "deny")))) == (0, 11, 1, 1)
    row = rows(root)["box/004"]
    assert (row["verdict"], row["shard"], row["split"]) == ("denied", "", split)
    assert "box/004" not in {key for keys in shards(root).values() for key in keys}
    assert counts(listing.run(spec)) == (1, 11, 0, 0)
    assert rows(root)["box/004"]["split"] == split


def test_a_listing_that_lost_its_table_says_so(tmp_path: Path) -> None:
    root, shapes = str(tmp_path / "out"), str(tmp_path / "shapes")
    fill(shapes, 6)
    with pytest.raises(DataError, match=r"list/manifest\.json"):
        open_listing(f"{root}/list")
    listing.run(spec_of(root, "folder", shapes))
    read = open_listing(f"{root}/list")
    for table in Path(root, "list").glob("*.parquet"):
        table.unlink()
    with pytest.raises(DataError, match=r"objects-.*missing"):
        read.rows(read.shards[0])


def test_the_same_objects_are_listed_alike_wherever_they_are(tmp_path: Path) -> None:
    fill(str(tmp_path / "shapes"), 20)
    listing.run(spec_of(str(tmp_path / "a"), "folder", str(tmp_path / "shapes")))
    shutil.copytree(tmp_path / "shapes", tmp_path / "copy")
    listing.run(spec_of(str(tmp_path / "b"), "folder", str(tmp_path / "copy")))
    assert shards(str(tmp_path / "a")) == shards(str(tmp_path / "b"))
