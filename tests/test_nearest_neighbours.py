"""Nearest neighbours against a plain float64 reference; however they are cut, the same bytes."""

from __future__ import annotations

import numpy as np
import pytest

from captionless import nearest_neighbours
from captionless.errors import DataError
from captionless.nearest_neighbours import NearestNeighbours


def reference(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (n, k), -1 where there are fewer, and cosine (n, k) in float64; ties by the lower index."""
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    cosine = unit @ unit.T
    indices, similarity = np.full((len(x), k), -1), np.full((len(x), k), np.nan)
    for i in range(len(x)):
        order = [j for j in np.lexsort((np.arange(len(x)), -cosine[i].round(14))) if j != i][:k]
        indices[i, : len(order)], similarity[i, : len(order)] = order, cosine[i, order]
    return indices, similarity


def clustered(n: int, width: int, seed: int = 0, spread: float = 0.4) -> np.ndarray:
    """Embeddings in tight clusters, as those of a category are, of lengths that differ."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((7, width))[rng.integers(7, size=n)] + spread * rng.standard_normal((n, width))
    return np.asarray(x * rng.uniform(0.5, 2, (n, 1)), dtype=np.float32)


def found(
    x: np.ndarray, k: int, rows: int | None = None, pieces: int | None = None, backwards: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """All objects' neighbours, in blocks of `rows` queries and `pieces` candidates."""
    n, rows, pieces = len(x), rows or len(x), pieces or len(x)
    results = []
    for start in range(0, n, rows):
        nearest = NearestNeighbours(x[start : start + rows], start, k, [f"object-{i}" for i in range(n)])
        for first in sorted(range(0, n, pieces), reverse=backwards):
            nearest.add(x[first : first + pieces], first)
        results.append(nearest.result())
    return np.concatenate([r[0] for r in results]), np.concatenate([r[1] for r in results])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(("n", "width", "k"), [(1500, 33, 32), (300, 3000, 5), (2200, 4, 31), (40, 64, 1)])
def test_exact_against_float64(n: int, width: int, k: int, dtype: type) -> None:
    x = clustered(n, width).astype(dtype)
    indices, similarity = found(x, k)
    expected, cosine = reference(x, k)
    assert (indices.dtype, similarity.dtype) == (np.int32, np.float32)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(similarity, cosine, rtol=0, atol=2**-24)


def test_lengths_and_layouts_do_not_show() -> None:
    x = clustered(700, 48)
    x[100:150] = x[0]
    powers = 2.0 ** np.random.default_rng(1).integers(-40, 40, (700, 1))  # which change no digit
    other = (x * powers).astype(np.float32)
    for candidates, scale in [
        (other, None),
        (np.asfortranarray(other), None),
        (np.repeat(other, 2, axis=1)[:, ::2], None),
        (other, nearest_neighbours.scales(other, 0, [])),
    ]:
        nearest = NearestNeighbours(other, 0, 20, [])
        nearest.add(candidates, 0, scale)
        np.testing.assert_array_equal(nearest.result()[0], found(x, 20)[0])
        np.testing.assert_allclose(nearest.result()[1], found(x, 20)[1], rtol=0, atol=2**-23)


def test_near_duplicates_are_told_apart_although_float32_cannot() -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(2048) + 3e-4 * rng.standard_normal((200, 2048))).astype(np.float32)
    expected, cosine = reference(x, 32)
    single = x / np.linalg.norm(x, axis=1, keepdims=True)
    plain = np.argsort(-(single @ single.T - 2 * np.eye(200, dtype=np.float32)), axis=1, kind="stable")[:, :32]
    assert (plain != expected).any(axis=1).mean() > 0.5
    distinct = np.abs(np.diff(cosine, axis=1)).min(axis=1) > 2e-14  # what float64 itself can order
    assert distinct.mean() > 0.5
    np.testing.assert_array_equal(found(x, 32)[0][distinct], expected[distinct])


def test_the_cut_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    x = clustered(400, 96, spread=1e-4)
    x[100:150] = x[0]  # ties
    whole = found(x, 20)
    for rows, pieces, backwards in [(400, 7, False), (33, 50, True), (1, 400, False), (64, 1, True)]:
        for a, b in zip(found(x, 20, rows, pieces, backwards), whole, strict=True):
            assert a.tobytes() == b.tobytes()
    monkeypatch.setattr(nearest_neighbours, "_COLUMNS", 13)
    monkeypatch.setattr(nearest_neighbours, "_DEPTH", 17)
    monkeypatch.setattr(nearest_neighbours, "_ROWS", 3)
    monkeypatch.setattr(nearest_neighbours, "_CONVERTED", 29)
    for a, b in zip(found(x, 20), whole, strict=True):
        assert a.tobytes() == b.tobytes()


def test_duplicates_stay_and_are_in_order_and_nobody_is_its_own_neighbour() -> None:
    x = clustered(60, 16)
    x[[3, 50, 20]] = x[7]
    indices, similarity = found(x, 5, rows=9, pieces=11)
    assert indices[7, :3].tolist() == [3, 20, 50]
    assert indices[20, :3].tolist() == [3, 7, 50]
    np.testing.assert_array_equal(similarity[7, :3], 1)
    assert not (indices == np.arange(60)[:, None]).any()


def test_fewer_objects_than_neighbours() -> None:
    x = clustered(4, 8)
    indices, similarity = found(x, 6, rows=3)
    np.testing.assert_array_equal(indices, reference(x, 6)[0])
    assert (indices[:, 3:] == -1).all()
    assert (indices[:, :3] >= 0).all()
    np.testing.assert_array_equal(np.isnan(similarity), indices < 0)
    alone = found(x[:1], 2)
    assert alone[0].tolist() == [[-1, -1]]
    assert np.isnan(alone[1]).all()


@pytest.mark.parametrize(
    ("value", "named"),
    [(np.nan, "NaN"), (np.inf, "inf"), (0.0, "length 0")],
    ids=["nan", "infinite", "zero"],
)
def test_an_embedding_that_has_no_direction_is_named(value: float, named: str) -> None:
    x = clustered(50, 8)
    x[41] = value
    for rows in (50, 10):  # as a query and as a candidate
        with pytest.raises(DataError, match=f'object "object-41": .*{named}'):
            found(x, 3, rows=rows)


def test_embeddings_of_another_width_are_named() -> None:
    nearest = NearestNeighbours(clustered(3, 8), 0, 2, ["a", "b", "c", "d"])
    with pytest.raises(DataError, match=r'object "d": .*\b9\b.*"a" .*\b8\b'):
        nearest.add(clustered(1, 9), 3)
