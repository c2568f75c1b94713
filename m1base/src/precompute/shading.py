"""Corner normals that smooth what is round and keep what is sharp.

Meshes come without normals, with normals that disagree with their faces, or with
faces wound at random. Each corner of a face therefore gets its own normal: the
area-weighted mean of the face normals around that corner's position which lie
within `crease` of this face's own, regardless of the sign that their winding gives
them. Positions that coincide exactly count as one vertex, so that triangle soups
(STL) are smoothed like indexed meshes.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

# A corner with more faces than this around it (the hub of a fan) keeps its face's
# normal: the work grows with the square of their number.
_MAX_FAN = 256


def corner_normals(corners: NDArray[np.float64], crease: float = 35.0) -> NDArray[np.float32]:
    """(F, 3, 3) float32 unit normals for (F, 3, 3) triangles; `crease` in degrees.

    A face of no area has the normal (0, 0, 1).
    """
    place = _place(corners.reshape(-1, 3))
    order = np.argsort(place, kind="stable")
    ranked = place[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1], [True]]))
    weighted = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return _smooth(weighted, order.astype(np.int64), starts.astype(np.int64), math.cos(math.radians(crease)))


def _place(points: NDArray[np.float64]) -> NDArray[np.uint64]:
    """(n,) a number for each place: a 64-bit hash, which sorts eight times as fast as coordinates.

    Should two places ever share a number, they at most smooth each other's normals.
    """
    bits = np.ascontiguousarray(points + 0.0).view(np.uint64)  # -0.0 and 0.0 are one place
    mixed = np.zeros(len(points), np.uint64)
    for axis, factor in enumerate((0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)):
        mixed = (mixed + bits[:, axis]) * np.uint64(factor)
        mixed ^= mixed >> np.uint64(32)
    return mixed


@numba.njit(cache=True)
def _smooth(
    weighted: NDArray[np.float64], order: NDArray[np.int64], starts: NDArray[np.int64], cosine: float
) -> NDArray[np.float32]:
    faces = len(weighted)
    unit = np.empty((faces, 3), np.float64)
    for f in range(faces):
        length = math.sqrt(weighted[f, 0] ** 2 + weighted[f, 1] ** 2 + weighted[f, 2] ** 2)
        if length > 0.0:
            for k in range(3):
                unit[f, k] = weighted[f, k] / length
        else:
            unit[f, 0], unit[f, 1], unit[f, 2] = 0.0, 0.0, 1.0
    out = np.empty((faces, 3, 3), np.float32)
    for v in range(len(starts) - 1):
        first, last = starts[v], starts[v + 1]
        for a in range(first, last):
            f = order[a] // 3
            x = y = z = 0.0
            if last - first <= _MAX_FAN:
                for b in range(first, last):
                    g = order[b] // 3
                    dot = unit[f, 0] * unit[g, 0] + unit[f, 1] * unit[g, 1] + unit[f, 2] * unit[g, 2]
                    if abs(dot) >= cosine:
                        sign = 1.0 if dot > 0.0 else -1.0
                        x += sign * weighted[g, 0]
                        y += sign * weighted[g, 1]
                        z += sign * weighted[g, 2]
            length = math.sqrt(x * x + y * y + z * z)
            for k in range(3):
                if length > 0.0:
                    out[f, order[a] % 3, k] = (x, y, z)[k] / length
                else:
                    out[f, order[a] % 3, k] = unit[f, k]
    return out
