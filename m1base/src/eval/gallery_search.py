"""Exact nearest rows of a gallery: faiss preselects, float64 decides.

faiss compares in float32. Candidates near the k-th best are compared again by float64 cosines, as for all figures (see
`cosine`), and ties are broken by row. So a ranking depends neither on the order of summation nor on how the rows were
divided into indices, and duplicates are always in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.eval.cosine import unit_rows
from captionless.runtime.thread_pools import thread_pool

if TYPE_CHECKING:
    from faiss import IndexFlatIP

_MORE = 16  # candidates beyond the k that are asked for: enough unless many are nearly the same


class GallerySearch:
    """Searches unit rows that are in one flat faiss index of inner products, or in several one after the other."""

    def __init__(self, indices: Sequence[IndexFlatIP]) -> None:
        self._indices = indices
        self._starts = np.cumsum([0, *(index.ntotal for index in indices)])
        # float32 sums of D products are off by at most D roundings, and so are the rows' lengths
        self._error = (indices[0].d + 16) * 2.0**-23

    def row(self, number: int) -> NDArray[np.float32]:
        """(D,): a row as it is stored."""
        at = int(np.searchsorted(self._starts, number, side="right")) - 1
        found: NDArray[np.float32] = self._indices[at].reconstruct(int(number - self._starts[at]))
        return found

    def search(
        self, vector: NDArray[np.floating], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The k rows of the greatest cosine with `vector` (D,), greatest first, equal ones by row; and the cosines.

        allowed: (n,), which rows count; None: all. Fewer than k where there are fewer. DataError when the vector has
        no direction or is of another width.
        """
        if vector.shape != (self._indices[0].d,):
            raise DataError(
                f"the query has shape {vector.shape}, but the gallery's rows have {self._indices[0].d} dimensions"
            )
        query = unit_rows(vector[None], "query")
        count = int(self._starts[-1] if allowed is None else allowed.sum())
        k = min(k, count)
        if k < 1:
            return np.empty(0, np.int64), np.empty(0)
        rows = self._sieve(query.astype(np.float32), k, count, allowed)
        stored = unit_rows(np.stack([self.row(row) for row in rows]), "gallery")
        cosines = (stored * query).sum(axis=1)  # row by row in one order: equal rows have equal sums
        order = np.lexsort((rows, -cosines))[:k]
        return rows[order], cosines[order]

    def _sieve(
        self, query: NDArray[np.float32], k: int, count: int, allowed: NDArray[np.bool_] | None
    ) -> NDArray[np.int64]:
        """Rows that are certain to include the k nearest, regardless of float32 rounding."""
        asked = min(k + _MORE, count)
        while True:
            scores, rows = self._best(query, asked, allowed)
            if asked == count or scores[asked - 1] < scores[k - 1] - 2 * self._error:
                return rows
            asked = min(4 * asked, count)

    def _best(
        self, query: NDArray[np.float32], asked: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The `asked` greatest scores by faiss, greatest first, and their rows; of all indices together."""
        import faiss

        def search(at: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            start, stop = self._starts[at], self._starts[at + 1]
            some = None
            if allowed is not None:
                bits = np.packbits(allowed[start:stop], bitorder="little")
                some = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
            scores, rows = self._indices[at].search(query, int(min(asked, stop - start)), params=some)
            real = rows[0] >= 0  # fewer than asked for are allowed here
            return scores[0, real], rows[0, real] + start

        with thread_pool(os.cpu_count() or 1) as pool:
            found = list(pool.map(search, range(len(self._indices))))
        scores, rows = (np.concatenate(each) for each in zip(*found, strict=True))
        order = np.argsort(-scores, kind="stable")[:asked]
        return scores[order], rows[order]
