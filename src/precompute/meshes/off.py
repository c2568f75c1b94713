"""OFF, the Object File Format of Geomview (the Geometry Center, 1996), as text: polygons, with colours.

Each vertex and each face stands on a line of its own, with as many numbers as the first has. Before OFF stand letters
for what vertices have: C colours, N normals, ST texture coordinates, for which the format has no picture. ModelNet
writes the counts on the first line. Geomview itself reads number after number, wherever lines end but behind the
corners of a face, where a colour may follow: what is not a file of such lines is read so, if it is one to its end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.mesh import Mesh, MeshPart
from captionless.precompute.meshes.decimals import decimal
from captionless.precompute.meshes.lexing import (
    after_blanks,
    after_white,
    is_end,
    line_end,
    line_of,
    noted,
    plain,
    shown,
    undecided,
    word_end,
    wrong,
)
from captionless.precompute.meshes.polygons import triangulated
from captionless.precompute.meshes.reading import Reading
from captionless.precompute.meshes.splitting import split
from captionless.precompute.meshes.told import Told
from captionless.precompute.meshes.written_colors import fractions, levels, light, see_through
from captionless.precompute.object_files import ObjectFiles
from captionless.spec.data import ReadingLimits

_BLANK = rb"(?:\s|#[^\r\n]*)*"
_GAP = rb"(?:\s|#[^\r\n]*)+"
_HEAD = re.compile(_BLANK + rb"(?:((?:st|[cn4])*)(off)(?![a-z]))?" + _BLANK, re.IGNORECASE)
_BINARY = re.compile(rb"binary\b", re.IGNORECASE)
_FREE_COUNTS = re.compile(rb"(\d{1,15})" + _GAP + rb"(\d{1,15})" + _GAP + rb"-?\d{1,15}(?=[\s#]|\Z)")
_COUNTS = re.compile(rb"(\d{1,15})[^\S\r\n]+(\d{1,15})(?:[^\S\r\n]+-?\d+)?[^\S\r\n]*(?:#[^\r\n]*)?(?=[\r\n]|\Z)")

_DONE, _ENDED, _NUMBER, _VALUES, _INDEX, _COLOR = range(6)
_LINES, _FREE, _PLAIN = range(3)
"""How numbers stand: on lines; as they come, colours of faces on the rest of a line; as they come, without these."""
_MOST_COLUMNS = 12  # x y z, a normal, four of a colour, two of a texture
_COLOR_VALUES = 4
_POINT = 4  # the column behind them: 1 where one of a face's has a point
_LEAST_OF_BOTH = 9  # columns with a normal and a colour


def read(data: bytes, files: ObjectFiles, limits: ReadingLimits) -> Reading:
    """The mesh of an OFF file; see `reading.Reader`."""
    data = plain(data)
    letters, at = _header(data)
    found = _contents(data, letters, at, limits)
    table, sizes, corners, colors = found.table, found.sizes, found.corners, found.colors
    told = Told()
    if found.beyond:
        told("faces dropped", f"what stands from line {found.beyond} on, behind the {len(sizes)} that are counted")
    kept = sizes >= 3
    if not kept.all():
        told("faces dropped", f"{int((~kept).sum())} of fewer than three corners")
        corners = corners[np.repeat(kept, sizes)]
        sizes, colors = sizes[kept], colors[kept]
    if len(corners) - 2 * len(sizes) > limits.faces:
        raise DataError(f"has more than {limits.faces} faces: simplify the mesh")
    positions = np.ascontiguousarray(table[:, :3])
    triangles, owners = triangulated(positions, sizes, corners)
    for piece in split(np.zeros(len(triangles), np.int32), corners[triangles], None, len(positions)):
        look = _look(_extra(table, letters), b"c" in letters, piece.positions, colors, owners, told)
        return Reading(Mesh((MeshPart(positions[piece.positions], piece.faces, **look),)), told.losses())
    return Reading(Mesh(), told.losses())


def _header(data: bytes) -> tuple[bytes, int]:
    """The letters before OFF, in lower case, and where the counts are sought."""
    head = _HEAD.match(data)
    letters, off = (head[1] or b"", head[2]) if head else (b"", None)
    at = head.end() if head else 0
    if b"4" in letters:
        raise DataError("4OFF is not read: its vertices have four coordinates")
    if off == b"OFF" and b"n" in letters:
        raise DataError("nOFF is not read: its vertices have any number of coordinates")
    if off and _BINARY.match(data, at):
        raise DataError("OFF BINARY is not read; expected text")
    if not off and not _COUNTS.match(data, at):
        raise DataError("is not an OFF file: it does not begin with OFF")
    return letters.lower(), at


@dataclass(frozen=True)
class _Contents:
    """table: (V, K) the numbers of vertices. sizes: (F,) of faces. corners: theirs, all in range. colors: (F, 5), NaN
    where a face has none, and `_POINT`. beyond: the line of what stands behind the last face, 0 if nothing does."""

    table: NDArray[np.float64]
    sizes: NDArray[np.int32]
    corners: NDArray[np.int32]
    colors: NDArray[np.float64]
    beyond: int


def _contents(data: bytes, letters: bytes, at: int, limits: ReadingLimits) -> _Contents:
    """What follows the letters: by lines, or else as it comes. DataError for what is wrong with the lines."""
    least = 3 + 3 * (b"n" in letters)
    try:
        if (counts := _COUNTS.match(data, at)) is None:
            raise wrong(data, at, "the numbers of vertices and faces")
        return _body(data, counts, least, 0, limits, _LINES)
    except DataError as error:
        if (counts := _FREE_COUNTS.match(data, at)) is None:
            raise
        colors = (4, 3) if b"c" in letters else (0,)
        for width, form in product(colors, (_FREE, _PLAIN)):
            try:
                return _body(data, counts, least, least + width + 2 * (b"st" in letters), limits, form)
            except DataError:
                continue
        raise error


def _extra(table: NDArray[np.float64], letters: bytes) -> NDArray[np.float64]:
    """What vertices have besides coordinates and normals that may be colours. Normals stand before colours; MeshLab
    writes them behind."""
    if b"st" in letters and b"c" not in letters:
        return table[:, :0]
    if b"n" not in letters:
        return table[:, 3:]
    if (table[:, 6:9] < 0).any() and table.shape[1] >= _LEAST_OF_BOTH and not (table[:, 3:-3] < 0).any():
        return table[:, 3:-3]
    return table[:, 6:]


def _look(
    extra: NDArray[np.float64],
    has_colors: bool,
    positions: NDArray[np.int32] | slice,
    colors: NDArray[np.float64],
    owners: NDArray[np.int32],
    told: Told,
) -> dict[str, Any]:
    """The vertices' colours, or else the faces'. extra: what vertices have besides coordinates and normals.
    has_colors: whether that is said to be colours."""
    if has_colors and 0 < extra.shape[1] < 3:
        told("colours dropped", "numbers of a colour map, which the file does not have")
    elif extra.shape[1] >= 3 and (extra[:, :3] < 0).any():
        told("colours dropped", "numbers of vertices in the place of colours, some of them negative")
    elif extra.shape[1] >= 3:
        own = light(extra[:, : _COLOR_VALUES if extra.shape[1] in (4, 6) else 3])[positions]
        if not own[:, 3].any():  # whoever writes that means nothing by it
            told("colours dropped", "an opacity of 0 everywhere")
            own[:, 3] = 1.0
        return {"color": (255, 255, 255), "vertex_colors": own, "alpha": see_through(own)}
    has: NDArray[np.bool_] = np.isfinite(colors[:, :3].sum(axis=1))
    if (np.isfinite(colors[:, 0]) & ~has).any():
        told("colours dropped", "numbers of a colour map, which the file does not have")
    if not has.any():
        return {}
    by_face = np.full((len(colors), 3), MeshPart.color, np.uint8)
    pointed = colors[:, _POINT] > 0
    for of in (has & pointed, has & ~pointed):  # whole numbers are of 255 also where others are fractions
        by_face[of] = levels(light(colors[of, :3]))
        if (fractions(colors[of, 3]) < 1.0).any():
            told("colours dropped", "the opacity of single faces")
    return {"face_colors": by_face[owners]}


def _body(
    data: bytes, counts: re.Match[bytes], least: int, columns: int, limits: ReadingLimits, form: int
) -> _Contents:
    """What follows the counts. least, columns: the numbers of a vertex, as many as the first line has for `_LINES`."""
    count_v, count_f, at = int(counts[1]), int(counts[2]), counts.end()
    if count_v > limits.vertices or count_f > limits.faces:
        raise DataError(
            f"has {count_f} faces of {count_v} vertices; at most {limits.faces} of {limits.vertices} are supported: "
            "simplify the mesh"
        )
    if 2 * (count_v + count_f) > len(data) - at + 1:  # a line has a character and an end
        raise DataError(f"has {count_v} vertices and {count_f} faces by its header, and ends before: it is truncated")
    text = np.frombuffer(data, np.uint8)
    if form == _LINES:
        columns = _columns(text, at) if count_v else least
    if count_v and not least <= columns <= _MOST_COLUMNS:
        raise wrong(data, _first_word(text, at), f"a line of {least} to {_MOST_COLUMNS} numbers of a vertex")
    if 2 * columns * count_v > len(data) - at + 1:
        raise DataError(f"has {count_v} vertices by its header, and ends before: it is truncated")
    table, sizes = np.empty((count_v, columns)), np.empty(count_f, np.int32)
    colors = np.full((count_f, _COLOR_VALUES + 1), np.nan)
    code, row, begin, notes, odd, total = _vertices(text, at, table, form)
    _raise(data, code, row, count_v, begin, "vertex", f"{columns} numbers, as the first vertex has")
    for which, column, start, end in notes[:odd].tolist():
        table[which, column] = undecided(data, start, end)
    code, row, stop, total = _measured(text, begin, sizes, form)
    _raise(data, code, row, count_f, stop, "face", "a number of corners")
    corners = np.empty(total, np.int32)
    code, row, stop = _faces(text, begin, count_v, sizes, corners, colors, form)
    _raise(data, code, row, count_f, stop, "face", f"a whole number from 0 to {count_v - 1}" if code == _INDEX else "")
    rest = _first_word(text, stop)
    if form != _LINES and rest < len(data):
        raise wrong(data, rest, "the end of the file")
    return _Contents(table, sizes, corners, colors, line_of(data, rest) if rest < len(data) else 0)


def _raise(data: bytes, code: int, row: int, count: int, at: int, what: str, expected: str) -> None:
    if code == _DONE:
        return
    if code == _ENDED or at >= len(data):
        raise DataError(f"ends within {what} {row} of {count}: it is truncated")
    if code == _COLOR:
        expected = "the end of the line, or a colour of 1, 3 or 4 numbers"
    if code == _NUMBER:
        expected = "a number"
    word = data[at : int(word_end(np.frombuffer(data, np.uint8), at))]
    found = f"not {shown(word)}" if word else "where the line ends"
    raise DataError(f"line {line_of(data, at)}: expected {expected}, {found}")


@numba.njit(cache=True, nogil=True)
def _first_word(data: NDArray[np.uint8], at: int) -> int:
    """Where the next line that is not blank or a comment begins."""
    at = after_white(data, at)
    while at < len(data) and data[at] == 35:
        at = after_white(data, line_end(data, at))
    return at


@numba.njit(cache=True, nogil=True)
def _ends(data: NDArray[np.uint8], at: int) -> bool:
    return at >= len(data) or is_end(data[at]) or data[at] == 35


@numba.njit(cache=True, nogil=True)
def _next(data: NDArray[np.uint8], at: int, form: int) -> int:
    """The next word of a row, or where there is none."""
    return after_blanks(data, at) if form == _LINES else _first_word(data, at)


@numba.njit(cache=True, nogil=True)
def _columns(data: NDArray[np.uint8], at: int) -> int:
    """The words on the next line."""
    count = 0
    at = _first_word(data, at)
    while not _ends(data, at):
        count += 1
        at = after_blanks(data, word_end(data, at))
    return count


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _vertices(
    data: NDArray[np.uint8], at: int, table: NDArray[np.float64], form: int
) -> tuple[int, int, int, NDArray[np.int64], int, int]:
    notes = np.empty((16, 4), np.int64)
    odd = 0
    for row in range(len(table)):
        at = _first_word(data, at)
        if at >= len(data):
            return _ENDED, row, at, notes, odd, 0
        for column in range(table.shape[1]):
            at = _next(data, at, form)
            if _ends(data, at):
                return _VALUES, row, at, notes, odd, 0
            value, after, decided = decimal(data, at, len(data))
            end = word_end(data, after)
            if not decided or end > after:
                notes = noted(notes, odd, row, column, at, end)
                odd += 1
                value = 0.0
            table[row, column] = value
            at = end
        if form == _LINES:
            at = after_blanks(data, at)
            if not _ends(data, at):
                return _VALUES, row, at, notes, odd, 0
            at = line_end(data, at)
    return _DONE, 0, at, notes, odd, 0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _measured(data: NDArray[np.uint8], at: int, sizes: NDArray[np.int32], form: int) -> tuple[int, int, int, int]:
    """Fills the sizes of faces, none larger than its line, or the file, is long; returns a code, the face, where, and
    their sum."""
    total = 0
    for row in range(len(sizes)):
        at = _first_word(data, at)
        if at >= len(data):
            return _ENDED, row, at, total
        value, after, decided = decimal(data, at, len(data))
        end = line_end(data, after) if form == _LINES else len(data)
        if not decided or word_end(data, after) > after or value < 0 or value != np.floor(value):
            return _VALUES, row, at, total
        if 2 * value > end - after:
            return (_ENDED if end >= len(data) else _INDEX), row, end, total
        sizes[row] = np.int32(value)
        total += sizes[row]
        at = end
        if form != _LINES:
            at = after
            for _ in range(sizes[row]):
                at = word_end(data, _first_word(data, at))
        if form == _FREE:
            at = line_end(data, at)
    return _DONE, 0, at, total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _faces(
    data: NDArray[np.uint8],
    at: int,
    vertices: int,
    sizes: NDArray[np.int32],
    corners: NDArray[np.int32],
    colors: NDArray[np.float64],
    form: int,
) -> tuple[int, int, int]:
    """Fills the corners of faces, and their colours; returns a code, the face, and where it arose."""
    c = 0
    for row in range(len(sizes)):
        colors[row, _POINT] = 0.0
        at = word_end(data, _first_word(data, at))
        for _ in range(sizes[row]):
            at = _next(data, at, form)
            if _ends(data, at):
                return _INDEX, row, at
            value, after, decided = decimal(data, at, len(data))
            if not decided or word_end(data, after) > after or not 0 <= value < vertices or value != np.floor(value):
                return _INDEX, row, at
            corners[c] = np.int32(value)
            c += 1
            at = after
        if form == _PLAIN:
            continue
        count = 0
        at = after_blanks(data, at)
        while not _ends(data, at):
            value, after, decided = decimal(data, at, len(data))
            if not decided or word_end(data, after) > after or count == _COLOR_VALUES:
                return _COLOR, row, at
            colors[row, count] = value
            if 46 in data[at:after]:
                colors[row, _POINT] = 1.0
            count += 1
            at = after_blanks(data, after)
        if count == 2:
            return _COLOR, row, at
        at = line_end(data, at)
    return _DONE, 0, at
