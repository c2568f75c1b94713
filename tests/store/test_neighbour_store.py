"""Stored neighbours: looked up as they were stored, read by anybody, damage and unknown keys named."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import textwrap
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow.parquet
import pytest

from captionless.errors import DataError, Retryable
from captionless.store import neighbour_store, objects
from captionless.store.neighbour_store import FORMAT, NeighbourGroup, open_neighbours, publish, write_block
from captionless.store.shards import encode_array

SIZES = {"chair": 9, "lamp/desk": 5, "mug": 1}
K = 6


def keys_of(group: str, n: int) -> list[str]:
    return [f"{group}-{i}" for i in range(n)]


def made_up(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random neighbours, (n, K), fewer where n is small."""
    rng = np.random.default_rng(seed)
    indices, similarity = np.full((n, K), -1, np.int32), np.full((n, K), np.nan, np.float32)
    for i in range(n):
        others = rng.permutation([j for j in range(n) if j != i])[:K]
        indices[i, : len(others)] = others
        similarity[i, : len(others)] = -np.sort(-rng.uniform(-1, 1, len(others)))
    return indices, similarity


def store_group(url: str, name: str, n: int, side: int, seed: int = 0) -> NeighbourGroup:
    indices, similarity = made_up(n, seed)
    cuts = [(start, min(start + side, n)) for start in range(0, n, side)]
    source = objects.digest(name, n, side, seed)
    blocks = [write_block(url, name, a, indices[a:b], similarity[a:b], source) for a, b in cuts]
    return NeighbourGroup(name, keys_of(name, n), f"source of {name}", blocks)


def store_all(url: str, side: int = 4) -> None:
    groups = [store_group(url, name, n, side) for name, n in SIZES.items()]
    publish(url, "views", "category", K, groups, FORMAT.manifest_bytes(url))


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}://{tmp_path}/neighbours"


@pytest.mark.parametrize("side", [1, 4, 100])
def test_lookup_gives_what_was_stored(url: str, side: int) -> None:
    store_all(url, side)
    store = open_neighbours(url)
    store.verify()
    assert (store.k, store.of, store.within) == (K, "views", "category")
    assert store.keys == [key for name in sorted(SIZES) for key in keys_of(name, SIZES[name])]
    asked = ["mug-0", "chair-7", "lamp/desk-2", "chair-0", "chair-7"]
    found, similarity = store.lookup(asked)
    assert similarity.dtype == np.float32
    for row, key in enumerate(asked):
        name, i = key.rsplit("-", 1)
        indices, values = made_up(SIZES[name])
        assert found[row] == [f"{name}-{j}" for j in indices[int(i)] if j >= 0]
        np.testing.assert_array_equal(similarity[row], values[int(i)])
    nothing, empty = store.lookup([])
    assert nothing == []
    assert empty.shape == (0, K)


def test_reader_of_the_docstring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_all(str(tmp_path))
    code = textwrap.dedent(inspect.getdoc(neighbour_store).split("Without this project:")[1])  # type: ignore[union-attr]
    monkeypatch.chdir(tmp_path)
    read: dict[str, Any] = {"np": np, "json": json, "pyarrow": pyarrow}
    exec(code, read)
    found, similarity = open_neighbours(str(tmp_path)).lookup(keys_of("chair", SIZES["chair"]))
    assert list(read["nearest"].values()) == found
    np.testing.assert_array_equal(read["similarity"], similarity)


def test_an_unknown_object_is_named(url: str) -> None:
    store_all(url)
    with pytest.raises(DataError, match=r'"chair-77".*"chair-'):
        open_neighbours(url).lookup(["chair-1", "chair-77"])


@pytest.mark.parametrize("kind", ["indices", "similarity"])
def test_damage_is_found(url: str, kind: str) -> None:
    store_all(url)
    name = next(n for n in objects.list_names(url) if n.startswith("chair.4-") and kind in n)
    target = objects.join(url, name)
    whole = objects.read_bytes(target)
    for wrong in (whole[:-1], b"", whole + b"x"):
        objects.write_bytes(target, wrong)
        with pytest.raises(DataError, match=name):
            open_neighbours(url)
    objects.remove(target)
    with pytest.raises(DataError, match=name):
        open_neighbours(url)
    objects.write_bytes(target, whole[:-1] + bytes([whole[-1] ^ 1]))
    store = open_neighbours(url)
    store.lookup(["chair-0", "mug-0"])  # of other blocks
    with pytest.raises(DataError, match=f"{name}: .*checksum"):
        store.lookup(["chair-5"])
    with pytest.raises(DataError, match=f"{name}: .*checksum"):
        store.verify()
    objects.remove(target)
    with pytest.raises(DataError, match=name):
        store.lookup(["chair-5"])


def test_nothing_published(url: str) -> None:
    with pytest.raises(DataError, match=r"neighbours\.json"):
        open_neighbours(url)
    manifest = objects.join(url, "neighbours.json")
    for wrong in ({"k": 3}, [], {"version": 1, "groups": {"chair": {"keys": ["a"]}}}):
        objects.write_json(manifest, wrong)
        with pytest.raises(DataError, match=r"neighbours\.json"):
            open_neighbours(url)
    objects.write_json(manifest, {"version": 99})
    with pytest.raises(DataError, match=r"version 99.* 2\b"):
        open_neighbours(url)


def test_what_cannot_be_published(url: str) -> None:
    with pytest.raises(DataError, match=re.escape(url)):
        publish(url, "views", "category", K, [])
    chairs = store_group(url, "chair", 9, 4)
    twice = NeighbourGroup("mug", ["chair-3"], "", store_group(url, "mug", 1, 1).blocks)
    with pytest.raises(DataError, match='"chair-3"'):
        publish(url, "views", "category", K, [chairs, twice])
    for blocks in (chairs.blocks[:-1], chairs.blocks[1:], chairs.blocks[::-1]):
        with pytest.raises(DataError, match=r'"chair".* 9 '):
            publish(url, "views", "category", K, [NeighbourGroup("chair", chairs.keys, "", blocks)])
    objects.remove(objects.join(url, chairs.blocks[2].indices.file))
    with pytest.raises(DataError, match=r"chair\.8-\w+\.indices\.npy"):
        publish(url, "views", "category", K, [chairs])
    assert not objects.exists(objects.join(url, "neighbours.json"))


def test_a_later_publisher_is_refused_and_what_was_replaced_is_removed(url: str) -> None:
    store_all(url)
    before = FORMAT.manifest_bytes(url)
    store_all(url, 3)
    blocks = [block for name, n in SIZES.items() for block in store_group(url, name, n, 3).blocks]
    files = {file.file for block in blocks for file in block.files}
    assert {n for n in objects.list_names(url) if n.endswith(".npy")} == files
    assert len([n for n in objects.list_names(url) if n.endswith(".parquet")]) == 2
    with pytest.raises(Retryable, match=r"neighbours\.json"):
        publish(url, "views", "category", K, [store_group(url, "chair", 9, 4)], before)
    assert len(open_neighbours(url).keys) == sum(SIZES.values())


def test_an_earlier_release_s_store_is_read(url: str) -> None:
    """As 5b344d5 wrote it: keys and blocks in the manifest, files without a digest in their names."""
    groups = {}
    for name, n in SIZES.items():
        blocks = []
        for start, stop in [(a, min(a + 4, n)) for a in range(0, n, 4)]:
            files = {}
            for kind, array in zip(("indices", "similarity"), made_up(n), strict=True):
                file, data = f"{quote(name, safe=' ')}.{start}.{kind}.npy", encode_array(array[start:stop])
                objects.write_bytes(objects.join(url, file), data)
                files[kind] = {"file": file, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            blocks.append({"rows": [start, stop], **files})
        groups[name] = {"keys": keys_of(name, n), "source": f"source of {name}", "blocks": blocks}
    manifest = {"version": 1, "of": "views", "within": "category", "k": K, "digest": "", "groups": groups}
    objects.write_json(objects.join(url, "neighbours.json"), manifest)
    store = open_neighbours(url)
    store.verify()
    keys = [key for name in sorted(SIZES) for key in keys_of(name, SIZES[name])]
    assert store.keys == keys
    found, similarity = store.lookup(keys)
    store_all(other := f"{url}-new")
    expected, values = open_neighbours(other).lookup(keys)
    assert found == expected
    np.testing.assert_array_equal(similarity, values)
