"""How similar two objects are to CLIP: I2I (eq. 2) and (I2L)^2 (eq. 3 and 4) of arXiv 2406.02202.

Mechanism. Both metrics are matrices over the objects of one category, symmetric and 1 on the
diagonal; they are computed tile by tile above the diagonal and mirrored, which makes them symmetric
to the bit and halves the work. A part of such a matrix, one group of objects against another, is
computed the same way, without the mirror.

- I2I is a Gram product of the R*F-long concatenated embeddings. numpy sends `x @ x.T` to BLAS syrk,
  half a GEMM. One float32 sum over 15,360 terms would lose the last digits, so a tile adds up the
  products of a few views at a time in float64 (error about 5e-8).
- (I2L)^2 compares descriptors, see `captionless.precompute.descriptors`: products of a few views at a
  time by BLAS, one core per tile, and a compiled pass over them that turns them into squared distances, recomputes
  the few that cancel, and sums the roots. No matrix of distances is ever stored.

Memory is the result plus a few tiles: inputs of another dtype are converted a tile at a time.

Both formulas are applied to the numbers as given. Rows must have unit length up to the rounding of
the type they were stored in; they are not normalised again, so that the result is the formula's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.precompute.descriptors import NEAR, Descriptors, add_distances, describe, mean_descriptors
from captionless.precompute.rows import Embeddings, ViewRows, landmark_rows, tiles
from captionless.runtime.thread_pools import one_core_each

I2I_TILE = 512
"""Objects on a side of an I2I tile: its two operands of 512 x 15,360 float32 are 60 MiB."""

I2I_VIEWS = 10
"""Views whose products BLAS sums in float32 before the float64 accumulator takes over: 1e-7 of the result at most."""

I2L_BLOCK = 8192
"""Objects whose descriptors are held at a time, on either side: 120 MiB each for 30 views and 128 landmarks."""

_DESCRIBED = 64  # objects that a core describes before it takes others

I2L_TILE = 256
"""Objects on a side of an (I2L)^2 tile: the products of `I2L_VIEWS` views are 1.3 MiB."""

I2L_VIEWS = 5
"""Views whose products are taken together, and whose distances are summed in float32."""


def i2i(
    views: Embeddings, columns: Embeddings | None = None, *, names: Sequence[str] | None = None
) -> NDArray[np.float32]:
    """Image-to-image similarity, eq. 2: `((1/R) sum_r e[i,r] . e[j,r] + 1) / 2`.

    Args:
        views: (n, R, F) float16, bfloat16, float32 or float64, numpy or torch on any device,
            contiguous or not; rows L2-normalised; view r of every object is the same pose.
        columns: (m, R, F) of other objects, to compare with these instead of with one another.
        names: the n objects' keys, for error messages.

    Returns:
        (n, n) float32 in [0, 1] (up to the rows' own norm error), symmetric to the bit, diagonal 1;
        (n, m) with `columns`; at most 3e-7 from the formula in float64. (0, 0) for no objects.

    Raises:
        DataError: not three axes, no views, not floating point, or a row that is not finite or not
            of unit length; the message names the object and the view.
    """
    left = _checked(ViewRows(views, names))
    right = left if columns is None else _matching(left, columns)
    n_views, width = left.shape[1:]
    sim = np.empty((left.shape[0], right.shape[0]), dtype=np.float32)

    def fill(rows: slice) -> None:
        a = left.float32(rows).reshape(-1, n_views * width)
        converted = np.empty((I2I_TILE, n_views, width), np.float32)  # one for all; untouched memory costs nothing
        for of_columns in tiles(sim.shape[1], I2I_TILE, start=rows.start if right is left else 0):
            # the same array on both sides is what lets numpy call syrk on the diagonal
            same = right is left and of_columns == rows
            b = a if same else right.float32(of_columns, converted).reshape(-1, n_views * width)
            total = _products(a, b, I2I_VIEWS * width)
            total *= 0.5 / n_views
            np.add(total, 0.5, out=sim[rows, of_columns], casting="same_kind")
            if right is left:
                sim[of_columns, rows] = sim[rows, of_columns].T

    with one_core_each() as pool:
        list(pool.map(fill, tiles(len(sim), I2I_TILE)))
    if right is left:
        np.fill_diagonal(sim, 1.0)
    return sim


def _products(a: NDArray[np.float32], b: NDArray[np.float32], terms: int) -> NDArray[np.float64]:
    """`a @ b.T`, of which so many terms are summed in float32 at a time."""
    total = np.empty((len(a), len(b)))
    product = np.empty((len(a), len(b)), np.float32)
    for part in tiles(a.shape[1], terms):
        np.matmul(a[:, part], (a if b is a else b)[:, part].T, out=product)
        if part.start == 0:
            total[...] = product
        else:
            total += product
    return total


def i2l(
    views: Embeddings,
    landmarks: Embeddings,
    columns: Embeddings | None = None,
    *,
    names: Sequence[str] | None = None,
) -> NDArray[np.float32]:
    """(Image-to-landmarks)^2 similarity, eq. 3 and 4: `1 / (1 + (1/R) sum_r || d[i,r] - d[j,r] ||_2)`.

    `d[i,r,l] = e[i,r] . t[l]` describes view r of object i by the landmark texts of its category.

    Args:
        views: (n, R, F), as for `i2i`; all objects are of one category.
        landmarks: (L, F) text embeddings of that category, L2-normalised, same types as `views`.
        columns: (m, R, F) of other objects of the category, to compare with these instead of with one another.
        names: the n objects' keys, for error messages.

    Returns:
        (n, n) float32 in (0, 1], symmetric to the bit, diagonal exactly 1; (n, m) with `columns`; at most 2e-7
        from the formula in float64, duplicates included. (0, 0) for no objects.

    Raises:
        DataError: as `i2i`; or `landmarks` is empty, has another width, or a row that is not finite
            or not of unit length.
    """
    return ByLandmarks(views, landmarks, names=names).similarity(columns)


class ByLandmarks:
    """Objects to compare by `i2l` with one group of others after another: what describes them is computed once.

    Arguments and errors as `i2l`.
    """

    def __init__(self, views: Embeddings, landmarks: Embeddings, *, names: Sequence[str] | None = None) -> None:
        self._rows = _checked(ViewRows(views, names))
        n, n_views, width = self._rows.shape
        self._texts = landmark_rows(landmarks, width)
        self._centre = mean_descriptors(self._rows, self._texts) if n else np.zeros((n_views, len(self._texts)))
        self._last: tuple[slice, Descriptors] | None = None

    def similarity(self, columns: Embeddings | None = None) -> NDArray[np.float32]:
        """What `i2l` returns of these objects and `columns`, or one another."""
        left = self._rows
        right = left if columns is None else _matching(left, columns)
        same = right is left
        sim = np.empty((left.shape[0], right.shape[0]), dtype=np.float32)
        if sim.size == 0:
            return sim
        with one_core_each() as pool:
            for rows in tiles(len(sim), I2L_BLOCK):
                of_rows = self._described(rows, pool)
                for columns_ in tiles(sim.shape[1], I2L_BLOCK, start=rows.start if same else 0):
                    diagonal = same and columns_ == rows
                    of_columns = of_rows if diagonal else self._describe(right, columns_, pool)
                    block = sim[rows, columns_]
                    fill = partial(_fill_rows, block, of_rows, of_columns, diagonal)
                    list(pool.map(fill, tiles(len(block), I2L_TILE)))
                    if same and not diagonal:
                        sim[columns_, rows] = block.T
        if same:
            np.fill_diagonal(sim, 1.0)
        return sim

    def _described(self, rows: slice, pool: ThreadPoolExecutor) -> Descriptors:
        if self._last is None or self._last[0] != rows:
            self._last = rows, self._describe(self._rows, rows, pool)
        return self._last[1]

    def _describe(self, side: ViewRows, rows: slice, pool: ThreadPoolExecutor) -> Descriptors:
        n_views, count = side.shape[1], rows.stop - rows.start
        found = Descriptors(
            np.empty((n_views, count, len(self._texts)), np.float32), np.empty((n_views, count), np.float32)
        )

        def part(of: slice) -> None:
            describe(side, of, self._texts, self._centre, found, of.start - rows.start)

        list(pool.map(part, tiles(rows.stop, _DESCRIBED, start=rows.start)))
        return found


def _fill_rows(
    sim: NDArray[np.float32], of_rows: Descriptors, of_columns: Descriptors, diagonal: bool, rows: slice
) -> None:
    """The similarity of some rows of a block by descriptors; `diagonal`: its rows and columns are the same objects."""
    n_views = len(of_rows.values)
    near = NEAR / math.sqrt(n_views)
    products = np.empty((I2L_VIEWS, I2L_TILE, I2L_TILE), np.float32)
    for columns in tiles(sim.shape[1], I2L_TILE, start=rows.start if diagonal else 0):
        tile = sim[rows, columns]
        total = np.zeros(tile.shape)
        for views in tiles(n_views, I2L_VIEWS):
            x, y = of_rows.values[views, rows], of_columns.values[views, columns]
            part = products[: len(x), : tile.shape[0], : tile.shape[1]]
            np.matmul(x, y.transpose(0, 2, 1), out=part)
            add_distances(part, x, y, of_rows.squares[views, rows], of_columns.squares[views, columns], near, total)
        tile[...] = 1 / (1 + total / n_views)
        if diagonal:
            sim[columns, rows] = tile.T


def _checked(side: ViewRows) -> ViewRows:
    """One side of a matrix, all of whose rows have been looked at."""
    for rows in tiles(side.shape[0], I2I_TILE):
        side.check(rows)
    return side


def _matching(left: ViewRows, columns: Embeddings) -> ViewRows:
    """The other side of a matrix."""
    right = ViewRows(columns)
    if left.shape[1:] != right.shape[1:]:
        raise DataError(
            f"view embeddings of shapes {left.shape} and {right.shape}; expected equal numbers of views and widths"
        )
    return _checked(right)
