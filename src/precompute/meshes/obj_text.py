"""The text of an OBJ file -> its numbers, with the errors about it; statements of other kinds are left to `obj`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.precompute.meshes.lexing import line_of, undecided, wrong
from captionless.precompute.meshes.obj_lines import (
    BEYOND,
    COLORED,
    DONE,
    FEW,
    INDEX,
    LONG,
    NUMBER,
    ODD,
    SHORT,
    UNFINISHED,
    counted,
    filled,
)
from captionless.spec.data import ReadingLimits


@dataclass(frozen=True)
class Statement:
    """One whose words `obj` reads: its kind, the faces before it, and its text with its keyword."""

    kind: int
    faces: int
    text: bytes


@dataclass(frozen=True)
class ObjText:
    """What stands in an OBJ file.

    vertices: (V, 3) float64. colors: (V, 4) float32 as written, NaN where a vertex has none; None if none has.
    coordinates: (C, 2) float64. sizes: (F,) int32, corners of each face. corners: (2, sum of sizes) int32: the vertex
    of each and its texture coordinate, or `NONE`; all are in range. unfinished: faces of fewer than three corners,
    which are left out. lines: statements of points and lines. long: vertices of more numbers than coordinates and a
    colour, of which only the coordinates are taken.
    """

    vertices: NDArray[np.float64]
    colors: NDArray[np.float32] | None
    coordinates: NDArray[np.float64]
    sizes: NDArray[np.int32]
    corners: NDArray[np.int32]
    statements: list[Statement]
    unfinished: int
    lines: int
    long: int


def scanned(data: bytes, limits: ReadingLimits) -> ObjText:
    """DataError, with the line's number, when a vertex, coordinate or face is not as the format says, or names what is
    not there; or when there are more of them than the limits allow."""
    text = np.frombuffer(data, np.uint8)
    count_v, count_t, count_f, count_c, count_s, lines, colored = counted(text, -1)
    if count_v > limits.vertices:
        raise DataError(f"has {count_v} vertices; at most {limits.vertices} are supported: simplify the mesh")
    if count_c - 2 * count_f > limits.faces:
        raise DataError(f"has {count_c - 2 * count_f} faces; at most {limits.faces} are supported: simplify the mesh")
    vertices, coordinates = np.empty((count_v, 3)), np.empty((count_t, 2))
    sizes, corners = np.empty(count_f, np.int32), np.empty((2, count_c), np.int32)
    found = np.empty((count_s, 4), np.int64)
    while True:
        colors = np.empty((count_v if colored else 0, 4), np.float32)
        done = np.zeros(7, np.int64)
        code, at, notes = filled(text, vertices, colors, coordinates, sizes, corners, found, done)
        if code != COLORED:
            break
        colored = True  # though the first vertex is not
    if code != DONE:
        raise _error(data, code, at)
    for row, column, start, end in notes[: done[ODD]].tolist():
        value = undecided(data, start, end)
        if row < 0:
            coordinates[-1 - row, column] = value
        elif column < 3:
            vertices[row, column] = value
        elif colored and column < 7:
            colors[row, column - 3] = value
    _check(data, text, sizes, corners, count_v, count_t)
    statements = [Statement(kind, before, data[a:b]) for kind, before, a, b in found.tolist()]
    written = colors if colored else None
    short, long = int(done[SHORT]), int(done[LONG])
    return ObjText(vertices, written, coordinates, sizes, corners, statements, short, lines, long)


def _error(data: bytes, code: int, at: int) -> DataError:
    if code == BEYOND:
        return DataError(f"line {line_of(data, at)}: an index names what is not there")
    expected = {
        NUMBER: "a number",
        FEW: "three coordinates of a vertex",
        INDEX: "an index of a vertex, as in 1, 1/2, 1//3 or 1/2/3",
        UNFINISHED: "three corners of a face",
    }
    return wrong(data, at, expected[code])


def _check(
    data: bytes,
    text: NDArray[np.uint8],
    sizes: NDArray[np.int32],
    corners: NDArray[np.int32],
    count_v: int,
    count_t: int,
) -> None:
    for of, count, what in ((corners[0], count_v, "vertex"), (corners[1], count_t, "texture coordinate")):
        if len(of) and of.max() >= count:
            first = int(np.argmax(of >= count))
            face = int(np.searchsorted(np.cumsum(sizes), first, "right"))
            at = int(counted(text, face)[4])
            raise DataError(f"line {line_of(data, at)}: a face names {what} {int(of[first]) + 1} of {count}")
