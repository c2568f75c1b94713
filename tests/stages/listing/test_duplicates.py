"""Objects of the same content: together, dropped, or an error."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path

import pytest

from captionless.errors import DataError
from captionless.precompute.sources import split_of
from captionless.stages import listing
from captionless.store.listing import open_listing
from tests.stages.listing.sources import fill, manifest, put, rows, spec_of


def copies(root: Path, *keys: str) -> None:
    put(str(root), **{f"box__{key}": "the same content" for key in keys})


def of_split(split: str, count: int) -> list[str]:
    """Names of objects that the hash puts into a split."""
    return [name for n in range(100) if split_of(f"box/{(name := f'n{n:02d}')}", 0.25) == split][:count]


def test_copies_are_in_one_split(tmp_path: Path) -> None:
    shapes, root = tmp_path / "shapes", str(tmp_path / "out")
    fill(str(shapes), 8)
    copies(shapes, *(keys := [*of_split("train", 3), *of_split("test", 3)]))
    listing.run(spec_of(root, "folder", str(shapes)))
    found = rows(root)
    oldest = min(keys)
    assert {found[f"box/{key}"]["split"] for key in keys} == {split_of(f"box/{oldest}", 0.25)}
    assert open_listing(f"{root}/list").facts["copies"] == 5
    assert {row["split"] == split_of(key, 0.25) for key, row in found.items() if "/n" not in key} == {True}


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_later_copy_joins_the_split_of_the_older_one(tmp_path: Path, split: str) -> None:
    other = "test" if split == "train" else "train"
    shapes, root = tmp_path / "shapes", str(tmp_path / "out")
    fill(str(shapes), 8)
    first, second = of_split(split, 1), of_split(other, 1)
    copies(shapes, *first)
    spec = spec_of(root, "folder", str(shapes))
    listing.run(spec)
    copies(shapes, *second)
    listing.run(spec)
    assert rows(root)[f"box/{second[0]}"]["split"] == split
    # That the older one goes does not move the copy.
    (shapes / "box" / f"{first[0]}.obj").unlink()
    listing.run(spec)
    assert rows(root)[f"box/{second[0]}"]["split"] == split


def test_what_is_sealed_in_both_splits_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes, root = tmp_path / "shapes", str(tmp_path / "out")
    one, other = of_split("train", 1)[0], of_split("test", 1)[0]
    put(str(shapes), **{f"box__{one}": "this", f"box__{other}": "that"})
    spec = spec_of(root, "folder", str(shapes))
    listing.run(spec)
    assert "same content" not in capsys.readouterr().err
    copies(shapes, one, other)
    listing.run(spec)
    assert {row["split"] for row in rows(root).values()} == {"train", "test"}
    told = capsys.readouterr().err
    assert "same content" in told
    assert f"box/{one}" in told


def test_copies_can_be_dropped(tmp_path: Path) -> None:
    shapes, root = tmp_path / "shapes", str(tmp_path / "out")
    fill(str(shapes), 4)
    copies(shapes, "b", "c")
    spec = spec_of(root, "folder", str(shapes), duplicates="drop")
    listing.run(spec)
    copies(shapes, "a", "d")
    assert listing.run(spec).skipped == 3
    dropped = {key: row["reason"] for key, row in rows(root).items() if row["verdict"] == "duplicate"}
    assert set(dropped) == {"box/a", "box/c", "box/d"}, "the oldest stays"
    assert all("box/b" in reason for reason in dropped.values())
    assert open_listing(f"{root}/list").facts["copies"] == 0


def test_copies_can_be_an_error(tmp_path: Path) -> None:
    shapes, root = tmp_path / "shapes", str(tmp_path / "out")
    copies(shapes, "a", "b", "c")
    with pytest.raises(DataError, match=r"data\.duplicates: 2 objects .*box/a, box/b, box/c"):
        listing.run(spec_of(root, "folder", str(shapes), duplicates="error"))


def test_the_split_that_a_manifest_states_is_kept_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(tmp_path / "out")
    lines = [{"key": "a", "mesh": "m.obj", "split": "train"}, {"key": "b", "mesh": "m.obj", "split": "test"}]
    put(str(tmp_path), m="content")
    listing.run(spec_of(root, "manifest", manifest(tmp_path / "list.jsonl", *lines), split="manifest"))
    assert {key: row["split"] for key, row in rows(root).items()} == {"a": "train", "b": "test"}
    assert "same content" in capsys.readouterr().err


def test_what_was_read_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes, root = tmp_path / "shapes", str(tmp_path / "out")
    put(str(shapes), box__a="12345", box__b="54321", box__c="123456")
    spec = spec_of(root, "folder", str(shapes))
    read: list[str] = []
    own = listing._Files.own
    monkeypatch.setattr(listing._Files, "own", lambda self, url, how: (read.append(url), own(self, url, how))[1])
    listing.run(spec)
    assert sorted(read) == [f"{shapes}/box/a.obj", f"{shapes}/box/b.obj"], "those of equal size"
    read.clear()
    put(str(shapes), box__d="12345")
    listing.run(spec)
    assert read == [f"{shapes}/box/d.obj"]
    assert open_listing(f"{root}/list").facts["copies"] == 1


def test_large_files_of_equal_size_are_not_held(tmp_path: Path) -> None:
    shapes, root, size = tmp_path / "shapes", str(tmp_path / "out"), 64 << 20
    put(str(shapes), box__a="1", box__b="1", box__c="1", box__d="4")
    for key, byte in (("a", b"x"), ("b", b"x"), ("c", b"y")):
        with open(shapes / "box" / f"{key}.obj", "r+b") as file:
            file.truncate(size)  # sparse
            file.seek(size - 1)
            file.write(byte)
    spec = spec_of(root, "folder", str(shapes))
    listing.run(spec)  # imports what it needs
    shutil.rmtree(f"{root}/list")
    tracemalloc.start()
    listing.run(spec)
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()
    assert open_listing(f"{root}/list").facts["copies"] == 1


def test_nothing_is_read_of_files_that_are_too_large_to_be_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes, root = tmp_path / "shapes", str(tmp_path / "out")
    put(str(shapes), box__a="12345", box__b="12345", box__c="123", box__d="123")
    read: list[str] = []
    own = listing._Files.own
    monkeypatch.setattr(listing._Files, "own", lambda self, url, how: (read.append(url), own(self, url, how))[1])
    listing.run(spec_of(root, "folder", str(shapes), limits={"bytes": 4}))
    assert sorted(read) == [f"{shapes}/box/c.obj", f"{shapes}/box/d.obj"]
    assert open_listing(f"{root}/list").facts["copies"] == 1


def test_a_dropped_copy_never_takes_the_place_of_the_one_that_stays(tmp_path: Path) -> None:
    shapes, root = tmp_path / "shapes", str(tmp_path / "out")
    fill(str(shapes), 4)
    copies(shapes, "z")
    spec = spec_of(root, "folder", str(shapes), duplicates="drop")
    listing.run(spec)
    copies(shapes, "a")
    listing.run(spec)
    again = listing.run(spec)
    assert (again.made, again.removed) == (0, 0)
    assert {key for key, row in rows(root).items() if row["verdict"] == "duplicate"} == {"box/a"}


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_dropped_copy_is_of_the_older_ones_split_when_it_is_let_in(tmp_path: Path, split: str) -> None:
    other = "test" if split == "train" else "train"
    shapes, root = tmp_path / "shapes", str(tmp_path / "out")
    older, copy, third = of_split(split, 1)[0], *of_split(other, 2)
    copies(shapes, older)
    listing.run(spec_of(root, "folder", str(shapes)))
    copies(shapes, copy, third)
    listing.run(spec_of(root, "folder", str(shapes), duplicates="drop"))
    listing.run(spec_of(root, "folder", str(shapes)))
    assert {rows(root)[f"box/{key}"]["split"] for key in (older, copy, third)} == {split}
    listing.run(spec_of(root, "folder", str(shapes), duplicates="drop"))
    (shapes / "box" / f"{older}.obj").unlink()
    listing.run(spec_of(root, "folder", str(shapes), duplicates="drop"))
    kept = [row["split"] for row in rows(root).values() if not row["verdict"]]
    assert kept == [split]
