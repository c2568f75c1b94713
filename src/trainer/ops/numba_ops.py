"""The point-set operators as kernels for CPUs, compiled by numba; they release the GIL.

Each fills `out` for a batch of clouds, (B, N, 3) contiguous, as the operator of the same name in `point_sets` says.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_BLOCK = 32
"""Points that share a bounding box."""

_PANEL = 16
"""Boxes whose distances are computed together."""

_CELLS = 16
"""Along each axis, of the grid whose cells order the points."""

_SPREAD = np.array([sum((i >> bit & 1) << 3 * bit for bit in range(4)) for i in range(_CELLS)])
"""The bits of a cell's number at every third place: three of them make a cell's place on the Z-order curve."""


@numba.njit(cache=True, nogil=True)
def farthest_point_sample(xyz: NDArray[np.floating], out: NDArray[np.int64]) -> None:
    """Points near one another form blocks, and a block is passed over whose bounding box is no nearer to the new sample
    than each of its points is to some sample before. Rounding is monotonic, so that the distance to the box, computed
    as that to a point is, is never above one to a point in it, and nothing that would change is passed over.

    `blocks` holds x, y, z and the distance of a block's points, `boxes` the bounds of a panel of blocks: x, y and z at
    least, at most, and the distance. Rows at constant places of one array are what lets the short loops vectorise.
    """
    batch, n, _ = xyz.shape
    panels = -(-n // (_BLOCK * _PANEL))
    size = panels * _PANEL * _BLOCK
    order = np.zeros(size, np.int32)  # the last blocks are filled up with copies of point 0, which is always nearest
    blocks, boxes = np.empty(4 * size, xyz.dtype), np.empty(panels * 7 * _PANEL, xyz.dtype)
    top, room = np.empty(panels * _PANEL, xyz.dtype), np.empty(_BLOCK, xyz.dtype)
    for b in range(batch):
        points = xyz[b]
        _order_by_cell(points, order)
        for k in range(len(top)):
            for axis in range(3):
                row = blocks[(4 * k + axis) * _BLOCK : (4 * k + axis + 1) * _BLOCK]
                for j in range(_BLOCK):
                    row[j] = points[order[k * _BLOCK + j], axis]
                at = (k // _PANEL * 7 + axis) * _PANEL + k % _PANEL
                boxes[at], boxes[at + 3 * _PANEL] = row.min(), row.max()
            blocks[(4 * k + 3) * _BLOCK : (4 * k + 4) * _BLOCK] = np.inf
        top[:] = np.inf
        last = out[b, 0] = 0
        for i in range(1, out.shape[1]):
            px, py, pz = points[last, 0], points[last, 1], points[last, 2]
            for panel in range(panels):
                box = boxes[panel * 7 * _PANEL : (panel + 1) * 7 * _PANEL]
                _distance_to_boxes(box, px, py, pz)
                for k in range(_PANEL):
                    block = panel * _PANEL + k
                    if box[6 * _PANEL + k] < top[block]:
                        top[block] = _keep_nearer(
                            blocks[4 * _BLOCK * block : 4 * _BLOCK * (block + 1)], px, py, pz, room
                        )
            out[b, i] = _first_farthest(top, blocks, order)
            last = out[b, i]


@numba.njit(cache=True, nogil=True)
def _order_by_cell(points: NDArray[np.floating], order: NDArray[np.int32]) -> None:
    """The numbers of the points, cell after cell of a grid along the Z-order curve."""
    n = len(points)
    low, step = np.empty(3, points.dtype), np.empty(3, points.dtype)
    for axis in range(3):
        low[axis] = points[:, axis].min()
        extent = points[:, axis].max() - low[axis]
        step[axis] = _CELLS * 0.999 / extent if extent > 0 else 0
    cells = np.empty(n, np.int64)
    ends = np.zeros(_CELLS**3 + 1, np.int32)
    for j in range(n):
        cell = 0
        for axis in range(3):
            place = (points[j, axis] - low[axis]) * step[axis]
            if place >= 0 and place < _CELLS:  # NaN is in cell 0
                cell |= _SPREAD[int(place)] << axis
        cells[j] = cell
        ends[cell + 1] += 1
    for cell in range(_CELLS**3):
        ends[cell + 1] += ends[cell]
    for j in range(n):
        order[ends[cells[j]]] = j
        ends[cells[j]] += 1


# Below, minima and maxima are one instruction each where NaN and the sign of 0 need no care; no value changes.
@numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _distance_to_boxes(boxes: NDArray[np.floating], px: np.floating, py: np.floating, pz: np.floating) -> None:
    """Squared distances of a panel's boxes from a point."""
    zero = boxes.dtype.type(0)
    for k in range(_PANEL):
        dx = max(max(boxes[k] - px, px - boxes[k + 3 * _PANEL]), zero)
        dy = max(max(boxes[k + _PANEL] - py, py - boxes[k + 4 * _PANEL]), zero)
        dz = max(max(boxes[k + 2 * _PANEL] - pz, pz - boxes[k + 5 * _PANEL]), zero)
        boxes[k + 6 * _PANEL] = (dx * dx + dy * dy) + dz * dz


@numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _keep_nearer(
    block: NDArray[np.floating], px: np.floating, py: np.floating, pz: np.floating, room: NDArray[np.floating]
) -> np.floating:
    """The squared distances of a block's points brought up to date; returns the largest.

    By way of `room`: a minimum stored where it was loaded from becomes a masked store, which is slow; and the second
    loop, of a length that the compiler does not know, is not unrolled into single numbers.
    """
    for j in range(_BLOCK):
        dx, dy, dz = block[j] - px, block[j + _BLOCK] - py, block[j + 2 * _BLOCK] - pz
        room[j] = min((dx * dx + dy * dy) + dz * dz, block[j + 3 * _BLOCK])
    top = block.dtype.type(0)
    for j in range(len(room)):
        top = max(top, room[j])
        block[j + 3 * _BLOCK] = room[j]
    return top


@numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _first_farthest(top: NDArray[np.floating], blocks: NDArray[np.floating], order: NDArray[np.int32]) -> np.int32:
    """The lowest number of a point at the largest distance."""
    largest = top[0]
    for value in top:
        largest = max(largest, value)
    none = np.int32(len(order))
    first = none
    for k in range(len(top)):
        if top[k] == largest:
            for j in range(_BLOCK):
                first = min(first, order[k * _BLOCK + j] if blocks[(4 * k + 3) * _BLOCK + j] == largest else none)
    return first if first < none else np.int32(0)


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
