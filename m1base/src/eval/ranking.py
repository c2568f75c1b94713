"""Ranks of a query's relevant items among all items: equal to a float64 loop, at the cost of a float32 product.

Mechanism. The relevant items' own cosines are computed in float64; each is a threshold, and a rank is the number of
items that reach it. The items come a block at a time: a compiled pass makes them unit rows in float32, BLAS multiplies
them with the queries, and a second pass counts. A float32 score further from a threshold than its rigorous rounding
bound settles the matter; the few that are nearer are computed again in float64, by the same dot product that made the
thresholds, so that duplicates tie. A core has a block to itself, and no more than a tile of scores is ever held.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.eval.cosine import TIE, Rows, check_lengths, row_lengths
from captionless.runtime.thread_pools import one_core_each

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_QUERIES = 1024  # of a product: with as many items, 4 MiB of scores, which a core's caches nearly hold
_ITEMS = 1024
_HELD = 4096  # queries that are compared with all items at a time


def ranks(queries: Rows, items: Rows, relevant: Ints, of_queries: str, of_items: str) -> Ints:
    """One-based ranks of each query's relevant items by cosine, best first; ties are resolved against them.

    Args:
        queries, items: (q, D) and (g, D) numbers, rows of any nonzero length; converted a few blocks at a time.
        relevant: (q, m) rows of `items`, padded with -1 on the right.
        of_queries, of_items: their names in error messages.

    Returns:
        (q, m) int64, 0 where `relevant` is padded. Ties between items that are relevant to the same query do not lower
        their ranks.

    Raises:
        DataError: a row is not finite or has no direction.
    """
    lengths = row_lengths(queries, of_queries)
    found = np.zeros(relevant.shape, dtype=np.int64)
    for start in range(0, len(queries), _HELD):
        part = slice(start, start + _HELD)
        found[part] = _ranks(queries[part] / lengths[part, None], items, relevant[part], of_items)
    return found


def _ranks(queries: Floats, items: Rows, relevant: Ints, name: str) -> Ints:
    depth = np.count_nonzero(relevant >= 0, axis=1)
    threshold = _thresholds(queries, items, relevant, depth)
    queries32 = queries.astype(np.float32)
    bound = _rounding_bound(queries.shape[1])
    low, high = (threshold - bound).astype(np.float32), (threshold + bound).astype(np.float32)

    def count(start: int) -> Ints:
        block = _floats(items[start : start + _ITEMS])
        unit, lengths = np.empty(block.shape, np.float32), np.empty(len(block))
        _unit_rows(block, unit, lengths)
        check_lengths(lengths, name, start)
        counts = np.zeros(relevant.shape, dtype=np.int64)
        scores = np.empty((_QUERIES, len(block)), np.float32)
        for first in range(0, len(queries), _QUERIES):
            some = slice(first, first + _QUERIES)
            product = np.matmul(queries32[some], unit.T, out=scores[: len(queries32[some])])
            _count(product, queries[some], block, lengths, threshold[some], low[some], high[some], depth[some],
                   counts[some])  # fmt: skip
        return counts

    with one_core_each() as pool:
        reached = sum(pool.map(count, range(0, len(items), _ITEMS)), np.zeros(relevant.shape, dtype=np.int64))
    at_least = np.cumsum(reached, axis=1)  # who reaches a threshold reaches all lower ones
    slots = np.arange(relevant.shape[1])
    found = np.zeros(relevant.shape, dtype=np.int64)
    for slot in slots:
        mates = (threshold + TIE >= threshold[:, slot, None]) & (slots < depth[:, None])
        found[:, slot] = at_least[:, slot] - np.count_nonzero(mates, axis=1) + slot + 1
    found[slots >= depth[:, None]] = 0
    return found


def _thresholds(queries: Floats, items: Rows, relevant: Ints, depth: Ints) -> Floats:
    """(q, m) what a score must reach to stand before each relevant item, descending, -inf where there is none."""
    cosines = np.full(relevant.shape, -np.inf)
    query, slot = np.nonzero(relevant >= 0)
    for start in range(0, len(query), _ITEMS):
        some = slice(start, start + _ITEMS)
        wanted = relevant[query[some], slot[some]]
        rows = _floats(items[wanted])
        lengths = np.empty(len(rows))
        _unit_rows(rows, np.empty(rows.shape, np.float32), lengths)
        with np.errstate(divide="ignore", invalid="ignore"):  # what has no length is told by who counts
            cosines[query[some], slot[some]] = _dots(queries[query[some]], rows) / lengths
    cosines[:] = -np.sort(-cosines, axis=1)
    return cosines - TIE


def _floats(rows: NDArray[Any]) -> NDArray[Any]:
    """Contiguous, in a type that keeps every value and that compiled code knows."""
    kept = rows.dtype if rows.dtype in (np.float32, np.float64) else np.float64
    return np.ascontiguousarray(rows, dtype=kept)


def _rounding_bound(width: int) -> float:
    """How far a float32 dot product of unit vectors can be from the true one, in any order of summation.

    gamma_n = n u / (1 - n u), u = 2^-24 (Higham, Accuracy and Stability, ch. 3), with n = D + 2 for the
    rounding of both inputs; two more for the threshold's own rounding to float32.
    """
    unit = (width + 4) * 2.0**-24
    return unit / (1 - unit)


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _dot(a: NDArray[Any], b: NDArray[Any]) -> float:
    total = 0.0
    for f in range(len(a)):
        total += np.float64(a[f]) * np.float64(b[f])
    return total


@numba.njit(cache=True, nogil=True)
def _dots(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    found = np.empty(len(a))
    for i in range(len(a)):
        found[i] = _dot(a[i], b[i])
    return found


@numba.njit(cache=True, nogil=True)
def _unit_rows(rows: NDArray[Any], unit: NDArray[np.float32], lengths: Floats) -> None:
    for i in range(len(rows)):
        lengths[i] = np.sqrt(_dot(rows[i], rows[i]))
        if lengths[i] > 0:
            for f in range(rows.shape[1]):
                unit[i, f] = np.float64(rows[i, f]) / lengths[i]


@numba.njit(cache=True, nogil=True)
def _count(
    scores: NDArray[np.float32],
    queries: Floats,
    items: NDArray[Any],
    lengths: Floats,
    threshold: Floats,
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    depth: Ints,
    counts: Ints,
) -> None:
    """Add every item to the count of the first, that is the highest, threshold that it reaches, query by query.

    scores: (q, n), what the product says: above `high` it surely reaches a threshold, below `low` surely not. counts:
    (q, m).
    """
    for i in range(len(scores)):
        row, last = scores[i], depth[i] - 1
        if last < 0:
            continue
        near = _reaching(row, low[i, last])
        if near == 0:
            continue
        if last == 0 and near == _above(row, high[i, last]):
            counts[i, last] += near
            continue
        for j in range(len(row)):
            if row[j] < low[i, last]:
                continue
            slot = 0
            while slot <= last and row[j] <= high[i, slot]:
                slot += 1
            if slot > 0 and row[j] >= low[i, slot - 1]:
                exact, slot = _dot(queries[i], items[j]) / lengths[j], 0
                while slot <= last and exact < threshold[i, slot]:
                    slot += 1
            if slot <= last:
                counts[i, slot] += 1


@numba.njit(cache=True, nogil=True)
def _reaching(row: NDArray[np.float32], least: float) -> int:
    count = 0
    for j in range(len(row)):
        count += row[j] >= least
    return count


@numba.njit(cache=True, nogil=True)
def _above(row: NDArray[np.float32], most: float) -> int:
    count = 0
    for j in range(len(row)):
        count += row[j] > most
    return count
