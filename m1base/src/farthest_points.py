"""Exact farthest point sampling on a CPU, compiled by numba: what packing and the encoders have in common.

Each point is the farthest from those before it, the lowest index among equals. Squared distances are formed as
(dx*dx + dy*dy) + dz*dz in the points' own type, without fused multiply-add, so that ties fall as they do in plain
arithmetic.

Points near one another form blocks, and blocks near one another panels. A block or panel is passed over whose bounding
box is no nearer to the new sample than each of its points is to some sample before. Rounding is monotonic, so that the
distance to the box, computed as that to a point is, is never above one to a point in it, and nothing that would change
is passed over. The farthest point is looked for in the same way, in the panels and blocks that have it.

What is near is found by sorting along the Z-order curve of a grid that is fine enough for clouds with outliers.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_BLOCK = 32
"""Points that share a bounding box."""

_PANEL = 16
"""Boxes that share one, and whose distances are computed together."""

_BITS = 10
_CELLS = 1 << _BITS
"""Along each axis, of the grid whose cells order the points."""

_SPREAD = np.array([sum((i >> bit & 1) << 3 * bit for bit in range(_BITS)) for i in range(_CELLS)], np.int32)
"""The bits of a cell's number at every third place: three of them make a cell's place on the Z-order curve."""

_NONE = np.int32(2**31 - 1)


@numba.njit(cache=True, nogil=True)
def sample(xyz: NDArray[np.floating], out: NDArray[np.int64]) -> None:
    """Fill `out` (B, m) with the indices of m points of each cloud of `xyz` (B, N, 3), beginning with point 0.

    m <= N. Where all that are left coincide with samples, point 0 is repeated.

    `blocks` holds x, y, z and the distance of a block's points; `boxes` and `outer` the bounds of a panel of blocks,
    or of panels: x, y and z at least, at most, and the distance. Rows at constant places of one array are what lets
    the short loops vectorise.
    """
    batch, n, _ = xyz.shape
    panels = -(-n // (_BLOCK * _PANEL))
    outers = -(-panels // _PANEL)
    size = panels * _PANEL * _BLOCK
    order = np.zeros(size, np.int32)  # the last blocks are filled up with copies of point 0, which is always nearest
    blocks, room = np.empty(4 * size, xyz.dtype), np.empty(_BLOCK, xyz.dtype)
    boxes, outer = np.empty(panels * 7 * _PANEL, xyz.dtype), np.zeros(outers * 7 * _PANEL, xyz.dtype)
    top, outer_top = np.empty(panels * _PANEL, xyz.dtype), np.empty(panels, xyz.dtype)
    first = np.empty(panels * _PANEL, np.int32)
    for b in range(batch):
        points = xyz[b]
        _order_by_cell(points, order)
        _fill(points, order, blocks, boxes, outer)
        top[:] = np.inf
        outer_top[:] = np.inf
        first[:] = -1
        last = 0
        out[b, 0] = last
        for i in range(1, out.shape[1]):
            px, py, pz = points[last, 0], points[last, 1], points[last, 2]
            for o in range(outers):
                box = outer[o * 7 * _PANEL : (o + 1) * 7 * _PANEL]
                _distance_to_boxes(box, px, py, pz)
                for panel in range(o * _PANEL, min((o + 1) * _PANEL, panels)):
                    if box[6 * _PANEL + panel % _PANEL] < outer_top[panel]:
                        outer_top[panel] = _update(
                            boxes[panel * 7 * _PANEL : (panel + 1) * 7 * _PANEL],
                            top[panel * _PANEL : (panel + 1) * _PANEL],
                            first[panel * _PANEL : (panel + 1) * _PANEL],
                            blocks[panel * 4 * _PANEL * _BLOCK : (panel + 1) * 4 * _PANEL * _BLOCK],
                            px, py, pz, room,
                        )  # fmt: skip
            largest = _largest(outer_top)
            if largest == 0:
                out[b, i:] = 0
                break
            last = int(_first_farthest(largest, outer_top, top, first, blocks, order))
            if last == _NONE:  # distances are no numbers
                last = 0
            out[b, i] = last


@numba.njit(cache=True, nogil=True)
def _order_by_cell(points: NDArray[np.floating], order: NDArray[np.int32]) -> None:
    """The numbers of the points along the Z-order curve, by a radix sort of as many bits as an axis has cells."""
    n = len(points)
    low, step = np.empty(3, points.dtype), np.empty(3, points.dtype)
    for axis in range(3):
        low[axis] = points[:, axis].min()
        extent = points[:, axis].max() - low[axis]
        step[axis] = _CELLS * 0.999 / extent if extent > 0 else 0
    cells = np.zeros(n, np.int32)
    for j in range(n):
        for axis in range(3):
            place = (points[j, axis] - low[axis]) * step[axis]
            if place >= 0 and place < _CELLS:  # NaN is in cell 0
                cells[j] |= _SPREAD[int(place)] << axis
    before, ends = np.arange(n).astype(np.int32), np.empty(_CELLS + 1, np.int32)
    for digit in range(3):
        shift = _BITS * digit
        ends[:] = 0
        for j in range(n):
            ends[(cells[j] >> shift & _CELLS - 1) + 1] += 1
        for cell in range(_CELLS):
            ends[cell + 1] += ends[cell]
        for number in before:
            value = cells[number] >> shift & _CELLS - 1
            order[ends[value]] = number
            ends[value] += 1
        before[:] = order[:n]


@numba.njit(cache=True, nogil=True)
def _fill(
    points: NDArray[np.floating],
    order: NDArray[np.int32],
    blocks: NDArray[np.floating],
    boxes: NDArray[np.floating],
    outer: NDArray[np.floating],
) -> None:
    """The blocks of the points in that order, and the bounds of blocks and of panels."""
    for k in range(len(order) // _BLOCK):
        for axis in range(3):
            row = blocks[(4 * k + axis) * _BLOCK : (4 * k + axis + 1) * _BLOCK]
            for j in range(_BLOCK):
                row[j] = points[order[k * _BLOCK + j], axis]
            at = (k // _PANEL * 7 + axis) * _PANEL + k % _PANEL
            boxes[at], boxes[at + 3 * _PANEL] = row.min(), row.max()
        blocks[(4 * k + 3) * _BLOCK : (4 * k + 4) * _BLOCK] = np.inf
    for p in range(len(order) // (_BLOCK * _PANEL)):
        for axis in range(3):
            low = boxes[(7 * p + axis) * _PANEL : (7 * p + axis + 1) * _PANEL]
            high = boxes[(7 * p + axis + 3) * _PANEL : (7 * p + axis + 4) * _PANEL]
            at = (p // _PANEL * 7 + axis) * _PANEL + p % _PANEL
            outer[at], outer[at + 3 * _PANEL] = low.min(), high.max()


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


@numba.njit(cache=True, nogil=True)
def _update(
    boxes: NDArray[np.floating],
    top: NDArray[np.floating],
    first: NDArray[np.int32],
    blocks: NDArray[np.floating],
    px: np.floating,
    py: np.floating,
    pz: np.floating,
    room: NDArray[np.floating],
) -> np.floating:
    """The distances of a panel's points brought up to date; returns the largest."""
    _distance_to_boxes(boxes, px, py, pz)
    for k in range(_PANEL):
        if boxes[6 * _PANEL + k] < top[k]:
            top[k] = _keep_nearer(blocks[4 * _BLOCK * k : 4 * _BLOCK * (k + 1)], px, py, pz, room)
            first[k] = -1  # to be found when it is asked for
    return _largest(top)


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
def _largest(values: NDArray[np.floating]) -> np.floating:
    largest: np.floating = values[0]
    for value in values:
        largest = max(largest, value)
    return largest


@numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _lowest_at(distance: np.floating, distances: NDArray[np.floating], numbers: NDArray[np.int32]) -> np.int32:
    """The lowest of the numbers that are at that distance."""
    lowest = _NONE
    for k in range(len(numbers)):
        lowest = min(lowest, numbers[k] if distances[k] == distance else _NONE)
    return lowest


@numba.njit(cache=True, nogil=True)
def _first_farthest(
    largest: np.floating,
    outer_top: NDArray[np.floating],
    top: NDArray[np.floating],
    first: NDArray[np.int32],
    blocks: NDArray[np.floating],
    order: NDArray[np.int32],
) -> np.int32:
    """The lowest number of a point at the largest distance. A block's own is kept in `first`: on a grid, where a great
    many points are equally far, most blocks have been looked through before."""
    lowest = _NONE
    for panel in range(len(outer_top)):
        if outer_top[panel] == largest:
            for k in range(panel * _PANEL, (panel + 1) * _PANEL):
                if top[k] == largest:
                    if first[k] < 0:
                        distances = blocks[(4 * k + 3) * _BLOCK : (4 * k + 4) * _BLOCK]
                        first[k] = _lowest_at(largest, distances, order[k * _BLOCK : (k + 1) * _BLOCK])
                    lowest = min(lowest, first[k])
    return lowest
