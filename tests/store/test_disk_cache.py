"""Copies of stored files on a node's disk: what comes from storage, what makes room, what a killed process leaves."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from captionless.store import disk_cache, objects, ranged_reads
from captionless.store.disk_cache import BLOCK, CopiedFile, DiskCache
from captionless.store.similarity_store import open_similarity
from tests.matrices import store_all


class Storage:
    """Files in memory, and every span that is read of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spans: list[tuple[int, int]] = []
        self._root, read = f"memory://{uuid.uuid4().hex}", ranged_reads._read_remote

        def counted(url: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
            self.spans += spans
            return read(url, spans)

        monkeypatch.setattr(ranged_reads, "_read_remote", counted)

    def file(self, name: str, blocks: float, version: str = "1") -> tuple[CopiedFile, bytes]:
        data = np.random.default_rng(len(name)).bytes(int(blocks * BLOCK))
        url = f"{self._root}/{name}"
        objects.write_bytes(url, data)
        return CopiedFile(url, version, len(data)), data


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Storage:
    return Storage(monkeypatch)


def read(cache: DiskCache, file: CopiedFile, *spans: tuple[int, int]) -> list[bytes]:
    rooms = [bytearray(stop - start) for start, stop in spans]
    targets = [(start, [memoryview(room)]) for (start, _), room in zip(spans, rooms, strict=True)]
    counts = cache.read_into(file, targets)
    return [bytes(room[:count]) for room, count in zip(rooms, counts, strict=True)]


def test_what_was_read_once_comes_from_the_disk_for_every_process(tmp_path: Path, storage: Storage) -> None:
    file, data = storage.file("a", 6.5)
    cache, other = DiskCache(str(tmp_path), 1 << 30), DiskCache(str(tmp_path), 1 << 30)
    spans = [(10, 20), (BLOCK - 5, 2 * BLOCK + 5), (6 * BLOCK, len(data))]
    assert read(cache, file, *spans) == [data[start:stop] for start, stop in spans]
    assert storage.spans == [(0, 3 * BLOCK), (6 * BLOCK, len(data))]
    assert cache.used == other.used == 4 * BLOCK
    storage.spans.clear()
    assert read(other, file, (5, 3 * BLOCK), (len(data) - 1, len(data))) == [data[5 : 3 * BLOCK], data[-1:]]
    assert not storage.spans
    assert not other.holds(file)
    assert other.fetch(file)
    assert storage.spans == [(3 * BLOCK, 6 * BLOCK)]
    assert cache.holds(file)
    assert cache.fetch(file)
    assert read(cache, file, (0, len(data))) == [data]
    assert len(storage.spans) == 1
    assert cache.used == 7 * BLOCK


def test_another_version_is_another_file(tmp_path: Path, storage: Storage) -> None:
    file, _ = storage.file("a", 2)
    cache = DiskCache(str(tmp_path), 1 << 30)
    assert cache.fetch(file)
    objects.write_bytes(file.url, b"x" * file.size)
    assert read(cache, CopiedFile(file.url, "2", file.size), (0, 3)) == [b"xxx"]
    cache.forget(file)
    assert read(cache, file, (0, 3)) == [b"xxx"]
    assert cache.used == 2 * BLOCK


def test_files_that_are_read_in_parts_take_what_room_there_is(tmp_path: Path, storage: Storage) -> None:
    first, data = storage.file("a", 4)
    second, others = storage.file("bb", 4)
    cache = DiskCache(str(tmp_path), 5 * BLOCK)
    read(cache, first, (0, 4 * BLOCK))
    storage.spans.clear()
    for _ in range(2):  # a block fits, and then the others come from storage every time
        assert read(cache, second, (0, 10)) == [others[:10]]
        assert read(cache, second, (0, 10), (2 * BLOCK, 2 * BLOCK + 7)) == [others[:10], others[2 * BLOCK :][:7]]
    assert storage.spans == [(0, BLOCK), *[(2 * BLOCK, 2 * BLOCK + 7)] * 2]
    assert read(cache, first, (0, 10)) == [data[:10]]
    assert cache.used == 5 * BLOCK


def test_whole_files_take_the_place_of_those_unused_for_longest(tmp_path: Path, storage: Storage) -> None:
    files = [storage.file("f" * (i + 1), 4)[0] for i in range(5)]
    cache = DiskCache(str(tmp_path), 10 * BLOCK)
    used = iter(range(1, 100))

    def use(file: CopiedFile) -> None:
        assert cache.fetch(file)
        os.utime(tmp_path / file.name, (0, next(used)))  # whatever the clock's resolution

    use(files[0])
    use(files[1])
    use(files[0])
    use(files[2])
    assert [cache.holds(file) for file in files[:3]] == [True, False, True]
    use(files[3])
    assert [cache.holds(file) for file in files[:4]] == [False, False, True, True]
    assert cache.used == 8 * BLOCK
    assert not cache.fetch(storage.file("large", 11)[0])  # nothing is removed for what cannot fit
    assert [cache.holds(file) for file in files[2:4]] == [True, True]


def test_a_reader_goes_on_with_a_copy_that_is_removed(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, data = storage.file("a", 3)
    cache = DiskCache(str(tmp_path), 1 << 30)
    whole = ranged_reads.read_open

    def removed(copy: int, targets: Sequence[ranged_reads.Target]) -> list[int]:
        cache.forget(file)
        return whole(copy, targets)

    monkeypatch.setattr(ranged_reads, "read_open", removed)
    assert read(cache, file, (0, file.size)) == [data]
    assert cache.used == 0


def test_a_file_that_is_shorter_than_it_should_be_is_read_as_it_is(tmp_path: Path, storage: Storage) -> None:
    file, data = storage.file("a", 2)
    longer = CopiedFile(file.url, "1", file.size + 100)
    cache = DiskCache(str(tmp_path), 1 << 30)
    assert not cache.fetch(longer)
    assert read(cache, longer, (file.size - 10, file.size + 50), (0, 3)) == [data[-10:], data[:3]]
    assert cache.used in (0, BLOCK)
    with pytest.raises(FileNotFoundError):
        read(cache, CopiedFile(file.url + "x", "1", 10), (0, 3))
    assert cache.used in (0, BLOCK)


def test_a_full_disk_is_said_once_and_costs_nothing(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, data = storage.file("a", 3)
    cache = DiskCache(str(tmp_path), 1 << 30)

    def full(copy: int, data: bytes, at: int) -> int:
        if len(data) > 8:
            raise OSError(errno.ENOSPC, "no space")
        return write(copy, data, at)

    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", full)
    for _ in range(2):
        assert read(cache, file, (5, BLOCK + 9)) == [data[5 : BLOCK + 9]]
    assert cache.used == 0
    assert capsys.readouterr().err.count("resources.dataDisk") == 1


def test_what_a_killed_process_had_reserved_is_free_again(tmp_path: Path, storage: Storage) -> None:
    file, data = storage.file("a", 2)
    first = DiskCache(str(tmp_path), 3 * BLOCK)
    assert first.fetch(file)
    assert first._reserve(BLOCK, None)  # and is killed
    second = DiskCache(str(tmp_path), 3 * BLOCK)
    assert second.used == 3 * BLOCK  # the first may be at work
    first.close()
    second.close()
    third = DiskCache(str(tmp_path), 3 * BLOCK)
    assert third.used == 2 * BLOCK
    assert read(third, file, (0, file.size)) == [data]


def test_many_threads_of_two_processes_read_a_file_once(tmp_path: Path, storage: Storage) -> None:
    file, data = storage.file("a", 9)
    caches = [DiskCache(str(tmp_path), 1 << 30) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda i: caches[i % 2].fetch(file), range(16)))
    assert sum(stop - start for start, stop in storage.spans) == file.size
    assert caches[0].used == 9 * BLOCK
    assert read(caches[1], file, (0, file.size)) == [data]
    assert disk_cache._REQUEST * BLOCK == 8 << 20


def test_tiles_are_read_once_for_all_lookups_and_processes(tmp_path: Path, storage: Storage) -> None:
    rng = np.random.default_rng(0)
    sim = rng.uniform(0.2, 0.9, (60, 60)).astype(np.float32)
    sim = (sim + sim.T) / 2
    np.fill_diagonal(sim, 1)
    url = f"memory://{uuid.uuid4().hex}/similarity"
    store_all(url, {"c": ([f"k{i:02d}" for i in range(60)], sim)}, "i2i")
    keys = [f"k{i:02d}" for i in rng.permutation(60)[:20]]
    expected = open_similarity(url).lookup(keys)
    for memory in (0, 1 << 20):  # single rows, and whole tiles
        disk = DiskCache(str(tmp_path / str(memory)), 1 << 20)
        np.testing.assert_array_equal(open_similarity(url, memory, disk).lookup(keys), expected)
        assert disk.used == BLOCK
        storage.spans.clear()
        for _ in range(2):
            np.testing.assert_array_equal(open_similarity(url, memory, disk).lookup(keys), expected)
        assert not storage.spans
    (copy,) = (path for path in (tmp_path / str(1 << 20)).iterdir() if not path.name.startswith("."))
    damaged = bytearray(copy.read_bytes())
    damaged[: BLOCK // 2] = bytes(BLOCK // 2)
    copy.write_bytes(damaged)
    np.testing.assert_array_equal(open_similarity(url, 1 << 20, disk).lookup(keys), expected)
    assert disk.used == 0
