"""A windowed shuffle over storage: shards come whole, once, ahead of their steps, and batches are the same."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.store import objects, ranged_reads
from captionless.store.disk_cache import BLOCK, DiskCache
from captionless.store.embeddings import Embeddings
from captionless.trainer.data.node_cache import NodeCache
from captionless.trainer.data.read_ahead import ReadAhead
from captionless.trainer.data.training_data import TrainingData
from captionless.trainer.training_job import MEMORY
from tests.trainer import synthetic

OBJECTS, SHARDS, STEPS = 40, 8, 15  # three epochs of five steps
WINDOWED = {"shuffle": "windowed", "window": 8}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("windowed")
    synthetic.write(path, train=OBJECTS, points=64, shards=SHARDS)
    return path


@pytest.fixture
def remote(root: Path) -> str:
    url = f"memory://{uuid.uuid4().hex}/embed"
    for path in (root / "embed").rglob("*"):
        if path.is_file():
            objects.write_bytes(f"{url}/{path.relative_to(root / 'embed')}", path.read_bytes())
    return url


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    found: list[tuple[str, int, int]] = []
    real = ranged_reads._read_remote

    def counted(url: str, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        found.extend((url, *span) for span in wanted if url.endswith(".tar"))
        return real(url, wanted)

    monkeypatch.setattr(ranged_reads, "_read_remote", counted)
    return found


def open_data(root: Path, url: str, disk: DiskCache | None, memory: int = 0, **batches: object) -> TrainingData:
    job = synthetic.job(root, steps=STEPS, batches={**WINDOWED, **batches})
    return TrainingData(url, job.train, 0, memory, node=NodeCache(disk))


def same_batches(data: TrainingData, expected: TrainingData, steps: Sequence[int]) -> None:
    for step in steps:
        for rank in range(2):
            batch, other = data.batch(step, rank, 2), expected.batch(step, rank, 2)
            assert batch.keys == other.keys
            np.testing.assert_array_equal(batch.points, other.points)
            np.testing.assert_array_equal(batch.image, other.image)


def test_each_shard_is_read_whole_and_once(
    root: Path, remote: str, tmp_path: Path, spans: list[tuple[str, int, int]]
) -> None:
    disk = DiskCache(str(tmp_path), 1 << 30)
    data = open_data(root, remote, disk)
    assert len(spans) <= 2  # for the layout
    spans.clear()
    with ReadAhead(data.read, data.make, STEPS) as batches:
        for step in range(STEPS):
            batches.take(step)
    assert len(spans) == SHARDS  # of three epochs
    assert {start for _, start, _ in spans} == {0}
    assert len({url for url, _, _ in spans}) == SHARDS
    same_batches(open_data(root, remote, disk), open_data(root, str(root / "embed"), None), range(STEPS))
    assert len(spans) <= SHARDS + 2  # a later round has them
    data.close()


def test_only_shards_in_use_need_room(
    root: Path, remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched: list[int] = []
    real = Embeddings.fetch
    monkeypatch.setattr(Embeddings, "fetch", lambda self, code: fetched.append(code) or real(self, code))
    whole = open_data(root, remote, DiskCache(str(tmp_path / "probe"), 1 << 30))
    assert whole._shards_ahead is not None
    blocks = -(-whole._shards_ahead.needed // BLOCK) + 2
    disk = DiskCache(str(tmp_path / "little"), blocks * BLOCK)
    data = open_data(root, remote, disk)
    same_batches(data, open_data(root, str(root / "embed"), None), range(STEPS))
    assert Counter(fetched).most_common(1)[0][1] <= 3  # once an epoch
    assert disk.used <= disk.limit
    assert "resources.dataDisk" not in capsys.readouterr().err
    less = open_data(root, remote, DiskCache(str(tmp_path / "less"), 2 * BLOCK))
    assert "train.batches.window: its shards take" in capsys.readouterr().err
    fetched.clear()
    same_batches(less, open_data(root, str(root / "embed"), None), range(STEPS))
    assert not fetched


def test_without_a_disk_it_says_once_that_objects_are_read_one_by_one(
    root: Path, remote: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_data(root, remote, None)
    data.batch(0)
    data.batch(1)
    (line,) = capsys.readouterr().err.splitlines()
    assert "resources.dataDisk" in line
    open_data(root, str(root / "embed"), None)  # nothing to copy
    open_data(root, remote, None, memory=1 << 30)  # read once anyway
    open_data(root, remote, None, shuffle="global", window=16_384)
    monkeypatch.setattr("captionless.trainer.distributed.rank", lambda: 1)
    open_data(root, remote, None)
    assert not capsys.readouterr().err


def test_objects_that_memory_has_need_no_shard(
    root: Path, remote: str, tmp_path: Path, spans: list[tuple[str, int, int]]
) -> None:
    disk = DiskCache(str(tmp_path), 1 << 30)
    data = open_data(root, remote, disk, MEMORY)
    same_batches(data, open_data(root, str(root / "embed"), None), range(STEPS))
    assert disk.used == 0
    each = data.samples._kept_views[0].nbytes + data.samples._kept_points[0].nbytes
    partly = open_data(root, remote, disk, 30 * each)
    same_batches(partly, open_data(root, str(root / "embed"), None), range(STEPS))
    assert disk.used > 0


def test_a_global_shuffle_reads_each_part_once(
    root: Path, remote: str, tmp_path: Path, spans: list[tuple[str, int, int]]
) -> None:
    disk = DiskCache(str(tmp_path), 1 << 30)
    data = open_data(root, remote, disk, shuffle="global", window=16_384)
    expected = open_data(root, str(root / "embed"), None, shuffle="global", window=16_384)
    same_batches(data, expected, range(5))
    used = disk.used
    assert used <= sum(-(-extent // BLOCK) for extent in data._data.extents) * BLOCK
    spans.clear()
    same_batches(data, expected, range(5, 10))
    assert not spans


def test_a_damaged_copy_is_read_again_and_a_damaged_shard_is_reported(root: Path, remote: str, tmp_path: Path) -> None:
    disk = DiskCache(str(tmp_path), 1 << 30)
    data = open_data(root, remote, disk)
    for step in range(5):
        data.batch(step)
    copies = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    for path in copies:
        damaged = bytearray(path.read_bytes())
        end = len(damaged) // (BLOCK + 1) * BLOCK
        damaged[:end] = bytes(byte ^ 1 for byte in damaged[:end])
        path.write_bytes(bytes(damaged))
    same_batches(open_data(root, remote, disk), open_data(root, str(root / "embed"), None), range(5))
    tars = [name for name in objects.walk(remote) if name.endswith(".tar")]
    for name in tars:
        url = f"{remote}/{name}"
        objects.write_bytes(url, bytes(byte ^ 1 for byte in objects.read_bytes(url)))
    later = DiskCache(str(tmp_path / "later"), 1 << 30)
    with pytest.raises(DataError, match="object"):
        open_data(root, remote, later)
