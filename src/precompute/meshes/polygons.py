"""Polygons -> triangles, compiled: a fan where a polygon is convex, ears cut off where it is not.

A polygon is judged in its own plane: seen along the axis that its normal (M. Newell's, which averages over all
corners) is nearest to, so that its coordinates are taken as they are. Ears are cut as by G. Meisters ("Polygons have
ears", 1975): a corner is one if no corner at which the outline turns inwards lies in its triangle. Holes that are
joined to the outline by a pair of edges are fine. An outline that crosses itself has no ears at some point: the rest
becomes a fan.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError

STRAIGHT = 1e-12
"""Twice the area, in squares of the polygon's size, up to which a turn inwards counts as straight: digits that were
rounded off make many straight outlines turn."""

_MOST_WORK = 4_000_000_000
"""Corners that may be compared with triangles while the ears of one mesh are cut: seconds."""


def triangulated(
    vertices: NDArray[np.float64], sizes: NDArray[np.int32], corners: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Triangles of polygons, in their order and turning as they do.

    vertices: (V, 3). sizes: (P,) corners of each polygon, at least 3. corners: (sum of sizes,) indices of vertices,
    all in range. Returns triangles (T, 3), each three places in `corners`, and (T,) the polygon that each is of. T is
    the sum of `sizes` less two for each. DataError where outlines are too long and too winding.
    """
    if len(sizes) == 0 or int(sizes.max()) == 3:
        return np.arange(len(corners), dtype=np.int32).reshape(-1, 3), np.arange(len(sizes), dtype=np.int32)
    count = len(corners) - 2 * len(sizes)
    triangles, owners = np.empty((count, 3), np.int32), np.empty(count, np.int32)
    if not _all(vertices, sizes, corners, triangles, owners, _MOST_WORK):
        raise DataError(f"a polygon of {int(sizes.max())} corners is too winding to be cut into triangles")
    return triangles, owners


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _all(
    vertices: NDArray[np.float64],
    sizes: NDArray[np.int32],
    corners: NDArray[np.int32],
    triangles: NDArray[np.int32],
    owners: NDArray[np.int32],
    work: int,
) -> bool:
    most = sizes.max()
    plane = np.empty((most, 2))
    links = np.empty((2, most), np.int32)
    inward = np.empty((2, most), np.int32)
    start, at = 0, 0
    for polygon in range(len(sizes)):
        size = sizes[polygon]
        if size == 3 or not _turns_inwards(vertices, corners[start : start + size], plane):
            for i in range(size - 2):
                triangles[at + i, 0], triangles[at + i, 1], triangles[at + i, 2] = start, start + i + 1, start + i + 2
        else:
            work = _cut_ears(plane[:size], links, inward, triangles[at : at + size - 2], start, work)
            if work < 0:
                return False
        owners[at : at + size - 2] = polygon
        start += size
        at += size - 2
    return True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _turns_inwards(vertices: NDArray[np.float64], corners: NDArray[np.int32], plane: NDArray[np.float64]) -> bool:
    """Whether a polygon is concave; fills `plane` with its corners, counterclockwise and of a size about 1, if so.

    One without a plane, since it has no area or coordinates that are not finite, is not.
    """
    size = len(corners)
    origin = vertices[corners[0]]
    extent = 0.0
    for i in range(1, size):
        for axis in range(3):
            extent = max(extent, abs(vertices[corners[i], axis] - origin[axis]))
    if not 0.0 < extent < np.inf:
        return False
    scale = math.ldexp(1.0, -min(max(math.frexp(extent)[1], -1000), 1000))  # a power of two: products do not overflow
    n0, n1, n2 = 0.0, 0.0, 0.0
    a0, a1, a2 = 0.0, 0.0, 0.0
    for i in range(1, size):
        vertex = vertices[corners[i]]
        b0, b1, b2 = (vertex[0] - origin[0]) * scale, (vertex[1] - origin[1]) * scale, (vertex[2] - origin[2]) * scale
        n0 += a1 * b2 - a2 * b1
        n1 += a2 * b0 - a0 * b2
        n2 += a0 * b1 - a1 * b0
        a0, a1, a2 = b0, b1, b2
    if abs(n2) >= abs(n0) and abs(n2) >= abs(n1):
        across, up, facing = 0, 1, n2
    elif abs(n1) >= abs(n0):
        across, up, facing = 2, 0, n1
    else:
        across, up, facing = 1, 2, n0
    if not abs(facing) > STRAIGHT:
        return False
    if facing < 0:
        across, up = up, across
    for i in range(size):
        vertex = vertices[corners[i]]
        plane[i, 0] = (vertex[across] - origin[across]) * scale
        plane[i, 1] = (vertex[up] - origin[up]) * scale
    concave = False
    for i in range(size):
        concave = concave or _turn(plane, i - 1 if i else size - 1, i, i + 1 if i + 1 < size else 0) < -STRAIGHT
    return concave


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _turn(plane: NDArray[np.float64], a: int, b: int, c: int) -> float:
    """Twice the signed area of a triangle: above zero where a, b, c are counterclockwise."""
    x, y = plane[b, 0], plane[b, 1]
    return float((x - plane[a, 0]) * (plane[c, 1] - y) - (y - plane[a, 1]) * (plane[c, 0] - x))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _cut_ears(
    plane: NDArray[np.float64],
    links: NDArray[np.int32],
    inward: NDArray[np.int32],
    triangles: NDArray[np.int32],
    start: int,
    work: int,
) -> int:
    """Fills the triangles of a polygon, as places from `start` on; returns what is left of `work`, below 0 if it ended.

    links: scratch, the corners before and after each that are left. inward: scratch, the corners that turn inwards, and
    the place of each among them, -1 if it does not.
    """
    size = len(plane)
    before, after = links
    listed, place = inward
    count = 0
    for i in range(size):
        before[i], after[i] = i - 1, i + 1
    before[0], after[size - 1] = size - 1, 0
    for i in range(size):
        place[i] = -1
        if _turn(plane, before[i], i, after[i]) <= 0.0:
            listed[count], place[i] = i, count
            count += 1
    here, left, missed = 1, size, 0
    for t in range(size - 2):
        while missed < left:
            a, c = before[here], after[here]
            work -= count
            if work < 0:
                return work
            if _is_ear(plane, a, here, c, listed[:count], place[here] < 0):
                break
            here = c
            missed += 1
        a, c = before[here], after[here]
        triangles[t, 0], triangles[t, 1], triangles[t, 2] = start + a, start + here, start + c
        after[a], before[c] = c, a
        left -= 1
        if missed <= left:  # else the outline crosses itself, and no corner that is left is an ear
            missed = 0
            count = _forgotten(here, listed, place, count)
            if _turn(plane, before[a], a, c) > 0.0:
                count = _forgotten(a, listed, place, count)
            if _turn(plane, a, c, after[c]) > 0.0:
                count = _forgotten(c, listed, place, count)
        here = c
    return work


@numba.njit(cache=True, nogil=True)
def _forgotten(corner: int, listed: NDArray[np.int32], place: NDArray[np.int32], count: int) -> int:
    """How many corners are listed without this one."""
    at = place[corner]
    if at < 0:
        return count
    last = listed[count - 1]
    listed[at], place[last] = last, at
    place[corner] = -1
    return count - 1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _is_ear(plane: NDArray[np.float64], a: int, b: int, c: int, inward: NDArray[np.int32], outward: bool) -> bool:
    if not outward:
        return _turn(plane, a, b, c) == 0.0  # straight, or back the way it came: nothing is cut off
    for p in inward:
        x, y = plane[p, 0], plane[p, 1]
        if (
            p != a
            and p != c
            and _turn(plane, a, b, p) >= 0.0
            and _turn(plane, b, c, p) >= 0.0
            and _turn(plane, c, a, p) >= 0.0
            and not (x == plane[a, 0] and y == plane[a, 1])
            and not (x == plane[b, 0] and y == plane[b, 1])
            and not (x == plane[c, 0] and y == plane[c, 1])
        ):
            return False
    return True
