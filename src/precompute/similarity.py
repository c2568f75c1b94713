"""How alike two objects look to CLIP: I2I (eq. 2) and (I2L)^2 (eq. 3 and 4) of arXiv 2406.02202.

Mechanism. Both metrics are matrices over the objects of one category, symmetric and 1 on the
diagonal; they are computed tile by tile above the diagonal and mirrored, which makes them symmetric
to the bit and halves the work.

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

from captionless.lifeline import threads
from captionless.precompute.descriptors import add_distances, descriptors
from captionless.precompute.rows import Embeddings, ViewRows, landmark_rows, tiles

I2I_TILE = 1024
"""Objects on a side of an I2I tile: its two operands of 1024 x 15,360 float32 are 120 MiB."""

I2L_TILE = 64
"""Objects on a side of an (I2L)^2 tile: one view's descriptors of both sides fit the nearest caches."""

VIEWS_PER_SUM = 5
"""Views whose products BLAS sums in float32 before the float64 accumulator takes over."""


def i2i(views: Embeddings, *, names: Sequence[str] | None = None) -> NDArray[np.float32]:
    """Image-to-image similarity, eq. 2: `((1/R) sum_r e[i,r] . e[j,r] + 1) / 2`.

    Args:
        views: (n, R, F) float16, bfloat16, float32 or float64, numpy or torch on any device,
            contiguous or not; rows L2-normalised; view r of every object is the same pose.
        names: the n objects' keys, for error messages.

    Returns:
        (n, n) float32 in [0, 1] (up to the rows' own norm error), symmetric to the bit, diagonal 1;
        at most 3e-7 from the formula in float64. (0, 0) for no objects.

    Raises:
        DataError: not three axes, no views, not floating point, or a row that is not finite or not
            of unit length; the message names the object and the view.
    """
    rows_of = ViewRows(views, names)
    n, n_views, width = rows_of.shape
    sim = np.empty((n, n), dtype=np.float32)
    step = VIEWS_PER_SUM * width
    for rows in tiles(n, I2I_TILE):
        rows_of.check(rows)
    for rows in tiles(n, I2I_TILE):
        left = rows_of.float32(rows).reshape(-1, n_views * width)
        for columns in tiles(n, I2I_TILE, start=rows.start):
            # the same array on both sides is what lets numpy call syrk on the diagonal
            right = left if columns == rows else rows_of.float32(columns).reshape(-1, n_views * width)
            total = np.zeros((len(left), len(right)))
            for start in range(0, n_views * width, step):
                total += left[:, start : start + step] @ right[:, start : start + step].T
            total /= n_views
            total += 1
            total /= 2
            sim[rows, columns] = total
            sim[columns, rows] = sim[rows, columns].T
    np.fill_diagonal(sim, 1.0)
    return sim


def i2l(views: Embeddings, landmarks: Embeddings, *, names: Sequence[str] | None = None) -> NDArray[np.float32]:
    """(Image-to-landmarks)^2 similarity, eq. 3 and 4: `1 / (1 + (1/R) sum_r || d[i,r] - d[j,r] ||_2)`.

    `d[i,r,l] = e[i,r] . t[l]` describes view r of object i by the landmark texts of its category.

    Args:
        views: (n, R, F), as for `i2i`; all objects are of one category.
        landmarks: (L, F) text embeddings of that category, L2-normalised, same types as `views`.
        names: the n objects' keys, for error messages.

    Returns:
        (n, n) float32 in (0, 1], symmetric to the bit, diagonal exactly 1; at most 2e-7 from the
        formula in float64, duplicates included. (0, 0) for no objects.

    Raises:
        DataError: as `i2i`; or `landmarks` is empty, has another width, or a row that is not finite
            or not of unit length.
    """
    rows_of = ViewRows(views, names)
    n, n_views, width = rows_of.shape
    texts = landmark_rows(landmarks, width)
    for rows in tiles(n, I2I_TILE):
        rows_of.check(rows)
    sim = np.empty((n, n), dtype=np.float32)
    if n == 0:
        return sim
    described = descriptors(rows_of, texts)

    def fill(rows: slice) -> None:
        for columns in tiles(n, I2L_TILE, start=rows.start):
            total = np.zeros((rows.stop - rows.start, columns.stop - columns.start))
            add_distances(described, rows.start, columns.start, total)
            sim[rows, columns] = 1 / (1 + total / n_views)
            sim[columns, rows] = sim[rows, columns].T

    # every tile row writes its own rows and columns, so the result does not depend on the threads
    with threads(torch.get_num_threads()) as pool:
        list(pool.map(fill, tiles(n, I2L_TILE)))
    np.fill_diagonal(sim, 1.0)
    return sim
