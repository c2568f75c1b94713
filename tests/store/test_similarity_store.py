"""The stored matrices: any batch looked up is what was stored, however it was cut, and anybody can read it."""

from __future__ import annotations

import hashlib
import inspect
import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.store import objects, similarity_store
from captionless.store.similarity_store import StoredCategory, digest, open_similarity, publish
from tests.matrices import store_all, store_category

SIZES = {"chair": 40, "lamp/desk": 25, "mug": 1, "similarity": 5, "tōrii gate": 2}


def matrix(n: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).uniform(0.55, 0.93, (n, n)).astype(np.float32)
    values = np.triu(values, 1)
    return values + values.T + np.eye(n, dtype=np.float32)


def keys_of(category: str, n: int) -> list[str]:
    return [f"{category}-{i}" for i in range(n)]


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}://{tmp_path}/similarity"


@pytest.fixture(params=[None, 7, 1])
def stored(url: str, request: pytest.FixtureRequest) -> tuple[str, dict[str, np.ndarray]]:
    """A store in tiles of all sizes."""
    matrices = {category: matrix(n, seed) for seed, (category, n) in enumerate(SIZES.items())}
    store_all(url, {c: (keys_of(c, len(sim)), sim) for c, sim in matrices.items()}, "i2l", side=request.param)
    return url, matrices


def expected(matrices: dict[str, np.ndarray], keys: list[str]) -> np.ndarray:
    """Plain reference: one pair at a time."""
    out = np.empty((len(keys), len(keys)))
    for p, a in enumerate(keys):
        for q, b in enumerate(keys):
            (one, i), (other, j) = a.rsplit("-", 1), b.rsplit("-", 1)
            out[p, q] = matrices[one][int(i), int(j)] if one == other else 0.25
    return out


def test_lookup_of_a_mixed_batch_with_repeats(stored: tuple[str, dict[str, np.ndarray]]) -> None:
    url, matrices = stored
    store = open_similarity(url)
    rng = np.random.default_rng(1)
    everything = [key for category, n in SIZES.items() for key in keys_of(category, n)]
    keys = [everything[i] for i in rng.integers(0, len(everything), 90)]
    sim = store.lookup(keys)
    spans = [np.ptp(m[np.triu_indices(len(m), 1)]) for m in matrices.values() if len(m) > 1]
    bound = max(spans) / 131_070 + 2**-24  # half a step, and the rounding of the float32 result
    assert sim.dtype == np.float32
    assert np.abs(sim - expected(matrices, keys)).max() <= bound
    np.testing.assert_array_equal(sim, sim.T)
    np.testing.assert_array_equal(np.diag(sim), 1)
    assert store.lookup([]).shape == (0, 0)
    np.testing.assert_array_equal(open_similarity(url).lookup(keys[:5]), sim[:5, :5])


def test_store_tells_what_it_holds(stored: tuple[str, dict[str, np.ndarray]]) -> None:
    url, matrices = stored
    store = open_similarity(url)
    store.verify()
    assert store.metric == "i2l"
    assert store.categories == tuple(sorted(SIZES))
    assert store.cross_category_sim == 0.25
    assert store.keys("chair") == keys_of("chair", 40)
    np.testing.assert_allclose(store.matrix("lamp/desk"), matrices["lamp/desk"], atol=4e-6)
    for category, mean in store.category_mean().items():
        n = SIZES[category]
        true = matrices[category][np.triu_indices(n, 1)].mean(dtype=np.float64) if n > 1 else 1.0
        assert mean == pytest.approx(true, abs=4e-6)


def test_reader_of_the_docstring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = matrix(30, 5)
    store_all(str(tmp_path), {"chair": (keys_of("chair", 30), true)}, side=8)
    code = textwrap.dedent(inspect.getdoc(similarity_store).split("without this project:")[1])  # type: ignore[union-attr]
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {"np": np, "json": json, "hashlib": hashlib, "category": "chair"}
    exec(code, found)
    assert np.abs(found["sim"] - true).max() <= (0.93 - 0.55) / 131_070 * (1 + 1e-6)
    np.testing.assert_array_equal(found["sim"].astype(np.float32), open_similarity(str(tmp_path)).matrix("chair"))


def test_unknown_object_and_category_are_named(stored: tuple[str, dict[str, np.ndarray]]) -> None:
    store = open_similarity(stored[0])
    with pytest.raises(DataError, match=r'"chair-400".*"chair-'):
        store.lookup(["chair-1", "chair-400"])
    with pytest.raises(DataError, match=r'"chairs".*"chair"'):
        store.keys("chairs")


def test_damage_is_found(stored: tuple[str, dict[str, np.ndarray]]) -> None:
    url, _ = stored
    tile = next(n for n in objects.list_names(url) if n.startswith("chair.0-") and n.endswith(".sim"))
    for name in (tile, "chair.index"):
        target = objects.join(url, name)
        whole = objects.read_bytes(target)
        for wrong in (whole[:-10], b"", whole + b"x"):
            objects.write_bytes(target, wrong)
            with pytest.raises(DataError, match=name):
                open_similarity(url)
        objects.remove(target)
        with pytest.raises(DataError, match=name):
            open_similarity(url)
        objects.write_bytes(target, whole)
    flipped = bytearray(objects.read_bytes(objects.join(url, tile)))
    flipped[-33] ^= 4
    objects.write_bytes(objects.join(url, tile), bytes(flipped))
    with pytest.raises(DataError, match=f"{tile}: .*checksum"):
        open_similarity(url).verify()


def test_a_tile_of_another_run_is_found(url: str) -> None:
    store_all(url, {"chair": (keys_of("chair", 40), matrix(40, 0))}, side=20)
    store = open_similarity(url)
    store_category(url, "chair", keys_of("chair", 40), matrix(40, 1), side=20)
    with pytest.raises(DataError, match=r"chair\.0-20\.sim"):
        store.lookup(["chair-1", "chair-30"])


def test_nothing_published(url: str) -> None:
    with pytest.raises(DataError, match=r"similarity\.json"):
        open_similarity(url)
    manifest = objects.join(url, "similarity.json")
    for wrong in ({"metric": "i2i"}, [], {"version": 2, "holds": "similarity", "metric": "i2i"}):
        objects.write_json(manifest, wrong)
        with pytest.raises(DataError, match=r"similarity\.json"):
            open_similarity(url)
    objects.write_json(manifest, {"version": 1, "holds": "similarity"})
    with pytest.raises(DataError, match=r"version 1\b.* 2\b"):
        open_similarity(url)


def test_what_cannot_be_published(tmp_path: Path) -> None:
    url = f"file://{tmp_path}"
    with pytest.raises(DataError, match="categor"):
        publish(url, "i2i", [], 0.25)
    chairs = store_category(url, "chair", ["a", "b", "c"], matrix(3, 0), side=2)
    mugs = store_category(url, "mug", ["b", "d"], matrix(2, 0))
    with pytest.raises(DataError, match='"b"'):
        publish(url, "i2i", [chairs, mugs], 0.25)
    with pytest.raises(DataError, match='"chair"'):
        publish(url, "i2i", [StoredCategory("chair", chairs.keys, "abc", 2, chairs.tiles[:-1])], 0.25)
    (tmp_path / "chair.0-2.sim").unlink()
    with pytest.raises(DataError, match=r"chair\.0-2\.sim"):
        publish(url, "i2i", [chairs], 0.25)
    assert not (tmp_path / "similarity.json").exists()


def test_the_digest_is_of_the_values_not_of_the_cut(tmp_path: Path) -> None:
    data = {"chair": (keys_of("chair", 9), matrix(9, 0))}
    found = []
    for i, (side, alpha) in enumerate(((None, 0.25), (2, 0.25), (2, 0.3))):
        store_all(f"{tmp_path}/{i}", data, side=side, cross_category_sim=alpha)
        found.append(objects.read_json(f"{tmp_path}/{i}/similarity.json")["digest"])
    assert found[0] == found[1] == digest("i2i", 0.25, {"chair": "source of chair"})
    assert found[2] != found[0]
