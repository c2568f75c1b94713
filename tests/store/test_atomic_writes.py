"""Atomic writes: a whole object or none, and nothing left of writers that were killed."""

from __future__ import annotations

import errno
import os
import re
import socket
from pathlib import Path

import pytest

from captionless.errors import Retryable
from captionless.store import objects
from captionless.store.atomic_writes import open_write
from captionless.store.sweeping import sweep


def test_nothing_appears_when_writing_fails(root: str) -> None:
    url = objects.join(root, "whole.bin")
    objects.write_bytes(url, b"before")

    def failing() -> None:
        with open_write(url) as file:
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


def test_temporary_files_of_a_killed_writer_are_removed(tmp_path: Path, gone: int) -> None:
    _remains(tmp_path, "x.bin", gone)
    objects.write_bytes(str(tmp_path / "x.bin"), b"whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.bin"]


def test_writing_into_a_folder_does_not_list_it_again_and_again(
    tmp_path: Path, gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: [listed.append(path), *listdir(path)][1:])
    left = _remains(tmp_path, "7.bin", gone)
    for number in range(20):
        objects.write_bytes(str(tmp_path / f"{number}.bin"), b"whole")
    assert listed == [str(tmp_path)]
    assert not left.exists()


def test_a_folder_is_swept_of_killed_writers_and_of_nothing_else(tmp_path: Path, gone: int) -> None:
    elsewhere = tmp_path / f".x.bin.another-host.{gone}.tmp"
    elsewhere.write_bytes(b"half")
    kept = {_remains(tmp_path, "x.bin", os.getpid()), elsewhere}
    swept = {_remains(tmp_path, "x.bin", gone), _remains(tmp_path / "deep" / "er", "y.z.npy", gone)}
    sweep(str(tmp_path))
    assert {p for p in tmp_path.rglob("*") if p.is_file()} == kept
    assert not any(p.exists() for p in swept)
    sweep(str(tmp_path / "not there"))


def test_a_full_disk_is_retryable_and_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = str(tmp_path / "x.bin")
    objects.write_bytes(url, b"before")

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Retryable, match=re.escape(url)):
        objects.write_bytes(url, b"after")
    assert objects.read_bytes(url) == b"before"
