"""The lines of an OBJ file, compiled: one pass that counts what they hold, and one that reads it.

Statements end with their line; a backslash at a line's end continues it where numbers stand. Indices are resolved where
they stand: negative ones count back from there.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.precompute.meshes.decimals import decimal
from captionless.precompute.meshes.lexing import after_white, is_end, is_word, line_end, noted, word_end

NONE = -1
"""Of a corner without a texture coordinate."""

COMMENT, VERTEX, COORDINATE, FACE, LINE, USE, LIBRARY, PASSED, OTHER = range(9)
"""Statements. PASSED: normals, groups, smoothing, which change nothing that is seen."""

DONE, COLORED, NUMBER, FEW, INDEX, BEYOND, UNFINISHED = range(7)
"""How reading ends: with all lines, at a vertex with a colour, for which there is no place, or at what is wrong."""

VERTICES, COORDINATES, FACES, CORNERS, SHORT, ODD, LONG = range(7)
"""What is counted while reading: SHORT are faces of fewer than three corners, ODD the notes of `lexing.noted`, LONG the
vertices of more numbers than coordinates and a colour."""

_LEAST_COLORED, _MOST_COLORED = 6, 7  # numbers of a vertex: x y z r g b, and an opacity

_MOST_OTHER = 256  # statements of other kinds that are kept
_FARTHEST = 2**31 - 1


@numba.njit(cache=True, nogil=True)
def _continues(data: NDArray[np.uint8], at: int) -> bool:
    """Whether the byte is a backslash that continues its line."""
    return data[at] == 92 and at + 1 < len(data) and is_end(data[at + 1])


@numba.njit(cache=True, nogil=True)
def _within(data: NDArray[np.uint8], at: int) -> int:
    """The next word of a statement, or the end of its last line."""
    while at < len(data):
        if _continues(data, at):
            at += 2 if data[at + 1] == 13 and at + 2 < len(data) and data[at + 2] == 10 else 1
        elif is_end(data[at]) or data[at] > 32:
            return at
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def _is_cut(data: NDArray[np.uint8], at: int) -> bool:
    """Whether a word of a statement ends before this byte."""
    return at >= len(data) or data[at] <= 32 or _continues(data, at)


@numba.njit(cache=True, nogil=True)
def _cut(data: NDArray[np.uint8], at: int) -> int:
    """The end of a word of a statement."""
    while not _is_cut(data, at):
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def _ends(data: NDArray[np.uint8], at: int) -> bool:
    """Whether a statement ends here: with its line, the file, or before a comment."""
    return at >= len(data) or is_end(data[at]) or data[at] == 35


@numba.njit(cache=True, nogil=True)
def _kind(data: NDArray[np.uint8], at: int, end: int) -> int:
    first = data[at]
    if first == 35:
        return COMMENT
    if end - at == 1:
        if first == 118 or first == 86:
            return VERTEX
        if first == 102 or first == 70:
            return FACE
    if is_word(data, at, end, b"vt"):
        return COORDINATE
    if is_word(data, at, end, b"usemtl"):
        return USE
    if is_word(data, at, end, b"mtllib"):
        return LIBRARY
    if is_word(data, at, end, b"fo"):  # as faces were called before
        return FACE
    if is_word(data, at, end, b"l") or is_word(data, at, end, b"p"):
        return LINE
    if is_word(data, at, end, b"vn") or is_word(data, at, end, b"vp"):
        return PASSED
    if is_word(data, at, end, b"g") or is_word(data, at, end, b"o") or is_word(data, at, end, b"s"):
        return PASSED
    return OTHER


@numba.njit(cache=True, nogil=True)
def _named_end(data: NDArray[np.uint8], at: int) -> int:
    """The end of a statement of names: a backslash continues it only after a blank, since names of folders end with
    one."""
    while True:
        end = line_end(data, at)
        if end >= len(data) or end - at < 2 or data[end - 1] != 92 or data[end - 2] > 32:
            return end
        at = end + (2 if data[end] == 13 and end + 1 < len(data) and data[end + 1] == 10 else 1)


@numba.njit(cache=True, nogil=True)
def counted(data: NDArray[np.uint8], face: int) -> tuple[int, int, int, int, int, int, bool]:
    """Vertices, coordinates, faces, their corners, statements that are kept, those of lines, and whether the first
    vertex has a colour. With `face` >= 0, in place of the statements: where the face of that number stands."""
    vertices = coordinates = faces = corners = kept = lines = others = 0
    colored = False
    at = 0
    while True:
        at = after_white(data, at)
        if at >= len(data):
            break
        end = word_end(data, at)
        kind = _kind(data, at, end)
        if kind in (VERTEX, COORDINATE, FACE):
            words = 0
            end = _within(data, end)
            while not _ends(data, end):
                words += 1
                end = _within(data, _cut(data, end))
            if kind == VERTEX:
                colored = colored or (vertices == 0 and _LEAST_COLORED <= words <= _MOST_COLORED)
                vertices += 1
            elif kind == COORDINATE:
                coordinates += 1
            elif words >= 3:
                if faces == face:
                    return vertices, coordinates, faces, corners, at, lines, colored
                faces += 1
                corners += words
        elif kind == LINE:
            lines += 1
        elif kind in (USE, LIBRARY) or (kind == OTHER and others < _MOST_OTHER):
            kept += 1
            others += kind == OTHER
            end = _named_end(data, end)
        at = line_end(data, end)
    return vertices, coordinates, faces, corners, kept, lines, colored


@numba.njit(cache=True, nogil=True, error_model="numpy")
def filled(
    data: NDArray[np.uint8],
    vertices: NDArray[np.float64],
    colors: NDArray[np.float32],
    coordinates: NDArray[np.float64],
    sizes: NDArray[np.int32],
    corners: NDArray[np.int32],
    statements: NDArray[np.int64],
    done: NDArray[np.int64],
) -> tuple[int, int, NDArray[np.int64]]:
    """Fills the arrays, and `done` with how much; returns a code, where it arose, and what `noted` has noted, with row
    -1 - n for coordinate n."""
    notes = np.empty((16, 4), np.int64)
    kept = others = 0
    code = DONE
    at = 0
    while code == DONE:
        at = after_white(data, at)
        if at >= len(data):
            break
        begin = at
        at = word_end(data, at)
        kind = _kind(data, begin, at)
        if kind == VERTEX:
            code, at, notes = _vertex(data, at, vertices, colors, done, notes)
        elif kind == COORDINATE:
            code, at, notes = _coordinate(data, at, coordinates, done, notes)
        elif kind == FACE:
            code, at = _face(data, at, sizes, corners, done)
        elif kind in (USE, LIBRARY) or (kind == OTHER and others < _MOST_OTHER):
            others += kind == OTHER
            at = _named_end(data, at)
            statements[kept, 0] = kind
            statements[kept, 1] = done[FACES]
            statements[kept, 2] = begin
            statements[kept, 3] = at
            kept += 1
        if code == DONE:
            at = line_end(data, at)
    return code, at, notes


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _vertex(
    data: NDArray[np.uint8],
    at: int,
    vertices: NDArray[np.float64],
    colors: NDArray[np.float32],
    done: NDArray[np.int64],
    notes: NDArray[np.int64],
) -> tuple[int, int, NDArray[np.int64]]:
    v = done[VERTICES]
    red = green = blue = np.nan
    opacity = 1.0
    column = 0
    at = _within(data, at)
    while not _ends(data, at):
        value, after, decided = decimal(data, at, len(data))
        if not decided or not _is_cut(data, after):
            after = _cut(data, at)
            notes = noted(notes, done[ODD], v, column, at, after)
            done[ODD] += 1
            value = 0.0
        if column < 3:
            vertices[v, column] = value
        elif column == 3:
            red = value
        elif column == 4:
            green = value
        elif column == 5:
            blue = value
        elif column == 6:
            opacity = value
        column += 1
        at = _within(data, after)
    if column < 3:
        return FEW, at, notes
    # a fourth is a weight, which says nothing here; of eight or more, which are the colour cannot be known
    if column < _LEAST_COLORED or column > _MOST_COLORED:
        red = green = blue = np.nan
        done[LONG] += column > _MOST_COLORED
    elif len(colors) == 0:
        return COLORED, at, notes
    if len(colors):
        colors[v, 0] = red
        colors[v, 1] = green
        colors[v, 2] = blue
        colors[v, 3] = opacity
    done[VERTICES] += 1
    return DONE, at, notes


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _coordinate(
    data: NDArray[np.uint8],
    at: int,
    coordinates: NDArray[np.float64],
    done: NDArray[np.int64],
    notes: NDArray[np.int64],
) -> tuple[int, int, NDArray[np.int64]]:
    t = done[COORDINATES]
    coordinates[t, 1] = 0.0
    column = 0
    at = _within(data, at)
    while not _ends(data, at):
        value, after, decided = decimal(data, at, len(data))
        if not decided or not _is_cut(data, after):
            after = _cut(data, at)
            if column < 2:
                notes = noted(notes, done[ODD], -1 - t, column, at, after)
                done[ODD] += 1
            value = 0.0
        if column < 2:
            coordinates[t, column] = value
        column += 1
        at = _within(data, after)
    done[COORDINATES] += 1
    return (DONE if column else NUMBER), at, notes


@numba.njit(cache=True, nogil=True)
def _face(
    data: NDArray[np.uint8], at: int, sizes: NDArray[np.int32], corners: NDArray[np.int32], done: NDArray[np.int64]
) -> tuple[int, int]:
    at = _within(data, at)
    c = done[CORNERS]
    while not _ends(data, at):
        vertex, after = _index(data, at)
        if after == at or vertex == 0:
            return INDEX, at
        coordinate = 0
        if after < len(data) and data[after] == 47:
            coordinate, after = _index(data, after + 1)
            if after < len(data) and data[after] == 47:
                _, after = _index(data, after + 1)
        if not _is_cut(data, after):
            return INDEX, at
        vertex = vertex - 1 if vertex > 0 else done[VERTICES] + vertex
        if coordinate + done[COORDINATES] < 0:
            return BEYOND, at
        coordinate = coordinate - 1 if coordinate >= 0 else done[COORDINATES] + coordinate
        if vertex < 0 or vertex >= _FARTHEST or coordinate >= _FARTHEST:
            return BEYOND, at
        if c < corners.shape[1]:  # else of a face that is unfinished, after all others
            corners[0, c] = vertex
            corners[1, c] = coordinate
        c += 1
        at = _within(data, after)
    if c - done[CORNERS] < 3:
        done[SHORT] += 1
        return (UNFINISHED if at >= len(data) else DONE), at
    sizes[done[FACES]] = c - done[CORNERS]
    done[FACES] += 1
    done[CORNERS] = c
    return DONE, at


@numba.njit(cache=True, nogil=True)
def _index(data: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """A whole number and where it ends, which is where it begins if there is none; one too large is cut."""
    begin = at
    negative = at < len(data) and data[at] == 45
    if at < len(data) and (negative or data[at] == 43):
        at += 1
    digits = at
    value = 0
    while at < len(data) and 48 <= data[at] <= 57:
        if value < _FARTHEST:
            value = value * 10 + int(data[at] - 48)
        at += 1
    if at == digits:
        return 0, begin
    return (-value if negative else value), at
