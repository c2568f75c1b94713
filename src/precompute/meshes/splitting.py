"""Triangles whose corners name a position and a texture coordinate each -> parts whose vertices have both."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

ALL = slice(None)
"""All of an array that it is the index of, without a copy."""


@dataclass(frozen=True)
class Piece:
    """The triangles of one group.

    triangles: (F,) their places among all. faces: (F, 3) int32 into the piece's own vertices, of which vertex i is at
    position `positions[i]` with the coordinate `coordinates[i]`, -1 where it has none. Both places are `ALL` in a piece
    that has all triangles and all positions.
    """

    group: int
    triangles: NDArray[np.int64] | slice
    faces: NDArray[np.int32]
    positions: NDArray[np.int32] | slice
    coordinates: NDArray[np.int32]


def split(
    groups: NDArray[np.integer], positions: NDArray[np.int32], coordinates: NDArray[np.int32] | None, count: int
) -> list[Piece]:
    """The pieces, by ascending group; the order of triangles within a group stays.

    groups: (T,) from 0 on. positions: (T, 3) from 0 to `count` - 1. coordinates: (T, 3) from -1 on, or None. A vertex
    is shared by the corners of a group that name the same two. The time is proportional to the numbers of corners,
    positions and coordinates, whatever they are.
    """
    if not len(groups):
        return []
    if coordinates is None and (groups == groups[0]).all():
        used = np.zeros(count, np.bool_)
        used[positions.reshape(-1)] = True
        if used.all():
            return [Piece(int(groups[0]), ALL, positions, ALL, np.broadcast_to(np.int32(-1), count))]
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    of = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(order)))
    corner_groups = np.repeat(of, 3).astype(np.int32)
    corner_positions = positions[order].reshape(-1)
    corner_coordinates = (
        np.full(len(corner_positions), -1, np.int32) if coordinates is None else coordinates[order].reshape(-1)
    )
    ranks = np.arange(len(corner_positions), dtype=np.int32)
    if coordinates is not None and not np.array_equal(corner_positions, corner_coordinates):
        ranks = _ranked(ranks, corner_coordinates + 1, int(corner_coordinates.max()) + 2)
    ranks = _ranked(ranks, corner_positions, count)
    if len(starts) > 1:
        ranks = _ranked(ranks, corner_groups, len(starts))
    vertices, firsts = _numbered(ranks, corner_groups, corner_positions, corner_coordinates)
    bounds = np.searchsorted(corner_groups[firsts], np.arange(len(starts) + 1))
    found = []
    for i, start in enumerate(starts):
        triangles = order[start : starts[i + 1] if i + 1 < len(starts) else len(order)]
        own = firsts[bounds[i] : bounds[i + 1]]
        faces = vertices[3 * start : 3 * (start + len(triangles))].reshape(-1, 3) - np.int32(bounds[i])
        found.append(Piece(int(groups[triangles[0]]), triangles, faces, corner_positions[own], corner_coordinates[own]))
    return found


@numba.njit(cache=True, nogil=True)
def _ranked(ranks: NDArray[np.int32], keys: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """`ranks`, places among the keys, by ascending key from 0 to `count` - 1; those of equal keys stay in order."""
    starts = np.zeros(count + 1, np.int64)
    for key in keys:
        starts[key + 1] += 1
    for i in range(count):
        starts[i + 1] += starts[i]
    found = np.empty_like(ranks)
    for place in ranks:
        key = keys[place]
        found[starts[key]] = place
        starts[key] += 1
    return found


@numba.njit(cache=True, nogil=True)
def _numbered(
    ranks: NDArray[np.int32], one: NDArray[np.int32], two: NDArray[np.int32], three: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """A number for each corner, equal where all three keys are, and the first corner of each number."""
    numbers = np.empty_like(ranks)
    firsts = np.empty_like(ranks)
    count = 0
    last = -1
    for corner in ranks:
        if last < 0 or one[corner] != one[last] or two[corner] != two[last] or three[corner] != three[last]:
            firsts[count] = corner
            count += 1
        numbers[corner] = count - 1
        last = corner
    return numbers, firsts[:count].copy()
