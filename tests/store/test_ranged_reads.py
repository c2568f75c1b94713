"""Ranged reads of file systems that return less than they were asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from captionless.store import ranged_reads


def test_a_file_system_may_return_less_than_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(range(250)) * 4
    (tmp_path / "file").write_bytes(data)
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, memory, start: whole(file, [memory[0][:7]], start))
    rooms = [bytearray(100), bytearray(1), bytearray(50), bytearray(30)]
    first, second, third, last = map(memoryview, rooms)
    url = str(tmp_path / "file")
    assert ranged_reads.read_into(url, [(10, [first, second]), (300, [third]), (990, [last])]) == [101, 50, 10]
    assert bytes(first) + bytes(second) == data[10:111]
    assert bytes(third) == data[300:350]
    assert bytes(last[:10]) == data[990:]
