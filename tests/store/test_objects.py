"""Whole objects: atomic, the same on every kind of storage, failures told in one line."""

from __future__ import annotations

import errno
import os
import socket
import uuid
from pathlib import Path

import pytest

from captionless.errors import DataError, Retryable, SpecError
from captionless.store import objects


@pytest.fixture(params=["path", "file", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {"path": str(tmp_path), "file": f"file://{tmp_path}", "memory": f"memory://{uuid.uuid4()}"}[request.param]


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


def test_nothing_appears_when_writing_fails(root: str) -> None:
    url = objects.join(root, "whole.bin")
    objects.write_bytes(url, b"before")

    def failing() -> None:
        with objects.open_write(url) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert objects.read_bytes(url) == b"before"
    assert objects.walk(root) == ["whole.bin"]


def _remains(folder: Path, name: str, writer: int) -> Path:
    """What a writer of an object leaves behind when it is killed."""
    file = folder / f".{name}.{socket.gethostname()}.{writer}.tmp"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"half")
    return file


@pytest.fixture
def gone() -> int:
    """The number of a process that is no more."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def test_the_remains_of_a_killed_writer_are_swept(tmp_path: Path, gone: int) -> None:
    _remains(tmp_path, "x.bin", gone)
    objects.write_bytes(str(tmp_path / "x.bin"), b"whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.bin"]


def test_a_folder_is_swept_of_killed_writers_and_of_nothing_else(tmp_path: Path, gone: int) -> None:
    elsewhere = tmp_path / f".x.bin.another-host.{gone}.tmp"
    elsewhere.write_bytes(b"half")
    kept = {_remains(tmp_path, "x.bin", os.getpid()), elsewhere}
    swept = {_remains(tmp_path, "x.bin", gone), _remains(tmp_path / "deep" / "er", "y.z.npy", gone)}
    objects.sweep(str(tmp_path))
    assert {p for p in tmp_path.rglob("*") if p.is_file()} == kept
    assert not any(p.exists() for p in swept)
    objects.sweep(str(tmp_path / "not there"))


def test_a_full_disk_is_one_line_and_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = str(tmp_path / "x.bin")
    objects.write_bytes(url, b"before")

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Retryable, match="no space left on device"):
        objects.write_bytes(url, b"after")
    assert objects.read_bytes(url) == b"before"


def test_what_cannot_be_written_to_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SpecError, match="is a file, expected a folder"):
        objects.check(str(tmp_path / "file" / "below"))
    objects.check(str(tmp_path / "not" / "yet" / "there"))
    with pytest.raises(SpecError, match="no such kind of storage"):
        objects.check("gopher://x/y")


def test_broken_json_names_the_object(root: str) -> None:
    url = objects.join(root, "x.json")
    objects.write_bytes(url, b"{")
    with pytest.raises(DataError, match=r"x\.json: not valid JSON"):
        objects.read_json(url)


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert objects.digest({"a": 1, "b": [2, 3]}) == objects.digest({"b": [2, 3], "a": 1})
    assert objects.digest({"a": 1}) != objects.digest({"a": 2})


def test_a_file_system_may_return_less_than_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(range(250)) * 4
    (tmp_path / "file").write_bytes(data)
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, memory, start: whole(file, [memory[0][:7]], start))
    rooms = [bytearray(100), bytearray(1), bytearray(50), bytearray(30)]
    first, second, third, last = map(memoryview, rooms)
    url = str(tmp_path / "file")
    assert objects.read_into(url, [(10, [first, second]), (300, [third]), (990, [last])]) == [101, 50, 10]
    assert bytes(first) + bytes(second) == data[10:111]
    assert bytes(third) == data[300:350]
    assert bytes(last[:10]) == data[990:]
