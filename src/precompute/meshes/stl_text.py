"""The text of an STL file -> its facets, compiled.

solid NAME, then facets, then endsolid NAME, any number of times; blanks and lines as anybody likes. A name ends with
its line, or where a facet begins. Normals are passed over: exporters write anything there.
"""

from __future__ import annotations

import re

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.precompute.meshes.decimals import decimal
from captionless.precompute.meshes.lexing import (
    after_white,
    is_end,
    is_word,
    noted,
    undecided,
    word_end,
    wrong,
)
from captionless.spec.data import ReadingLimits

_SEPARATING = re.compile(rb",(?=\s)|(?<=\s),")
_JOINED = re.compile(rb"\bvertex\s+[^\s,]+,[^\s,]+,[^\s,]+\s", re.IGNORECASE)

_DONE, _KEYWORD, _NUMBER, _SHORT, _CUT = range(5)


def facets(data: bytes, limits: ReadingLimits) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Vertices (V, 3) of all facets, one after the other, and (F,) how many each has, at least 3. DataError, with the
    line's number, at what is no statement, no number, or a facet that is not whole."""
    if b"," in data:
        data = _without_commas(data)
    text = np.frombuffer(data, np.uint8)
    most = len(data) // 12 + 1  # "vertex 0 0 0" and a blank
    size = _vertices(text)
    if size > 3 * limits.faces:
        raise DataError(f"has more than {limits.faces} faces: simplify the mesh")
    vertices, sizes = np.empty((min(size, most), 3)), np.empty(min(size, most) // 3 + 1, np.int32)
    code, at, count, faces, notes, odd = _filled(text, vertices, sizes)
    for row, column, start, end in notes[:odd].tolist():
        vertices[row, column] = undecided(data, start, end)
    if code == _CUT:
        raise DataError("ends within a facet: it is truncated")
    if code != _DONE:
        expected = {_KEYWORD: "a statement of an STL file", _NUMBER: "a number", _SHORT: "three vertices of a facet"}
        raise wrong(data, at, expected[code])
    return vertices[:count], sizes[:faces]


def _without_commas(data: bytes) -> bytes:
    """With blanks for commas between numbers, and points for those in them."""
    separated = _SEPARATING.sub(b" ", data)
    return separated.replace(b",", b" " if _JOINED.search(separated) else b".")


@numba.njit(cache=True, nogil=True)
def _vertices(data: NDArray[np.uint8]) -> int:
    """The words that are `vertex`, also those in names."""
    count = at = 0
    while at < len(data):
        at = after_white(data, at)
        end = word_end(data, at)
        count += is_word(data, at, end, b"vertex")
        at = end
    return count


@numba.njit(cache=True, nogil=True)
def _after_name(data: NDArray[np.uint8], at: int) -> int:
    """Where the name that stands at `at` ends: with its line, or before a facet, which has numbers where names have
    not."""
    while at < len(data) and not is_end(data[at]):
        if data[at] <= 32:
            at += 1
            continue
        end = word_end(data, at)
        if is_word(data, at, end, b"facet"):
            second = after_white(data, end)
            after = word_end(data, second)
            if is_word(data, second, after, b"normal"):
                _, _, decided = decimal(data, after_white(data, after), len(data))
                if decided:
                    return at
        at = end
    return at


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _filled(
    data: NDArray[np.uint8], vertices: NDArray[np.float64], sizes: NDArray[np.int32]
) -> tuple[int, int, int, int, NDArray[np.int64], int]:
    """Fills the arrays; returns a code, where it arose, how many vertices and facets there are, and what `noted` has
    noted."""
    notes = np.empty((16, 4), np.int64)
    odd = count = faces = at = 0
    first = -1  # vertex of the facet that is being read
    apart = False  # whether the word before is `end`, which some write apart from what ends
    while True:
        at = after_white(data, at)
        if at >= len(data):
            return (_CUT if first >= 0 else _DONE), at, count, faces, notes, odd
        begin = at
        at = word_end(data, at)
        ends, apart = apart, False
        if is_word(data, begin, at, b"vertex"):
            if first < 0:
                return _KEYWORD, begin, count, faces, notes, odd
            for column in range(3):
                start = after_white(data, at)
                value, at, decided = decimal(data, start, len(data))
                end = word_end(data, at)
                if start >= len(data):
                    return _CUT, start, count, faces, notes, odd
                if not decided or end > at:
                    notes = noted(notes, odd, count, column, start, end)
                    odd += 1
                    value, at = 0.0, end
                vertices[count, column] = value
            count += 1
        elif is_word(data, begin, at, b"facet") and not ends:
            if first >= 0:
                return _SHORT, begin, count, faces, notes, odd
            first = count
            while True:  # the normal
                start = after_white(data, at)
                at = word_end(data, start)
                if start >= len(data):
                    return _CUT, start, count, faces, notes, odd
                if is_word(data, start, at, b"outer"):
                    break
                if is_word(data, start, at, b"vertex") or is_word(data, start, at, b"endfacet"):
                    return _KEYWORD, start, count, faces, notes, odd
        elif is_word(data, begin, at, b"endfacet") or is_word(data, begin, at, b"facet"):
            if first < 0 or count - first < 3:
                return _SHORT, begin, count, faces, notes, odd
            sizes[faces] = count - first
            faces += 1
            first = -1
        elif is_word(data, begin, at, b"solid") or is_word(data, begin, at, b"endsolid"):
            if first >= 0:
                return _SHORT, begin, count, faces, notes, odd
            at = _after_name(data, at)
        elif is_word(data, begin, at, b"end"):
            apart = True
        elif not (is_word(data, begin, at, b"loop") or is_word(data, begin, at, b"endloop")):
            return _KEYWORD, begin, count, faces, notes, odd
