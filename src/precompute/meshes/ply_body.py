"""The body of a PLY file, text or binary -> the values of the properties that are wanted, compiled.

What the header counts is compared with the bytes that are there before anything is made that large.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.precompute.meshes.decimals import decimal
from captionless.precompute.meshes.lexing import (
    after_blanks,
    after_white,
    is_end,
    line_of,
    noted,
    shown,
    undecided,
    word_end,
)
from captionless.precompute.meshes.ply_header import Element, Header

_TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")
_SIZES = np.array([np.dtype(t).itemsize for t in _TYPES])
_LITTLE, _BIG, _TEXT = range(3)
_FORMS = {"ascii": _TEXT, "binary_little_endian": _LITTLE, "binary_big_endian": _BIG}
_EVEN = 64  # the longest lists that are looked at as a table
_DONE, _ENDED, _LENGTH, _MORE = range(4)


@dataclass(frozen=True)
class Lists:
    """A property of lists: (N,) their lengths and all their values, one list after the other."""

    lengths: NDArray[np.int64]
    values: NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """An element: (N,) float64 of each property of values that was wanted, and its lists."""

    count: int = 0
    values: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    lists: Mapping[str, Lists] = field(default_factory=dict)


def body(data: bytes, header: Header, wanted: Mapping[str, Collection[str]]) -> dict[str, Rows]:
    """The elements of which properties are wanted, by their names. DataError when the body is truncated, a length or a
    number is none, or a line has more values than the header says."""
    found = {}
    at = header.body
    last = max((i for i, e in enumerate(header.elements) if e.name in wanted), default=-1)
    for element in header.elements[: last + 1]:
        if not element.properties:
            continue
        least = 2 * len(element.properties) if header.form == "ascii" else element.least
        if element.count * least > len(data) - at + 1:
            raise DataError(f"has {element.count} of {element.name} by its header, and ends before: it is truncated")
        rows, at = _rows(data, at, element, header, wanted.get(element.name, ()))
        if element.name in wanted:
            found[element.name] = rows
    return found


def _rows(data: bytes, at: int, element: Element, header: Header, wanted: Collection[str]) -> tuple[Rows, int]:
    """The rows of an element, and where they end."""
    form = _FORMS[header.form]
    if form != _TEXT:
        even = _even(data, at, element, "<" if form == _LITTLE else ">")
        if even is not None:
            return _columns(even, element, wanted), at + even.nbytes
    text = np.frombuffer(data, np.uint8)
    types = np.array([_TYPES.index(p.type) for p in element.properties])
    counters = np.array([_TYPES.index(p.counter) if p.counter else -1 for p in element.properties])
    scratch = np.zeros(8, np.uint8)
    single, double = scratch.view(np.float32), scratch.view(np.float64)
    totals = np.zeros(len(types), np.int64)
    shape = (text, element.count, types, counters, form, scratch, single, double)
    if (counters >= 0).any():
        code, row, where = _measured(at, *shape, totals)
        _check(data, element, code, row, where)
    places = np.full(len(types), -1, np.int64)
    singles = [i for i, p in enumerate(element.properties) if p.name in wanted and not p.counter]
    several = [i for i, p in enumerate(element.properties) if p.name in wanted and p.counter]
    places[singles], places[several] = range(len(singles)), range(len(several))
    starts = np.zeros(len(types), np.int64)
    starts[several] = np.cumsum([0, *totals[several]])[:-1]
    columns = np.empty((len(singles), element.count))
    lengths = np.empty((len(several), element.count), np.int64)
    values = np.empty(int(totals[several].sum()))
    code, row, end, notes, odd = _filled(at, *shape, places, starts.copy(), columns, lengths, values)
    _check(data, element, code, row, end)
    for place, column, start, stop in notes[:odd].tolist():
        if column >= 0:
            columns[column, place] = undecided(data, start, stop)
        else:
            values[place] = undecided(data, start, stop)
    names = [p.name for p in element.properties]
    lists = {names[i]: Lists(lengths[places[i]], values[starts[i] : starts[i] + totals[i]]) for i in several}
    return Rows(element.count, {names[i]: columns[places[i]] for i in singles}, lists), end


def _even(data: bytes, at: int, element: Element, order: str) -> NDArray[np.void] | None:
    """The rows as a table, if they are all as long: column i is property i, and "n i" its lengths if it has lists."""
    fields: list[tuple[Any, ...]] = []
    first = at
    for i, p in enumerate(element.properties):
        length = 1
        if p.counter:
            counter = np.dtype(order + p.counter)
            if first + counter.itemsize > len(data):
                return None
            length = int(np.frombuffer(data, counter, 1, first)[0])
            if not 0 < length <= _EVEN:
                return None
            fields.append((f"n {i}", counter))
            first += counter.itemsize
        fields.append((str(i), order + p.type, (length,)) if p.counter else (str(i), order + p.type))
        first += length * np.dtype(p.type).itemsize
    kind = np.dtype(fields)
    if element.count * kind.itemsize > len(data) - at:
        return None
    table = np.frombuffer(data, kind, element.count, at)
    counts = [name for name in kind.names or () if name.startswith("n")]
    return table if all((table[name] == table[name][0]).all() for name in counts if element.count) else None


def _columns(table: NDArray[np.void], element: Element, wanted: Collection[str]) -> Rows:
    singles, lists = {}, {}
    for i, p in enumerate(element.properties):
        if p.name in wanted and p.counter:
            column = table[str(i)]
            lengths = np.full(len(table), column.shape[1], np.int64)
            lists[p.name] = Lists(lengths, np.ascontiguousarray(column, column.dtype.newbyteorder("=")).reshape(-1))
        elif p.name in wanted:
            with np.errstate(invalid="ignore"):  # NaN that signals
                singles[p.name] = table[str(i)].astype(np.float64)
    return Rows(len(table), singles, lists)


def _check(data: bytes, element: Element, code: int, row: int, at: int) -> None:
    which = f"{element.name} {row} of {element.count}"
    if code == _ENDED:
        raise DataError(f"ends within {which}: it is truncated")
    if code == _LENGTH:
        raise DataError(f"{which}: the length of a list is not a whole number from 0 on")
    if code == _MORE:
        end = word_end(np.frombuffer(data, np.uint8), at)
        raise DataError(f"line {line_of(data, at)}: expected the end of {which}, not {shown(data[at:end])}")


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _value(
    data: NDArray[np.uint8],
    at: int,
    kind: int,
    form: int,
    scratch: NDArray[np.uint8],
    single: NDArray[np.float32],
    double: NDArray[np.float64],
) -> tuple[float, int, bool]:
    """The value at `at` and where it ends, at the end of the file if it is not there; False if it is undecided."""
    if form == _TEXT:
        at = after_white(data, at)
        value, after, decided = decimal(data, at, len(data))
        end = word_end(data, after)
        return value, end, decided and end == after
    size = _SIZES[kind]
    if at + size > len(data):
        return 0.0, len(data) + 1, True
    if kind >= 6:
        for i in range(size):
            scratch[i] = data[at + i if form == _LITTLE else at + size - 1 - i]
        return (np.float64(single[0]) if kind == 6 else double[0]), at + size, True
    whole = 0
    for i in range(size):
        whole = whole << 8 | int(data[at + size - 1 - i if form == _LITTLE else at + i])
    if kind % 2 == 0 and whole >> (8 * size - 1):
        whole -= 1 << 8 * size
    return np.float64(whole), at + size, True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _measured(
    at: int,
    data: NDArray[np.uint8],
    count: int,
    types: NDArray[np.int64],
    counters: NDArray[np.int64],
    form: int,
    scratch: NDArray[np.uint8],
    single: NDArray[np.float32],
    double: NDArray[np.float64],
    totals: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Adds up the lengths of the lists of each property; returns a code, the row, and where it ends."""
    for row in range(count):
        for p in range(len(types)):
            length = 1
            if counters[p] >= 0:
                value, after, decided = _value(data, at, counters[p], form, scratch, single, double)
                if after > len(data) or after == at or (form == _TEXT and after_white(data, at) >= len(data)):
                    return _ENDED, row, at
                if not decided or not 0 <= value < 2**53 or value != np.floor(value):
                    return _LENGTH, row, at
                at = after
                length = int(value)
                if length > len(data):
                    return _ENDED, row, at
                totals[p] += length
            if form == _TEXT:
                for _ in range(length):
                    at = after_white(data, at)
                    if at >= len(data):
                        return _ENDED, row, at
                    at = word_end(data, at)
            else:
                at += length * _SIZES[types[p]]
                if at > len(data):
                    return _ENDED, row, at
        if form == _TEXT:  # here too: what is left over would be taken for the next row's length
            after = after_blanks(data, at)
            if after < len(data) and not is_end(data[after]):
                return _MORE, row, after
    return _DONE, 0, at


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _filled(
    at: int,
    data: NDArray[np.uint8],
    count: int,
    types: NDArray[np.int64],
    counters: NDArray[np.int64],
    form: int,
    scratch: NDArray[np.uint8],
    single: NDArray[np.float32],
    double: NDArray[np.float64],
    places: NDArray[np.int64],
    nexts: NDArray[np.int64],
    table: NDArray[np.float64],
    lengths: NDArray[np.int64],
    values: NDArray[np.float64],
) -> tuple[int, int, int, NDArray[np.int64], int]:
    """Fills the columns of a table, and lengths and values of lists; returns a code, the row, where it ends, and what
    `noted` has noted: the row and the column in the table, or the place among the values and -1."""
    notes = np.empty((16, 4), np.int64)
    odd = 0
    for row in range(count):
        for p in range(len(types)):
            length = 1
            if counters[p] >= 0:
                value, at, _ = _value(data, at, counters[p], form, scratch, single, double)
                length = int(value)
                if places[p] >= 0:
                    lengths[places[p], row] = length
            for _ in range(length):
                value, after, decided = _value(data, at, types[p], form, scratch, single, double)
                if after > len(data) or after == at:
                    return _ENDED, row, at, notes, odd
                if form == _TEXT:
                    at = after_white(data, at)
                    if at >= len(data):
                        return _ENDED, row, at, notes, odd
                if not decided and places[p] >= 0:
                    if counters[p] >= 0:
                        notes = noted(notes, odd, nexts[p], -1, at, after)
                    else:
                        notes = noted(notes, odd, row, places[p], at, after)
                    odd += 1
                at = after
                if places[p] >= 0:
                    if counters[p] >= 0:
                        values[nexts[p]] = value
                        nexts[p] += 1
                    else:
                        table[places[p], row] = value
        if form == _TEXT:
            after = after_blanks(data, at)
            if after < len(data) and not is_end(data[after]):
                return _MORE, row, after, notes, odd
    return _DONE, 0, at, notes, odd
