"""Search by faiss against plain float64: the same order whatever float32 makes of it, and beside torch's threads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import faiss
import numpy as np
import pytest

from captionless.errors import DataError
from captionless.eval.gallery_search import GallerySearch

D = 24


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def rows_of(n: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((n, D))).astype(np.float32)


def indices(rows: np.ndarray, cuts: Sequence[int] = ()) -> list[faiss.IndexFlatIP]:
    found = []
    for part in np.split(rows, cuts):
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(part)
        found.append(index)
    return found


def reference(rows: np.ndarray, query: np.ndarray, k: int, allowed: np.ndarray | None = None) -> list[int]:
    """Rows by their cosine, then by their number."""
    cosines = (unit(rows.astype(np.float64)) * unit(query.astype(np.float64))).sum(axis=1)
    kept = [i for i in range(len(rows)) if allowed is None or allowed[i]]
    return sorted(kept, key=lambda i: (-cosines[i], i))[:k]


@pytest.mark.parametrize("cuts", [(), (1, 70, 71)], ids=["one-index", "four-indices"])
@pytest.mark.parametrize("k", [1, 7, 90, 500])
def test_the_order_is_that_of_float64(k: int, cuts: tuple[int, ...]) -> None:
    rows = rows_of(90)
    nearest = GallerySearch(indices(rows, cuts))
    for query in 3 * rows_of(4, seed=1):
        found, cosines = nearest.search(query, k)
        assert found.tolist() == reference(rows, query, k)
        np.testing.assert_allclose(cosines, unit(rows[found].astype(np.float64)) @ unit(query), atol=1e-7)
        assert np.all(np.diff(cosines) <= 0)
        allowed = np.arange(len(rows)) % 3 == 1
        assert nearest.search(query, k, allowed)[0].tolist() == reference(rows, query, k, allowed)


def test_equal_rows_come_in_their_order_and_all_that_tie_are_seen() -> None:
    rows = rows_of(300)
    rows[5:299:2] = rows[7]
    nearest = GallerySearch(indices(rows, (6, 100, 291)))
    assert nearest.search(rows[7], 10)[0].tolist() == list(range(5, 25, 2))
    allowed = np.ones(300, np.bool_)
    allowed[5:200] = False
    assert nearest.search(rows[7], 4, allowed)[0].tolist() == [201, 203, 205, 207]


def test_rows_that_float32_cannot_tell_apart_are_told_apart() -> None:
    base, query = rows_of(2, seed=2)
    rows = np.tile(base, (400, 1))
    for i, row in enumerate(rows):  # a few last places away
        row[i % D] = np.nextafter(row[i % D], np.float32(2), dtype=np.float32)
        row[(i * 7 + 3) % D] *= np.float32(1 + (i % 5) * 2.0**-22)
    (index,) = indices(rows)
    expected = reference(rows, query, 12)
    assert index.search(query[None], 12)[1][0].tolist() != expected
    assert GallerySearch([index]).search(query, 12)[0].tolist() == expected


def test_what_cannot_be_searched_is_reported() -> None:
    nearest = GallerySearch(indices(rows_of(5)))
    with pytest.raises(DataError, match=r"query .*\(8,\).*\b24\b"):
        nearest.search(np.ones(8, np.float32), 1)
    with pytest.raises(DataError, match=r"query: row 0 .*NaN"):
        nearest.search(np.full(D, np.nan, np.float32), 1)
    found, cosines = nearest.search(np.ones(D, np.float32), 3, np.zeros(5, np.bool_))
    assert (len(found), len(cosines)) == (0, 0)


@pytest.mark.parametrize("first", ["faiss", "torch"])
def test_it_works_beside_torch_which_has_threads_of_its_own(first: str) -> None:
    """Both libraries bring an OpenMP; a program is ended by their clash, if there is one, not by an exception."""
    program = f"""
import {first}, torch, faiss
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from captionless.eval.gallery_search import GallerySearch
from tests.eval.test_gallery_search import indices, reference, rows_of
torch.set_num_threads(2)
faiss.omp_set_num_threads(2)
rows = rows_of(4000)
nearest, matrix = GallerySearch(indices(rows, (1000, 2000))), torch.from_numpy(rows)
expected, product = reference(rows, rows[3], 5), matrix @ matrix.T
with ThreadPoolExecutor(2) as pool:
    for _ in range(3):
        other = pool.submit(lambda: matrix @ matrix.T)
        assert nearest.search(rows[3], 5)[0].tolist() == expected
        assert indices(rows)[0].search(rows, 1)[1][:, 0].tolist() == list(range(4000))
        assert torch.equal(other.result(), product)
print("whole")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env={"OMP_NUM_THREADS": "2", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr
