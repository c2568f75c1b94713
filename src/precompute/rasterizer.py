"""Triangles -> what is nearest at every sample of a picture, compiled by numba.

Corners are snapped to 1/256 of a sample, and which samples a triangle covers is decided in whole numbers: triangles
that share an edge cover each sample along it once. What is nearest is kept as the triangle's number; among equally near
ones the later wins, as with OpenGL's usual depth test. A mesh of a hundred thousand triangles has few that cover more
than a sample or two, so what counts is how soon the others are passed over.

Nothing is clipped: the camera sees the whole unit sphere (`camera`).
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.precompute.camera import DISTANCE, FIELD_OF_VIEW

SNAP = 256
"""Steps between two samples."""

HALF = SNAP // 2
"""Steps from a sample's upper left corner to its centre."""

TANGENT = math.tan(math.radians(FIELD_OF_VIEW / 2))
"""Half the width of what is seen, over its distance."""

_WIDE = 16  # samples from which on it pays to compute where a row of a triangle begins and ends


@numba.njit(cache=True, nogil=True, error_model="numpy")
def project(
    vertices: NDArray[np.float32],
    axes: NDArray[np.float64],
    width: int,
    place: NDArray[np.int32],
    inverse: NDArray[np.float32],
) -> None:
    """Where the camera with those `axes` sees vertices (V, 3), in a picture of so many samples a side.

    place: (V, 2), filled with x and y from the upper left corner in steps of 1/256 sample; inverse: (V,), with the
    inverse of the distance along the camera's axis.
    """
    scale = width / 2 * SNAP
    for v in range(len(vertices)):
        p, q, r = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        near = 1.0 / (DISTANCE - (p * axes[2, 0] + q * axes[2, 1] + r * axes[2, 2]))
        x = (p * axes[0, 0] + q * axes[0, 1] + r * axes[0, 2]) * near / TANGENT
        y = (p * axes[1, 0] + q * axes[1, 1] + r * axes[1, 2]) * near / TANGENT
        place[v, 0] = np.int32(math.floor((1.0 + x) * scale + 0.5))
        place[v, 1] = np.int32(math.floor((1.0 - y) * scale + 0.5))
        inverse[v] = near


@numba.njit(cache=True, nogil=True, error_model="numpy")
def cover(
    faces: NDArray[np.int32],
    place: NDArray[np.int32],
    inverse: NDArray[np.float32],
    nearest: NDArray[np.float32],
    owner: NDArray[np.int32],
) -> None:
    """What is nearest at every sample of a picture: of faces (F, 3) into projected vertices.

    owner: (W, W), filled with the face's number or -1, and `nearest` (W, W) with its inverse distance or 0.
    """
    width = len(owner)
    owner[:] = -1
    nearest[:] = 0
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        xa, ya = corner(place, a)
        xb, yb = corner(place, b)
        xc, yc = corner(place, c)
        left = max((min(xa, xb, xc) + HALF - 1) // SNAP, 0)
        right = min((max(xa, xb, xc) - HALF) // SNAP, width - 1)
        if left > right:
            continue
        top = max((min(ya, yb, yc) + HALF - 1) // SNAP, 0)
        bottom = min((max(ya, yb, yc) - HALF) // SNAP, width - 1)
        if top > bottom:
            continue
        area = (xb - xa) * (yc - ya) - (yb - ya) * (xc - xa)
        if area == 0:
            continue
        if area < 0:
            area, b, c = -area, c, b
            xb, yb, xc, yc = xc, yc, xb, yb
        # How far a sample is within each edge, times the edge's length; below zero outside. A sample on an edge belongs
        # to the triangle on one side of it: that which goes along the edge downwards, or to the left.
        ux, uy, vx, vy, wx, wy = xc - xb, yc - yb, xa - xc, ya - yc, xb - xa, yb - ya
        x, y = left * SNAP + HALF, top * SNAP + HALF
        u = ux * (y - yb) - uy * (x - xb)
        v = vx * (y - yc) - vy * (x - xc)
        w = wx * (y - ya) - wy * (x - xa)
        near_a, near_b, near_c = inverse[a] / area, inverse[b] / area, inverse[c] / area
        row_near = u * near_a + v * near_b + w * near_c
        right_near = np.float32(-SNAP * (uy * near_a + vy * near_b + wy * near_c))
        down_near = SNAP * (ux * near_a + vx * near_b + wx * near_c)
        u -= not (uy > 0 or (uy == 0 and ux < 0))
        v -= not (vy > 0 or (vy == 0 and vx < 0))
        w -= not (wy > 0 or (wy == 0 and wx < 0))
        for row in range(top, bottom + 1):
            first, last = left, right
            if right - left >= _WIDE:
                first = left + max(_first(u, -SNAP * uy), _first(v, -SNAP * vy), _first(w, -SNAP * wy))
                ends = min(_last(u, -SNAP * uy), _last(v, -SNAP * vy), _last(w, -SNAP * wy))
                last = min(right, left + ends)
            for column in range(first, last + 1):
                k = column - left
                if (u - k * SNAP * uy) | (v - k * SNAP * vy) | (w - k * SNAP * wy) >= 0:
                    near = np.float32(row_near) + np.float32(k) * right_near
                    if near >= nearest[row, column]:
                        nearest[row, column] = near
                        owner[row, column] = f
            u += SNAP * ux
            v += SNAP * vx
            w += SNAP * wx
            row_near += down_near


@numba.njit(cache=True, nogil=True, error_model="numpy")
def corner(place: NDArray[np.int32], vertex: int) -> tuple[int, int]:
    """Where a vertex is seen, in as many bits as products of such numbers need."""
    return np.int64(place[vertex, 0]), np.int64(place[vertex, 1])  # type: ignore[return-value]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _first(value: int, step: int) -> int:
    """The first k >= 0 with value + k step >= 0; a large one if there is none."""
    if value >= 0:
        return 0
    return -(value // step) if step > 0 else 1 << 30


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _last(value: int, step: int) -> int:
    """The last k with value + k step >= 0, where it falls; a large one where it does not."""
    return value // -step if step < 0 else 1 << 30
