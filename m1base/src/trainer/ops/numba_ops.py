"""The point-set operators as kernels for CPUs, compiled by numba; they release the GIL.

Each fills `out` for a batch of clouds, (B, N, 3) contiguous, as the operator of the same name in `point_sets` says.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True)
def ball_query(
    xyz: NDArray[np.floating], centers: NDArray[np.floating], limit: np.floating, out: NDArray[np.int64]
) -> None:
    batch, n, _ = xyz.shape
    _, m, nsample = out.shape
    for b in range(batch):
        for i in range(m):
            cx, cy, cz = centers[b, i, 0], centers[b, i, 1], centers[b, i, 2]
            found = 0
            for j in range(n):
                dx, dy, dz = cx - xyz[b, j, 0], cy - xyz[b, j, 1], cz - xyz[b, j, 2]
                if (dx * dx + dy * dy) + dz * dz < limit:
                    out[b, i, found] = j
                    found += 1
                    if found == nsample:
                        break
            first = out[b, i, 0] if found > 0 else 0
            for k in range(found, nsample):
                out[b, i, k] = first


@numba.njit(cache=True, nogil=True)
def k_nearest(xyz: NDArray[np.floating], centers: NDArray[np.floating], out: NDArray[np.int64]) -> None:
    """Each point is sorted into the nearest so far; of n points in no order, about k log(n / k) get in."""
    batch, n, _ = xyz.shape
    _, m, k = out.shape
    x, y, z = np.empty(n, xyz.dtype), np.empty(n, xyz.dtype), np.empty(n, xyz.dtype)
    squares, near = np.empty(n, xyz.dtype), np.empty(k, xyz.dtype)
    for b in range(batch):
        for j in range(n):
            x[j], y[j], z[j] = xyz[b, j, 0], xyz[b, j, 1], xyz[b, j, 2]
        for i in range(m):
            _squares(x, y, z, centers[b, i, 0], centers[b, i, 1], centers[b, i, 2], squares)
            near[:] = np.inf
            for j in range(n):
                d = squares[j]
                if j >= k and d >= near[k - 1]:
                    continue
                place = min(j, k - 1)
                while place > 0 and near[place - 1] > d:
                    near[place] = near[place - 1]
                    out[b, i, place] = out[b, i, place - 1]
                    place -= 1
                near[place] = d
                out[b, i, place] = j


@numba.njit(cache=True, nogil=True)
def _squares(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    z: NDArray[np.floating],
    px: np.floating,
    py: np.floating,
    pz: np.floating,
    squares: NDArray[np.floating],
) -> None:
    for j in range(len(x)):
        dx, dy, dz = px - x[j], py - y[j], pz - z[j]
        squares[j] = (dx * dx + dy * dy) + dz * dz
