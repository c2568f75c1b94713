"""The stored matrices: any batch looked up is what was stored, however it was cut, and anybody can read it."""

from __future__ import annotations

import hashlib
import inspect
import json
import random
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from captionless.errors import DataError, Retryable
from captionless.store import objects, similarity_store, tile_cache
from captionless.store.similarity_index import StoredCategory, digest, publish
from captionless.store.similarity_store import open_similarity
from captionless.store.tile_layout import ColumnBlock
from captionless.store.tiles import FORMAT
from tests.earlier_run import unpack
from tests.earlier_similarity import write_earlier
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


@pytest.fixture(params=[None, 7, 3])
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


def grown(url: str, seed: int = 0) -> tuple[dict[str, np.ndarray], list[str]]:
    """A store that has grown, and of which objects have been removed; its matrices, and the keys that are left."""
    drawn, matrices, found, left = random.Random(seed), {}, [], []
    for number, category in enumerate(("chair", "lamp/desk", "mug")):
        blocks, n = list[ColumnBlock](), 0
        for _ in range(drawn.randint(1, 7)):
            more = drawn.choice([1, 2, 9, 25])
            blocks.append(ColumnBlock(n, n + more, drawn.randint(3, 12)))
            n += more
        matrices[category] = matrix(n, number)
        keys = [key if drawn.random() < 0.8 else None for key in keys_of(category, n)]
        left += [key for key in keys if key is not None]
        found.append(store_category(url, category, keys, matrices[category], blocks=blocks))
    publish(url, "i2i", found, 0.25, FORMAT.manifest_bytes(url))
    return matrices, left


@pytest.mark.parametrize("seed", range(5))
def test_a_store_that_has_grown_and_lost_objects(url: str, seed: int) -> None:
    matrices, left = grown(url, seed)
    store = open_similarity(url)
    store.verify()
    assert [key for category in store.categories for key in store.keys(category)] == left
    keys = [*left, *random.Random(1).choices(left, k=20)]
    true = expected(matrices, keys)
    assert np.abs(store.lookup(keys) - true).max() <= (0.93 - 0.55) / 131_070 + 2**-24
    for category, mean in store.category_mean().items():
        sim = expected(matrices, store.keys(category))
        pairs = sim[np.triu_indices(len(sim), 1)]
        assert mean == pytest.approx(pairs.mean() if len(pairs) else 1.0, abs=4e-6)
    gone = next(key for key in keys_of("chair", 90) if key not in left)
    with pytest.raises(DataError, match=f'"{gone}"'):
        store.lookup([gone])


@pytest.mark.parametrize("memory", [0, 1000, 5000, 10**9])
def test_what_does_not_fit_into_memory_is_read_by_rows(
    url: str, memory: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _, left = grown(url)
    whole, drawn = open_similarity(url, 10**9), random.Random(0)
    monkeypatch.setattr(tile_cache, "MOST_MAPPED", min(memory // 500, 100))
    monkeypatch.setattr(tile_cache, "_TOGETHER", 400)
    store = open_similarity(url, memory)
    for size in (1, 3, 40, len(left), 3, 40):
        keys = drawn.choices(left, k=size)
        sim = store.lookup(keys)
        np.testing.assert_array_equal(sim, whole.lookup(keys))
        assert store.tiles.memory <= memory
        assert store.tiles.held.sum() <= 10 or memory > 5000
    fits = memory == 10**9
    assert (store.tiles.rows_read == 0) == fits
    assert capfd.readouterr().err.count("exceed") == (0 if fits else 1)


def test_tiles_that_were_not_used_for_longest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "memory://least-recently-used"
    store_all(url, {"chair": (keys_of("chair", 80), matrix(80, 0))}, side=20)
    store = open_similarity(url, 3 * 1300)  # three tiles of 20 x 20, or of four the smaller ones on the diagonal
    groups = [keys_of("chair", 80)[a : a + 20] for a in range(0, 80, 20)]
    for group in (0, 1, 2, 3):
        store.lookup(groups[group])
    assert store.tiles.held.sum() == 4
    store.lookup(groups[0])
    store.lookup([*groups[0], *groups[3]])  # needs a tile between them
    assert store.tiles.rows_read == 0
    store.lookup(groups[0])
    store.lookup(groups[3])
    assert store.tiles.rows_read == 0
    held = store.tiles.held.copy()
    store.lookup([groups[1][0], groups[2][0]])  # of a tile that is not worth it
    assert store.tiles.rows_read == 1
    np.testing.assert_array_equal(store.tiles.held, held)


def test_an_earlier_release_s_store_is_read(url: str) -> None:
    """As 5b344d5 wrote it: an index a category, and the tiles named by their category and place."""
    matrices = {category: matrix(n, seed) for seed, (category, n) in enumerate(SIZES.items())}
    sources = {category: f"source of {category}" for category in SIZES}
    write_earlier(url, {c: (keys_of(c, len(sim)), sim) for c, sim in matrices.items()}, 8, sources)
    store = open_similarity(url)
    store.verify()
    assert (store.metric, store.cross_category_sim, store.categories) == ("i2i", 0.25, tuple(sorted(SIZES)))
    everything = [key for category, n in SIZES.items() for key in keys_of(category, n)]
    assert np.abs(store.lookup(everything) - expected(matrices, everything)).max() <= 3e-6
    assert store.category_mean()["mug"] == 1
    true = matrices["chair"][np.triu_indices(40, 1)].mean(dtype=np.float64)
    assert store.category_mean()["chair"] == pytest.approx(true, abs=4e-6)
    # an index that is damaged is named
    target = objects.join(url, "chair.index")
    objects.write_bytes(target, objects.read_bytes(target).replace(b"chair-3", b"chair-4", 1))
    with pytest.raises(DataError, match=r"chair\.index"):
        open_similarity(url)


def test_a_later_publisher_is_refused_and_old_tables_are_removed(url: str) -> None:
    store_all(url, {"chair": (keys_of("chair", 5), matrix(5, 0))})
    before = FORMAT.manifest_bytes(url)
    store_all(url, {"chair": (keys_of("chair", 6), matrix(6, 0))})
    assert len([n for n in objects.list_names(url) if n.endswith(".parquet")]) == 3
    late = store_category(url, "chair", keys_of("chair", 4), matrix(4, 0))
    with pytest.raises(Retryable, match=r"similarity\.json"):
        publish(url, "i2i", [late], 0.25, before)
    assert len(open_similarity(url).keys("chair")) == 6


def test_reader_of_the_docstring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = matrix(30, 5)
    store_all(str(tmp_path), {"chair": (keys_of("chair", 30), true)}, side=8)
    code = textwrap.dedent(inspect.getdoc(similarity_store).split("project:")[1])  # type: ignore[union-attr]
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {"np": np, "json": json, "hashlib": hashlib, "pyarrow": pyarrow, "category": "chair"}
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
    tables = [n for n in objects.list_names(url) if n.endswith(".parquet")]
    assert [name.split("-")[0] for name in tables] == ["objects", "tiles", "views"]
    for name in (tile, *tables[:2]):
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
    with pytest.raises(DataError, match=r"chair\.0-20-\w+\.sim"):
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
    with pytest.raises(DataError, match=r"version 1\b.* 3\b"):
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
        publish(url, "i2i", [StoredCategory("chair", chairs.keys, "abc", chairs.tiles[:-1])], 0.25)
    next(tmp_path.glob("chair.0-2-*.sim")).unlink()
    with pytest.raises(DataError, match=r"chair\.0-2-\w+\.sim"):
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


def test_the_store_of_a_run_of_an_earlier_release(tmp_path: Path) -> None:
    run = unpack(tmp_path) / "finished"
    for metric in ("i2i", "i2l"):
        store = open_similarity(str(run / "similarity" / metric))
        store.verify()
        assert store.metric == metric
        for category in store.categories:
            sim = store.matrix(category)
            assert sim.shape == (3, 3)
            np.testing.assert_array_equal(sim, sim.T)
            assert ((sim > 0.3) & (sim <= 1)).all()
            assert store.category_mean()[category] == pytest.approx(sim[np.triu_indices(3, 1)].mean(), abs=1e-6)
