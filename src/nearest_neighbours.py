"""The k nearest objects by cosine: exact, in bounded memory, and bit-identical however the work is partitioned.

Mechanism. The queries are held in memory, the candidates are streamed. A float32 matrix product of queries and
candidates is fast, but its last digits depend on the shapes of its operands, and so would the order of objects that are
nearly equal. So it only preselects: its error is less than `slack`, in any order of summation, and every candidate
within that of a query's k-th best is compared again by one float64 dot product of the two rows. This decides; ties are
in the order of the objects. There are few of these products: soon a candidate is rarely among the best. Each core has
some queries for itself, and reads what it multiplied while that is in its cache, so that the total cost is little more
than that of the matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.runtime.thread_pools import one_core_each

_CONVERTED = 8192  # candidates of another type or layout that are converted at a time
_ROWS, _COLUMNS = 256, 512  # queries and candidates that a core multiplies at a time: half of a MiB of products
_DEPTH = 1024  # numbers summed in a matrix product: fewer lose less, so that the sieve lets less through
_SIFTED = 64  # products that are looked at together: rarely is one of them of use
_MARGIN = 8 * float(np.finfo(np.float32).eps)
_TINY = 1e-37  # what float32 may lose below its smallest normal numbers


class NearestNeighbours:
    """The k nearest of some objects, for a block of them.

    Args:
        queries: (n, D) float16 or float32, of any length but 0.
        start: the place of the first of them among all objects.
        k: how many neighbours are wanted, at least 1.
        names: the keys of all objects, for error messages.

    Raises:
        DataError: a row that is not finite or has length 0; the message names the object. So does `add`, and for
            rows of another width.
    """

    def __init__(self, queries: NDArray[np.floating[Any]], start: int, k: int, names: Sequence[str]) -> None:
        self._queries, self._start, self._names = np.ascontiguousarray(queries, dtype=np.float32), start, names
        self._scale = scales(self._queries, start, names)
        self._best = np.full((len(queries), k), -np.inf)
        self._found = np.full((len(queries), k), -1, dtype=np.int32)
        # a float32 sum of n products is off by at most n halves of an eps of |a||b|, and so is the sum of such sums;
        # the 8 stand for what is of second order
        width = queries.shape[1]
        sums = min(width, _DEPTH) + math.ceil(width / _DEPTH) + 8
        self._slack = sums * float(np.finfo(np.float32).eps) / 2

    def add(self, candidates: NDArray[np.floating[Any]], start: int, scale: NDArray[np.float64] | None = None) -> None:
        """Compare with the objects `start` and on, (m, D): every object once, in any order; a query is not its own
        neighbour.

        scale: `scales` of them, if they are known.
        """
        if candidates.shape[1] != self._queries.shape[1]:
            raise DataError(
                f'object "{self._names[start]}": its embedding has {candidates.shape[1]:,} dimensions, that of '
                f'"{self._names[self._start]}" has {self._queries.shape[1]:,}; embed both with the same model'
            )
        as_they_are = candidates.dtype == np.float32 and candidates.flags.c_contiguous
        at_a_time = max(1, len(candidates)) if as_they_are else _CONVERTED
        for first in range(0, len(candidates), at_a_time):
            part = slice(first, first + at_a_time)
            rows = np.ascontiguousarray(candidates[part], dtype=np.float32)
            of_rows = scales(rows, start + first, self._names) if scale is None else scale[part]
            self._add(rows, of_rows, start + first)

    def result(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The neighbours' places, (n, k) int32, nearest first, -1 where there are fewer than k, and their cosine
        similarity, (n, k) float32, NaN there."""
        return self._found, np.where(self._found < 0, np.nan, self._best).astype(np.float32)

    def _add(self, candidates: NDArray[np.float32], scale: NDArray[np.float64], start: int) -> None:
        # not numba.get_num_threads(): it starts numba's own threads, and has torch use as many in this process
        cores: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        each = max(1, min(_ROWS, -(-len(self._queries) // cores)))

        def compare(first_query: int) -> None:
            own = slice(first_query, first_query + each)
            queries, space = self._queries[own], np.empty((2, each * _COLUMNS), np.float32)
            for first in range(0, len(candidates), _COLUMNS):
                part = slice(first, first + _COLUMNS)
                _sift(
                    _products(queries, candidates[part], space), queries, candidates[part], self._scale[own],
                    scale[part], self._start + first_query, start + first, self._slack, self._best[own],
                    self._found[own],
                )  # fmt: skip

        # every query has rows of its own in all that is written
        with one_core_each() as pool:
            list(pool.map(compare, range(0, len(self._queries), each)))


def _products(
    queries: NDArray[np.float32], candidates: NDArray[np.float32], space: NDArray[np.float32]
) -> NDArray[np.float32]:
    """`queries @ candidates.T`, in the first row of `space`; the second is used for sums."""
    shape = len(queries), len(candidates)
    total, summand = space[:, : shape[0] * shape[1]].reshape(2, *shape)
    for at in range(0, queries.shape[1], _DEPTH):
        part = slice(at, at + _DEPTH)
        np.matmul(queries[:, part], candidates[:, part].T, out=summand if at else total)
        if at:
            total += summand
    return total


def scales(rows: NDArray[np.float32], start: int, names: Sequence[str]) -> NDArray[np.float64]:
    """(n,) float64: what every row is multiplied by to have length 1. DataError as for `NearestNeighbours`.

    rows: (n, D), of which the first is object `start`.
    """
    lengths = np.sqrt(_squares(rows))
    wrong = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(wrong):
        what = "has length 0" if lengths[wrong[0]] == 0 else "is not finite (NaN or inf)"
        raise DataError(
            f'object "{names[start + int(wrong[0])]}": its embedding {what}, so it has no nearest neighbours'
        )
    return 1 / lengths


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _dot(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    total = 0.0
    for f in range(len(a)):
        total += np.float64(a[f]) * np.float64(b[f])
    return total


@numba.njit(cache=True, nogil=True)
def _squares(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    found = np.empty(len(rows))
    for i in range(len(rows)):
        found[i] = _dot(rows[i], rows[i])
    return found


@numba.njit(cache=True, nogil=True)
def _sift(
    products: NDArray[np.float32],
    queries: NDArray[np.float32],
    candidates: NDArray[np.float32],
    of_queries: NDArray[np.float64],
    of_candidates: NDArray[np.float64],
    query: int,
    candidate: int,
    slack: float,
    best: NDArray[np.float64],
    found: NDArray[np.int32],
) -> None:
    """Put the candidates into the queries' lists, `best` and `found`, (n, k), best first and then by place.

    products: (n, m), what the sieve says. of_queries, of_candidates: the rows' scales. query, candidate: the place of
    the first of either.
    """
    k, m = best.shape[1], len(candidates)
    left, highest, places = np.empty(m, np.int64), np.empty(k), np.empty(k, np.int32)
    single = of_candidates.astype(np.float32)
    for i in range(len(queries)):
        least, count = best[i, k - 1] - slack, 0
        # in float32, and so with a margin for its rounding: whatever fails this fails the next
        bound = least / of_queries[i]
        bound = np.float32(bound - abs(bound) * _MARGIN - _TINY)
        for first in range(0, m, _SIFTED):
            last = min(first + _SIFTED, m)
            if _any_reaches(products[i, first:last], single[first:last], bound):
                for j in range(first, last):
                    left[count] = j
                    count += products[i, j] * (of_queries[i] * of_candidates[j]) >= least and query + i != candidate + j
        if count > k:
            # the k-th best is no less than the k-th highest product, but for the slack
            highest[:], places[:] = -np.inf, -1
            for j in left[:count]:
                _insert(highest, places, products[i, j] * (of_queries[i] * of_candidates[j]), j)
            least = max(least, highest[k - 1] - 2 * slack)
        for j in left[:count]:
            scale = of_queries[i] * of_candidates[j]
            if products[i, j] * scale >= least:
                _insert(best[i], found[i], _dot(queries[i], candidates[j]) * scale, candidate + j)


@numba.njit(cache=True, nogil=True)
def _any_reaches(products: NDArray[np.float32], scale: NDArray[np.float32], bound: np.float32) -> bool:
    count = np.int32(0)
    for j in range(len(products)):  # to the end, without a branch: many at a time
        count += np.int32(products[j] * scale[j] >= bound)
    return bool(count)


@numba.njit(cache=True, nogil=True)
def _insert(best: NDArray[np.float64], found: NDArray[np.int32], value: float, place: int) -> None:
    """Put a candidate where it belongs among the k best of a query; the last one is lost."""
    at = len(best)
    while at > 0 and (value > best[at - 1] or (value == best[at - 1] and place < found[at - 1])):
        at -= 1
        if at + 1 < len(best):
            best[at + 1], found[at + 1] = best[at], found[at]
    if at < len(best):
        best[at], found[at] = value, place
