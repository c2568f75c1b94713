"""Shards: plain WebDataset tars, deterministic, one member by one ranged read, damage named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import webdataset

from captionless.errors import DataError
from captionless.store import objects
from captionless.store.shards import ShardReader, decode_array, encode_array, index_url, write_shard

SAMPLES = [
    ("chair/a", {"views.npy": encode_array(np.arange(6.0).reshape(2, 3)), "json": b'{"n": 1}'}),
    ("chair/b", {"views.npy": encode_array(np.ones((2, 3), np.float16)), "json": b'{"n": 2}'}),
]


def test_webdataset_itself_reads_a_shard(tmp_path: Path) -> None:
    url = str(tmp_path / "00000.tar")
    write_shard(url, SAMPLES)
    read = list(webdataset.WebDataset(url, shardshuffle=False).decode())
    assert [r["__key__"] for r in read] == ["chair/a", "chair/b"]
    assert [r["json"]["n"] for r in read] == [1, 2]
    np.testing.assert_array_equal(read[0]["views.npy"], np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("root", ["memory://shards", "path"])
def test_members_and_samples(root: str, tmp_path: Path) -> None:
    url = objects.join(str(tmp_path) if root == "path" else root, "00000.tar")
    info = write_shard(url, iter(SAMPLES))
    shard = ShardReader(url)
    assert info.keys == shard.keys == ("chair/a", "chair/b")
    assert info.size == objects.size(url)
    assert shard.read("chair/b", "json") == b'{"n": 2}'
    assert list(shard.samples()) == SAMPLES


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = str(tmp_path / "a.tar"), str(tmp_path / "b.tar")
    assert write_shard(first, SAMPLES).sha256 == write_shard(second, SAMPLES).sha256
    assert Path(first).read_bytes() == Path(second).read_bytes()


def test_a_failing_sample_leaves_no_shard(tmp_path: Path) -> None:
    def samples():  # type: ignore[no-untyped-def]
        yield SAMPLES[0]
        raise DataError("broken")

    with pytest.raises(DataError, match="broken"):
        write_shard(str(tmp_path / "00000.tar"), samples())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["", "a.b", "/a", "a/", "../a", "a/../b", "./a", "a\0b", "a\nb", "\ud800"], ids=repr)
def test_keys_that_webdataset_would_cut_are_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="key"):
        write_shard(str(tmp_path / "x.tar"), [(key, {"json": b""})])


def test_damage_is_named(tmp_path: Path) -> None:
    url = str(tmp_path / "00000.tar")
    write_shard(url, SAMPLES)
    whole = Path(url).read_bytes()
    Path(url).write_bytes(whole[:1000])
    with pytest.raises(DataError, match=r"00000\.tar: .*1,000"):
        list(ShardReader(url).samples())
    with pytest.raises(DataError, match=r"00000\.tar"):
        ShardReader(url).read("chair/b", "json")
    Path(url).write_bytes(whole[:600] + b"X" + whole[601:])
    with pytest.raises(DataError, match="sha256"):
        list(ShardReader(url).samples())
    with pytest.raises(DataError, match="'chair/c'"):
        ShardReader(url).read("chair/c", "json")
    with pytest.raises(DataError, match=r"\.points\.npy"):
        ShardReader(url).read("chair/a", "points.npy")
    Path(index_url(url)).unlink()
    with pytest.raises(DataError, match="index"):
        ShardReader(url).keys  # noqa: B018
    with pytest.raises(DataError, match="what"):
        decode_array(b"nonsense", "what")
