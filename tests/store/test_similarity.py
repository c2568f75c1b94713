"""The stored matrices: what is written is what is read, to half a step, by anybody."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.store import objects
from captionless.store.similarity import category_file, open_similarity, publish, write_category

SIZES = {"chair": 40, "lamp/desk": 25, "mug": 1, "tōrii gate": 2}


def matrix(n: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).uniform(0.55, 0.93, (n, n)).astype(np.float32)
    values = np.triu(values, 1)
    return values + values.T + np.eye(n, dtype=np.float32)


def keys_of(category: str, n: int) -> list[str]:
    return [f"{category}-{i}" for i in range(n)]


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}://{tmp_path}/similarity"


@pytest.fixture
def stored(url: str) -> tuple[str, dict[str, np.ndarray]]:
    matrices = {category: matrix(n, seed) for seed, (category, n) in enumerate(SIZES.items())}
    for category, sim in matrices.items():
        write_category(url, category, keys_of(category, len(sim)), sim, "i2l", "digest-of-" + category)
    publish(url, SIZES, cross_category_sim=0.25)
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


def test_reader_of_the_docstring(tmp_path: Path) -> None:
    true = matrix(30, 5)
    path = write_category(f"file://{tmp_path}", "chair", keys_of("chair", 30), true, "i2i", "abc")
    raw = Path(path.removeprefix("file://")).read_bytes()
    size = int.from_bytes(raw[8:16], "little")
    header = json.loads(raw[16 : 16 + size])
    n = len(header["keys"])
    steps = np.frombuffer(raw, "<u2", n * (n - 1) // 2, 16 + size)
    sim = np.zeros((n, n))
    sim[np.triu_indices(n, 1)] = header["min"] + steps * ((header["max"] - header["min"]) / 65535)
    sim = sim + sim.T + np.eye(n)
    assert hashlib.sha256(raw[:-32]).digest() == raw[-32:]
    assert (16 + size) % 64 == 0
    assert (header["metric"], header["holds"], header["version"], header["source"]) == ("i2i", "similarity", 1, "abc")
    assert np.abs(sim - true).max() <= (header["max"] - header["min"]) / 131_070 * (1 + 1e-9)


def test_a_constant_category_is_exact_and_bytes_are_reproducible(tmp_path: Path) -> None:
    sim = np.full((5, 5), 0.75, dtype=np.float32)
    np.fill_diagonal(sim, 1)
    url = f"file://{tmp_path}"
    path = tmp_path / category_file("chair")
    write_category(url, "chair", keys_of("chair", 5), sim, "i2i", "abc")
    first = path.read_bytes()
    write_category(url, "chair", keys_of("chair", 5), sim, "i2i", "abc")
    assert path.read_bytes() == first
    publish(url, ["chair"])
    np.testing.assert_array_equal(open_similarity(url).lookup(keys_of("chair", 5)), sim)


def test_a_header_longer_than_the_first_read(tmp_path: Path) -> None:
    url, keys = f"file://{tmp_path}", [f"a-rather-long-key-of-an-object-{i:0120d}" for i in range(600)]
    sim = matrix(600, 0)
    write_category(url, "chair", keys, sim, "i2i", "abc")
    publish(url, ["chair"])
    np.testing.assert_allclose(open_similarity(url).lookup(keys[::7]), sim[::7, ::7], atol=4e-6)


def test_unknown_object_and_category_are_named(stored: tuple[str, dict[str, np.ndarray]]) -> None:
    store = open_similarity(stored[0])
    with pytest.raises(DataError, match=r'"chair-400".*did you mean "chair-'):
        store.lookup(["chair-1", "chair-400"])
    with pytest.raises(DataError, match=r'"chairs".*did you mean "chair"'):
        store.keys("chairs")


def test_damage_is_found(stored: tuple[str, dict[str, np.ndarray]]) -> None:
    url, _ = stored
    target = objects.join(url, category_file("chair"))
    whole = objects.read_bytes(target)
    flipped = bytearray(whole)
    flipped[-100] ^= 4
    objects.write_bytes(target, bytes(flipped))
    with pytest.raises(DataError, match=r"chair\.sim: the checksum does not match"):
        open_similarity(url).verify()
    for wrong in (whole[:-10], whole[:40], b"", b"not a similarity file" * 10, whole + b"x"):
        objects.write_bytes(target, wrong)
        with pytest.raises(DataError, match=r"chair\.sim: damaged or truncated"):
            open_similarity(url)
    objects.remove(target)
    with pytest.raises(DataError, match=r"chair\.sim: missing"):
        open_similarity(url)


def test_a_file_of_another_run_is_found(stored: tuple[str, dict[str, np.ndarray]]) -> None:
    url, _ = stored
    write_category(url, "chair", keys_of("chair", 39), matrix(39, 3), "i2l", "later")
    with pytest.raises(DataError, match=r"chair\.sim: not the file"):
        open_similarity(url)


def test_nothing_published(url: str) -> None:
    with pytest.raises(DataError, match=r"similarity\.json is missing"):
        open_similarity(url)
    objects.write_json(objects.join(url, "similarity.json"), {"metric": "i2i"})
    with pytest.raises(DataError, match="not a similarity manifest"):
        open_similarity(url)


def test_what_cannot_be_stored(tmp_path: Path) -> None:
    url = f"file://{tmp_path}"
    with pytest.raises(DataError, match="no objects"):
        write_category(url, "chair", [], np.empty((0, 0)), "i2i", "abc")
    with pytest.raises(DataError, match='object "b" is there twice'):
        write_category(url, "chair", ["a", "b", "b"], matrix(3, 0), "i2i", "abc")
    with pytest.raises(DataError, match=r"shape \(3, 3\); expected \(2, 2\)"):
        write_category(url, "chair", ["a", "b"], matrix(3, 0), "i2i", "abc")
    wrong = matrix(3, 0)
    wrong[0, 2] = np.nan
    with pytest.raises(DataError, match='"a" and "c" is not finite'):
        write_category(url, "chair", ["a", "b", "c"], wrong, "i2i", "abc")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_published(tmp_path: Path) -> None:
    url = f"file://{tmp_path}"
    with pytest.raises(DataError, match="no categories"):
        publish(url, [])
    write_category(url, "chair", ["a", "b"], matrix(2, 0), "i2i", "abc")
    write_category(url, "mug", ["b", "c"], matrix(2, 0), "i2i", "abc")
    with pytest.raises(DataError, match='object "b" is stored twice'):
        publish(url, ["chair", "mug"])
    write_category(url, "mug", ["c", "d"], matrix(2, 0), "i2l", "abc")
    with pytest.raises(DataError, match="files of different metrics"):
        publish(url, ["chair", "mug"])
