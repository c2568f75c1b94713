"""Landmark descriptors of views and the distances between them: the arithmetic of (I2L)^2 (eq. 3).

Mechanism. A descriptor is a view's dot products with the L landmark texts of its category. All the
descriptors of a category lie close together, so they are centred: a mean descriptor of each view is
subtracted, which leaves distances as they are. The products are taken in float64 and the small centred
values are then rounded to float32, a rounding too small for a distance to notice.

Distances are taken by the usual expansion |x|^2 + |y|^2 - 2 x.y, whose products BLAS does at full
speed. It cancels for near-duplicates: the square is wrong by some 1e-7 of |x|^2 + |y|^2, whatever its
own size, and the root makes an error of 1e-7 one of 3e-4. So every square that is small against the
norms is computed again, as the sum of squared differences, where nothing cancels and exact duplicates
have distance 0. In a category as CLIP embeds it these are few; where they are many, as in two tight
groups far apart, the result is as exact and takes longer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.precompute.rows import ViewRows, tiles

_OBJECTS = 16  # converted to float64 at a time: 2 MiB for 30 views of width 512
_CENTRE_OF = 256  # objects whose mean is the centre

NEAR = 2.7
"""A distance is computed again when it is below `NEAR / sqrt(R)` times |x|^2 + |y|^2: at that size the expansion's
error, about 1e-7 (|x|^2 + |y|^2) / distance / 2, leaves a mean over R views that is wrong by 2e-8."""


@dataclass(frozen=True)
class Descriptors:
    """The centred descriptors of n objects: `values` (R, n, L) and their squared lengths (R, n), float32."""

    values: NDArray[np.float32]
    squares: NDArray[np.float32]


def mean_descriptors(views: ViewRows, landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R, L) float64: the mean descriptor of each view over the first of n >= 1 objects; any centre serves."""
    rows = slice(0, min(views.shape[0], _CENTRE_OF))
    return np.asarray(views.float32(rows).mean(axis=0, dtype=np.float64) @ landmarks.T)


def describe(
    views: ViewRows,
    rows: slice,
    landmarks: NDArray[np.float64],
    centre: NDArray[np.float64],
    into: Descriptors,
    at: int,
) -> None:
    """Fill in the descriptors `d[i, r, l] = e[i, r] . t[l] - centre[r, l]` of objects `rows`, from place `at` on.

    Args:
        views: objects with R views each, of width F.
        landmarks: (L, F) float64, L2-normalised.
        centre: (R, L) float64, amid the descriptors of the objects to compare. Distances are the same for any.
    """
    n_views, width = views.shape[1:]
    for part in tiles(rows.stop, _OBJECTS, start=rows.start):
        # all views of an object lie together, so that a few objects make one tall product
        products = views.float64(part).reshape(-1, width) @ landmarks.T
        place = slice(at + part.start - rows.start, at + part.stop - rows.start)
        values = products.reshape(-1, n_views, len(landmarks)) - centre
        into.values[:, place] = values.transpose(1, 0, 2)
        np.einsum("vil,vil->vi", into.values[:, place], into.values[:, place], out=into.squares[:, place])


@numba.njit(cache=True, nogil=True, fastmath={"contract", "nnan", "ninf", "nsz"})
def add_distances(
    products: NDArray[np.float32],
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    x_squares: NDArray[np.float32],
    y_squares: NDArray[np.float32],
    near: float,
    total: NDArray[np.float64],
) -> None:
    """Add `sum_v || x[v, i] - y[v, j] ||_2` to `total[i, j]`.

    Args:
        products: (V, m, k) float32, the dot products `x[v, i] . y[v, j]`; overwritten.
        x, y: (V, m, L) and (V, k, L) float32, a few views' descriptors.
        x_squares, y_squares: (V, m) and (V, k) float32, their squared lengths.
        near: squares are computed again below `(near * (x_squares + y_squares)) ** 2`, negative ones among them.
        total: (m, k) float64, changed in place; the few views are summed in float32 before.
    """
    n_views, m, k = products.shape
    roots = np.empty(k, np.float32)
    two, factor = np.float32(2), np.float32(near * near)
    for i in range(m):
        roots[:] = np.float32(0)
        for v in range(n_views):
            square, own, others = products[v, i], x_squares[v, i], y_squares[v]
            count = 0  # a sum makes a vector loop, a branch or a minimum does not
            for j in range(k):
                lengths = own + others[j]
                square[j] = lengths - two * square[j]
                count += square[j] < factor * lengths * lengths
            if count:
                for j in range(k):
                    if square[j] < factor * (own + others[j]) * (own + others[j]):
                        square[j] = _square_of_difference(x[v, i], y[v, j])
            for j in range(k):
                roots[j] += np.sqrt(square[j])
        for j in range(k):
            total[i, j] += roots[j]


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _square_of_difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> np.float32:
    square = np.float32(0)
    for l in range(len(a)):  # noqa: E741
        difference = a[l] - b[l]
        square += difference * difference
    return square
