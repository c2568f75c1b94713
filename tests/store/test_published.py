"""A store's manifest is replaced by the run that knows the one before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from captionless.errors import Retryable
from captionless.store import objects
from captionless.store.published import table_name
from captionless.store.tiles import FORMAT


def test_workers_that_finish_together_publish_the_same_and_another_run_nothing(tmp_path: Path) -> None:
    url = str(tmp_path)
    for _ in range(2):
        FORMAT.replace(url, {"stamp": "a"}, None)
    with pytest.raises(Retryable, match="another run"):
        FORMAT.replace(url, {"stamp": "b"}, None)
    FORMAT.replace(url, {"stamp": "b"}, FORMAT.manifest_bytes(url))


def test_a_manifest_that_comes_back_is_another_with_other_tables(tmp_path: Path) -> None:
    url = str(tmp_path)
    FORMAT.replace(url, {"stamp": "a"}, None)
    first = FORMAT.manifest_bytes(url)
    FORMAT.replace(url, {"stamp": "b"}, first)
    second = FORMAT.manifest_bytes(url)
    FORMAT.replace(url, {"stamp": "a"}, second)
    assert FORMAT.is_said(FORMAT.manifest_bytes(url), {"stamp": "a"})
    with pytest.raises(Retryable, match="another run"):
        FORMAT.replace(url, {"stamp": "c"}, first)  # a worker that began when it was "a" before
    assert len({table_name("keys", "a", before) for before in (None, first, second)}) == 3


def test_what_is_removed_was_there_before_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = str(tmp_path)
    for name in ("old.bin", "kept.bin", "other.txt"):
        objects.write_bytes(objects.join(url, name), b"x")
    listed = objects.list_names

    def list_names(folder: str) -> list[str]:
        found = listed(folder)
        objects.write_bytes(objects.join(url, "new.bin"), b"x")  # by a run that begins with the new manifest
        return found

    monkeypatch.setattr(objects, "list_names", list_names)
    FORMAT.replace(url, {"stamp": "a"}, None, {"kept.bin"}, lambda name: name.endswith(".bin"))
    assert {path.name for path in tmp_path.iterdir()} == {"kept.bin", "new.bin", "other.txt", FORMAT.manifest}
