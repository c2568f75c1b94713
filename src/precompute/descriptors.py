"""Landmark descriptors of views and the distances between them: the arithmetic of (I2L)^2 (eq. 3).

Mechanism. A descriptor is a view's dot products with the L landmark texts of its category. All the
descriptors of a category lie close together, so they are centred: the mean embedding of each view is
subtracted before the product, which leaves distances as they are. The product is taken in float64 and
the small centred values are then rounded to float32, a rounding too small for a distance to notice.
The distance kernel subtracts, squares and sums; nothing cancels, so near-duplicates come out as they
are and exact duplicates have distance 0.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.precompute.rows import ViewRows, tiles

_ROWS = 1024  # objects converted to float64 at a time: 4 MiB per view of width 512


def descriptors(views: ViewRows, landmarks: NDArray[np.float64]) -> NDArray[np.float32]:
    """Centred descriptors `d[r, i, l] = (e[i, r] - mean_i e[i, r]) . t[l]`.

    Args:
        views: n >= 1 objects with R views each, of width F.
        landmarks: (L, F) float64, L2-normalised.

    Returns:
        (R, n, L) float32, C-contiguous: one view's descriptors lie together, as the kernel reads them.
    """
    n, n_views, width = views.shape
    described = np.empty((n_views, n, len(landmarks)), dtype=np.float32)
    for view in range(n_views):
        mean = np.zeros(width)
        for rows in tiles(n, _ROWS):
            mean += views.float64(rows, view).sum(axis=0)
        mean /= n
        for rows in tiles(n, _ROWS):
            described[view, rows] = (views.float64(rows, view) - mean) @ landmarks.T
    return described


@numba.njit(nogil=True, fastmath={"reassoc", "contract"})
def add_distances(described: NDArray[np.float32], row: int, column: int, total: NDArray[np.float64]) -> None:
    """Add `sum_r || d[r, row + i] - d[r, column + j] ||_2` to `total[i, j]`.

    Args:
        described: (R, n, L) float32, C-contiguous: a strided slice would keep the compiler from using
            vector instructions, so the tile is told by its first objects.
        row, column: the first object on either side of the tile.
        total: (m, k) float64, changed in place; tiles of 64 x 64 stay in the caches.
    """
    n_views, _, n_landmarks = described.shape
    m, k = total.shape
    for r in range(n_views):
        for i in range(m):
            a = described[r, row + i]
            for j in range(k):
                b = described[r, column + j]
                square = np.float32(0)
                for l in range(n_landmarks):  # noqa: E741
                    difference = a[l] - b[l]
                    square += difference * difference
                total[i, j] += np.sqrt(square)
