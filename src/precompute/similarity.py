"""How alike two objects look to CLIP: I2I (eq. 2) and (I2L)^2 (eq. 3 and 4) of arXiv 2406.02202.

Mechanism. Both metrics are matrices over the objects of one category, symmetric and 1 on the
diagonal; they are computed tile by tile above the diagonal and mirrored, which makes them symmetric
to the bit and halves the work. A part of such a matrix, one group of objects against another, is
computed the same way, without the mirror.

- I2I is a Gram product of the R*F-long concatenated embeddings. numpy sends `x @ x.T` to BLAS syrk,
  half a GEMM. One float32 sum over 15,360 terms would lose the last digits, so a tile adds up the
  products of a few views at a time in float64 (error about 5e-8).
- (I2L)^2 compares descriptors, see `captionless.precompute.descriptors`, by direct differences. The
  usual expansion |a|^2 + |b|^2 - 2ab cancels for near-duplicates; a difference never does, and the
  compiled kernel is as fast because it does only half the pairs and never stores a distance matrix.

Memory is the result plus a few tiles: inputs of another dtype are converted a tile at a time.

Both formulas are applied to the numbers as given. Rows must have unit length up to the rounding of
the type they were stored in; they are not normalised again, so that the result is the formula's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.lifeline import threads
from captionless.precompute.descriptors import add_distances, descriptors, mean_views
from captionless.precompute.rows import Embeddings, ViewRows, landmark_rows, tiles

I2I_TILE = 1024
"""Objects on a side of an I2I tile: its two operands of 1024 x 15,360 float32 are 120 MiB."""

I2L_BLOCK = 8192
"""Objects whose descriptors are held at a time, on either side: 120 MiB each for 30 views and 128 landmarks."""

I2L_ROWS, I2L_COLUMNS = 64, 64
"""Objects on the sides of an (I2L)^2 tile: one view's descriptors of the columns fit the nearest caches."""

VIEWS_PER_SUM = 5
"""Views whose products BLAS sums in float32 before the float64 accumulator takes over."""


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
    left, right = _sides(views, columns, names)
    n_views, width = left.shape[1:]
    step = VIEWS_PER_SUM * width

    def fill(tile: NDArray[np.float32], a: NDArray[np.float32], b: NDArray[np.float32]) -> None:
        total = np.zeros(tile.shape)
        for start in range(0, n_views * width, step):
            total += a[:, start : start + step] @ b[:, start : start + step].T
        total /= n_views
        total += 1
        total /= 2
        tile[...] = total

    sim = np.empty((left.shape[0], right.shape[0]), dtype=np.float32)
    for rows in tiles(len(sim), I2I_TILE):
        a = left.float32(rows).reshape(-1, n_views * width)
        for of_columns in tiles(sim.shape[1], I2I_TILE, start=rows.start if right is left else 0):
            # the same array on both sides is what lets numpy call syrk on the diagonal
            same = right is left and of_columns == rows
            fill(sim[rows, of_columns], a, a if same else right.float32(of_columns).reshape(-1, n_views * width))
            if right is left:
                sim[of_columns, rows] = sim[rows, of_columns].T
    if right is left:
        np.fill_diagonal(sim, 1.0)
    return sim


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
    left, right = _sides(views, columns, names)
    n, _, width = left.shape
    texts = landmark_rows(landmarks, width)
    sim = np.empty((n, right.shape[0]), dtype=np.float32)
    if sim.size == 0:
        return sim
    same = right is left
    centre = mean_views(left)
    for rows in tiles(n, I2L_BLOCK):
        of_rows = descriptors(left, rows, texts, centre)
        for of_block in tiles(sim.shape[1], I2L_BLOCK, start=rows.start if same else 0):
            diagonal = same and of_block == rows
            of_columns = of_rows if diagonal else descriptors(right, of_block, texts, centre)
            _fill_block(sim[rows, of_block], of_rows, of_columns, diagonal)
            if same and not diagonal:
                sim[of_block, rows] = sim[rows, of_block].T
    if same:
        np.fill_diagonal(sim, 1.0)
    return sim


def _fill_block(
    sim: NDArray[np.float32], of_rows: NDArray[np.float32], of_columns: NDArray[np.float32], diagonal: bool
) -> None:
    """The similarity of all rows and columns of a block by their descriptors; `diagonal`: they are the same objects."""
    n_views = len(of_rows)

    def fill(rows: slice) -> None:
        for columns in tiles(sim.shape[1], I2L_COLUMNS, start=rows.start if diagonal else 0):
            total = np.zeros((rows.stop - rows.start, columns.stop - columns.start))
            add_distances(of_rows, of_columns, rows.start, columns.start, total)
            sim[rows, columns] = 1 / (1 + total / n_views)
            if diagonal:
                sim[columns, rows] = sim[rows, columns].T

    # every tile row writes its own rows and columns, so the result does not depend on the threads
    with threads(torch.get_num_threads()) as pool:
        list(pool.map(fill, tiles(sim.shape[0], I2L_ROWS)))


def _sides(views: Embeddings, columns: Embeddings | None, names: Sequence[str] | None) -> tuple[ViewRows, ViewRows]:
    """Both sides of a matrix, checked; one and the same object where the columns are the rows."""
    left = ViewRows(views, names)
    right = left if columns is None else ViewRows(columns)
    if left.shape[1:] != right.shape[1:]:
        raise DataError(f"view embeddings of shape {left.shape} against {right.shape}; expected equal views and widths")
    for side in (left,) if right is left else (left, right):
        for rows in tiles(side.shape[0], I2I_TILE):
            side.check(rows)
    return left, right
