"""Whole objects: the same on every kind of storage; what cannot be used is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from captionless.errors import DataError, SpecError
from captionless.store import objects


def test_round_trip_ranges_listing_and_removal(root: str) -> None:
    url = objects.join(root, "a", "b.bin")
    assert not objects.exists(url)
    assert objects.size(url) is None
    objects.write_bytes(url, b"0123456789")
    assert objects.read_bytes(url) == b"0123456789"
    assert objects.read_bytes(url, 3, 6) == b"345"
    assert objects.size(url) == 10
    objects.write_bytes(objects.join(root, "a", "c", "d.bin"), b"x")
    assert objects.list_names(objects.join(root, "a")) == ["b.bin", "c"]
    assert objects.walk(root) == ["a/b.bin", "a/c/d.bin"]
    objects.remove(objects.join(root, "a"))
    objects.remove(objects.join(root, "a"))
    assert objects.walk(root) == []


def test_a_folder_and_what_is_below_a_file_are_no_objects(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "x"):
        with pytest.raises(FileNotFoundError):
            objects.read_bytes(str(path))
        assert objects.read_if_any(str(path)) is None


def test_a_location_that_cannot_be_written_to_fails_the_check(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SpecError, match=re.escape(str(tmp_path / "file"))):
        objects.check(str(tmp_path / "file" / "below"))
    objects.check(str(tmp_path / "not" / "yet" / "there"))
    with pytest.raises(SpecError, match="gopher"):
        objects.check("gopher://x/y")


def test_broken_json_names_the_object(root: str) -> None:
    url = objects.join(root, "x.json")
    objects.write_bytes(url, b"{")
    with pytest.raises(DataError, match=r"x\.json"):
        objects.read_json(url)


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert objects.digest({"a": 1, "b": [2, 3]}) == objects.digest({"b": [2, 3], "a": 1})
    assert objects.digest({"a": 1}) != objects.digest({"a": 2})


@pytest.mark.parametrize("count", [0, 1, 3, 10_000])
def test_the_digest_of_rows_is_that_of_a_list_of_them(count: int) -> None:
    rows = [[f"käy {i}", i] for i in range(count)]
    assert objects.digest_of_rows(1, "x", rows=iter(rows)) == objects.digest(1, "x", rows)
    assert objects.digest_of_rows(rows=iter(rows)) == objects.digest(rows)
