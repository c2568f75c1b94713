"""The similarity stage: exact however it is shared out, the same bytes whoever fails, nothing computed twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.precompute.pair_similarity import i2i, i2l
from captionless.stages import similarity as stage
from captionless.stages.work_items import Shard
from captionless.store import shards
from captionless.store.embeddings import Embeddings
from captionless.store.similarity_store import open_similarity
from captionless.store.tiles import Metric
from tests.embedded import damage_views, everything, write_embedded, write_texts

SIZES = {"big": 70, "middle": 30, "one": 1, "two": 2}


@pytest.fixture
def data(tmp_path: Path) -> dict[str, np.ndarray]:
    write_texts(str(tmp_path / "landmarks"), SIZES)
    return write_embedded(str(tmp_path / "embed"), SIZES)


def compute(folder: Path, out: str, metric: Metric = "i2i", index: int = 0, count: int = 1) -> stage.Outcome:
    return stage.compute(str(folder / "embed"), None, str(folder / out), metric, shard=Shard(index, count))


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("metric", ["i2i", "i2l"])
def test_the_store_is_the_matrix_of_every_category(
    tmp_path: Path, data: dict[str, np.ndarray], metric: Metric, count: int
) -> None:
    for index in range(count):
        assert compute(tmp_path, "sim", metric, index, count).finished == (index == count - 1)
    store = open_similarity(str(tmp_path / "sim"))
    store.verify()
    assert store.metric == metric
    assert store.categories == ("big", "middle", "one", "two")
    texts = write_texts(str(tmp_path / "landmarks"), SIZES)
    for category, n in SIZES.items():
        keys = store.keys(category)
        assert keys == [k for k in sorted(data) if k.startswith(category)]
        views = np.stack([data[k] for k in keys])
        true = i2i(views) if metric == "i2i" else i2l(views, texts[category])
        span = np.ptp(true[~np.eye(n, dtype=bool)]) if n > 1 else 0.0
        assert np.abs(store.matrix(category) - true).max() <= span / 131_070 + 2e-7


def test_workers_in_any_order_repeated_or_late_give_the_same_bytes(tmp_path: Path, data: dict[str, np.ndarray]) -> None:
    for index in (0, 1, 2, 3):
        compute(tmp_path, "ordered", index=index, count=4)
    for index in (2, 0, 2, 3, 0, 1, 3):
        compute(tmp_path, "shuffled", index=index, count=4)
    assert everything(tmp_path / "shuffled") == everything(tmp_path / "ordered")


def test_what_is_whole_is_not_made_again_whatever_the_number_of_workers(
    tmp_path: Path, data: dict[str, np.ndarray], capfd: pytest.CaptureFixture[str]
) -> None:
    for index in range(4):
        compute(tmp_path, "sim", index=index, count=4)
    tiles = len(list((tmp_path / "sim").glob("*.sim")))
    assert tiles > len(SIZES)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "sim").rglob("*") if p.is_file()}
    assert "worker 3 of 4" in capfd.readouterr().err
    outcome = compute(tmp_path, "sim", count=1)
    pairs = sum(n * (n - 1) // 2 for n in SIZES.values())
    assert (outcome.made, outcome.kept, outcome.unit, outcome.finished) == (0, pairs, "pair", True)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "sim").rglob("*") if p.is_file()} == before
    next((tmp_path / "sim").glob("big.0-0-*.sim")).unlink()
    made = sorted(compute(tmp_path, "sim", count=2, index=i).made for i in range(2))
    assert made[0] == 0 < made[1] < pairs
    assert {p for p in (tmp_path / "sim").rglob("*") if p.is_file()} == set(before)


def test_other_embeddings_or_landmarks_make_only_their_tiles_anew(tmp_path: Path, data: dict[str, np.ndarray]) -> None:
    for metric in ("i2i", "i2l"):
        compute(tmp_path, metric, metric)  # type: ignore[arg-type]
    everything_before = everything(tmp_path / "i2l")
    texts = {c: n for c, n in SIZES.items() if c == "big"}
    write_texts(str(tmp_path / "landmarks"), {**SIZES, **texts}, seed=1)  # the same again
    assert compute(tmp_path, "i2l", "i2l").made == 0
    write_texts(str(tmp_path / "landmarks"), SIZES, seed=2)
    assert compute(tmp_path, "i2l", "i2l").made > 0
    assert everything(tmp_path / "i2l") != everything_before
    assert compute(tmp_path, "i2i", "i2i").made == 0
    write_embedded(str(tmp_path / "embed"), {**SIZES, "two": 3})
    assert compute(tmp_path, "i2i", "i2i").made == 2  # the categories before it are drawn as before
    assert open_similarity(str(tmp_path / "i2i")).keys("two") == ["two-00000", "two-00001", "two-00002"]


def test_views_are_read_by_ranges_once_for_a_row_of_tiles(
    tmp_path: Path, data: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    from captionless.precompute import partition

    monkeypatch.setattr(partition, "MAX_SIDE", 16)  # 5 x 5 blocks of `big`, 15 tiles
    read: Counter[str] = Counter()
    real = Embeddings.read

    def counting(self: Embeddings, indices: Any, **arrays: Any) -> None:
        read.update(self.keys[int(i)] for i in indices)
        real(self, indices, **arrays)

    def never(self: Any) -> Any:
        raise AssertionError("the whole shard is read")

    monkeypatch.setattr(Embeddings, "read", counting)
    monkeypatch.setattr(shards.ShardReader, "samples", never)
    compute(tmp_path, "sim")
    assert len(list((tmp_path / "sim").glob("big.*.sim"))) == 15
    assert set(read) == {k for k in data if not k.startswith("one")}  # a single object has no pairs
    # block b is read as rows of its own row of tiles and as a column of the b rows above it
    for key, times in read.items():
        if key.startswith("big"):
            assert times <= 1 + int(key.removeprefix("big-")) // 14


def test_an_object_whose_embedding_is_damaged_is_named_and_the_rest_is_made(
    tmp_path: Path, data: dict[str, np.ndarray]
) -> None:
    key = damage_views(tmp_path / "embed" / "train" / "00000.tar", "middle")
    with pytest.raises(DataError, match=rf"train/00000\.tar: object '{key}'.*sha256 differs") as raised:
        compute(tmp_path, "sim")
    assert len(str(raised.value).splitlines()) <= 3
    assert list((tmp_path / "sim").glob("big.0-0-*.sim"))
    assert not (tmp_path / "sim" / "similarity.json").exists()


def test_a_category_without_landmarks_is_named(tmp_path: Path, data: dict[str, np.ndarray]) -> None:
    write_texts(str(tmp_path / "landmarks"), {"big": 1, "middles": 1, "one": 1, "two": 1})
    with pytest.raises(DataError, match=r"'middle'.*middles"):
        compute(tmp_path, "sim", "i2l")


def test_a_worker_killed_at_any_moment_and_started_again_leaves_the_same_files(tmp_path: Path) -> None:
    write_embedded(str(tmp_path / "embed"), {"big": 400, "small": 40}, views=10, features=64)
    calm = [_worker(tmp_path, "calm", i) for i in (0, 1)]
    began = time.monotonic()
    assert [w.wait() for w in calm] == [0, 0]
    took = time.monotonic() - began
    moments = random.Random(0)
    for round_ in range(2):
        victim, other = _worker(tmp_path, f"hit-{round_}", 0), _worker(tmp_path, f"hit-{round_}", 1)
        time.sleep(moments.uniform(0.5, 1.0) * took)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        assert other.wait() == 0
        assert _worker(tmp_path, f"hit-{round_}", 0).wait() == 0
        assert open_similarity(str(tmp_path / f"hit-{round_}")).verify() is None
        assert everything(tmp_path / f"hit-{round_}") == everything(tmp_path / "calm")


def _worker(folder: Path, out: str, index: int) -> subprocess.Popen[bytes]:
    program = Path(sys.executable).parent / "captionless"
    where = ["--dataset", str(folder / "embed"), "--out", str(folder / out)]
    return subprocess.Popen([program, "similarity", *where, "--shard", f"{index}/2"], stderr=subprocess.DEVNULL)
