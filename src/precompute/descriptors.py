"""Landmark descriptors of views and the distances between them: the arithmetic of (I2L)^2 (eq. 3).

Mechanism. A descriptor is a view's dot products with the L landmark texts of its category. All the
descriptors of a category lie close together, so they are centred: a mean embedding of each view is
subtracted before the product, which leaves distances as they are. The product is taken in float64 and
the small centred values are then rounded to float32, a rounding too small for a distance to notice.

The distance kernel subtracts, squares and sums; nothing cancels, so near-duplicates come out as they
are and exact duplicates have distance 0. It goes over many columns at a time, landmark by landmark, so
that every lane of a vector register sums a pair of its own: no sum across lanes, and one vectorised
square root for many pairs. That is why descriptors are stored landmark by landmark. It does half the
pairs and never stores a matrix of distances, which is how it is faster than the usual expansion
|a|^2 + |b|^2 - 2ab by matrix products, whose cancellation would have to be repaired.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.precompute.rows import ViewRows, tiles

_ROWS = 1024  # objects converted to float64 at a time: 4 MiB per view of width 512
_CENTRE_OF = 256  # objects whose mean is the centre


def mean_views(views: ViewRows) -> NDArray[np.float64]:
    """(R, F) float64: the mean embedding of each view over the first of n >= 1 objects; any centre serves."""
    rows = slice(0, min(views.shape[0], _CENTRE_OF))
    return np.stack([views.float64(rows, view).mean(axis=0) for view in range(views.shape[1])])


def descriptors(
    views: ViewRows, rows: slice, landmarks: NDArray[np.float64], centre: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Centred descriptors `d[r, l, i] = (e[i, r] - centre[r]) . t[l]` of the objects `rows`.

    Args:
        views: objects with R views each, of width F.
        landmarks: (L, F) float64, L2-normalised.
        centre: (R, F) float64, amid the embeddings of the objects to compare. Distances are the same for any.

    Returns:
        (R, L, rows) float32, C-contiguous: one landmark's values lie together, as the kernel reads them.
    """
    n_views = views.shape[1]
    described = np.empty((n_views, len(landmarks), rows.stop - rows.start), dtype=np.float32)
    for view in range(n_views):
        offset = landmarks @ centre[view]
        for part in tiles(rows.stop, _ROWS, start=rows.start):
            place = slice(part.start - rows.start, part.stop - rows.start)
            described[view, :, place] = landmarks @ views.float64(part, view).T - offset[:, None]
    return described


@numba.njit(nogil=True, fastmath={"contract"})
def add_distances(
    of_rows: NDArray[np.float32], of_columns: NDArray[np.float32], row: int, column: int, total: NDArray[np.float64]
) -> None:
    """Add `sum_r || of_rows[r, :, row + i] - of_columns[r, :, column + j] ||_2` to `total[i, j]`.

    Args:
        of_rows, of_columns: (R, L, n) float32, C-contiguous: a strided slice would keep the compiler from using
            vector instructions, so the tile is told by its first objects.
        row, column: the first object on either side of the tile.
        total: (m, k) float64, changed in place; the k columns' descriptors of a view should fit the nearest caches.
    """
    n_views, n_landmarks, _ = of_rows.shape
    m, k = total.shape
    square = np.empty(k, np.float32)
    b = np.empty((n_landmarks, k), np.float32)
    whole = n_landmarks - n_landmarks % 4
    for r in range(n_views):
        b[:] = of_columns[r, :, column : column + k]
        for i in range(m):
            a = of_rows[r, :, row + i]
            square[:] = 0
            for l in range(0, whole, 4):  # noqa: E741
                a0, a1, a2, a3 = a[l], a[l + 1], a[l + 2], a[l + 3]
                for j in range(k):
                    d0, d1, d2, d3 = a0 - b[l, j], a1 - b[l + 1, j], a2 - b[l + 2, j], a3 - b[l + 3, j]
                    square[j] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
            for l in range(whole, n_landmarks):  # noqa: E741
                for j in range(k):
                    difference = a[l] - b[l, j]
                    square[j] += difference * difference
            for j in range(k):
                total[i, j] += np.sqrt(square[j])
