"""Bits, and the Huffman codes of BasisLZ streams, compiled by numba.

Bits are taken from the lowest of each byte on; a code's own bits come highest first. Codes are canonical, so that a
table is nothing but the number of codes of each length, and the symbols in the order of their codes: `[counts (17),
symbols]`. Where a stream ends early, or holds what is no code, kernels return -1 and go no further.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

LONGEST = 16
"""Bits of a code."""

_MOST_SYMBOLS = 14  # bits of a table's number of symbols
_ORDER = np.array([17, 18, 19, 20, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15, 16])
_SHORT_ZEROS, _LONG_ZEROS, _SHORT_REPEAT = 17, 18, 19  # and 20, a long repeat


@numba.njit(cache=True, nogil=True)
def bits(source: NDArray[np.uint8], at: NDArray[np.int64], count: int) -> int:
    """The next bits as a number; at: (1,), the place of the first of them, which moves on."""
    start = at[0]
    if start + count > 8 * len(source):
        return -1
    found = 0
    for k in range(count):
        place = start + k
        found |= ((np.int64(source[place >> 3]) >> (place & 7)) & 1) << k
    at[0] = start + count
    return found


@numba.njit(cache=True, nogil=True)
def symbol(source: NDArray[np.uint8], at: NDArray[np.int64], table: NDArray[np.int32]) -> int:
    """The next symbol of a Huffman code."""
    code, first, index = 0, 0, 17
    place, end = at[0], 8 * len(source)
    for length in range(1, LONGEST + 1):
        if place >= end:
            return -1
        code |= (np.int64(source[place >> 3]) >> (place & 7)) & 1
        place += 1
        count = table[length]
        if code - first < count:
            at[0] = place
            return int(table[index + code - first])
        index += count
        first = (first + count) << 1
        code <<= 1
    return -1


@numba.njit(cache=True, nogil=True)
def number(source: NDArray[np.uint8], at: NDArray[np.int64], chunk: int) -> int:
    """A number in pieces of so many bits, lowest first, each followed by a bit that says whether there are more."""
    found = 0
    for shift in range(0, 32, chunk):
        piece = bits(source, at, chunk + 1)
        if piece < 0:
            return -1
        found |= (piece & ((1 << chunk) - 1)) << shift
        if not piece >> chunk:
            return found
    return -1


@numba.njit(cache=True, nogil=True)
def table(source: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.int32]:
    """The Huffman table that comes next; one of no length if it is damaged. A table may have no symbols at all."""
    none = np.zeros(0, np.int32)
    total = bits(source, at, _MOST_SYMBOLS)
    if total <= 0:
        return none if total < 0 else np.zeros(17, np.int32)
    count = bits(source, at, 5)
    if count < 1 or count > 21:
        return none
    short = np.zeros(21, np.int64)
    for k in range(count):
        short[_ORDER[k]] = bits(source, at, 3)
    if short.min() < 0:
        return none
    lengths_table = _canonical(short)
    if len(lengths_table) == 0:
        return none
    lengths = np.zeros(total, np.int64)
    done = 0
    while done < total:
        found = symbol(source, at, lengths_table)
        if found < 0:
            return none
        if found <= LONGEST:
            lengths[done] = found
            done += 1
            continue
        if found == _SHORT_ZEROS:
            run = bits(source, at, 3) + 3
        elif found == _LONG_ZEROS:
            run = bits(source, at, 7) + 11
        elif found == _SHORT_REPEAT:
            run = bits(source, at, 2) + 3
        else:
            run = bits(source, at, 7) + 7
        if at[0] > 8 * len(source) or done + run > total:
            return none
        if found >= _SHORT_REPEAT:
            if done == 0 or lengths[done - 1] == 0:
                return none
            lengths[done : done + run] = lengths[done - 1]
        done += run
    return _canonical(lengths)


@numba.njit(cache=True, nogil=True)
def _canonical(lengths: NDArray[np.int64]) -> NDArray[np.int32]:
    """The table of codes of these lengths, 0 for symbols without one. All codes must be used, or only one."""
    counts = np.zeros(17, np.int64)
    for length in lengths:
        counts[length] += 1
    used = len(lengths) - counts[0]
    counts[0] = 0
    left = 1
    for length in range(1, LONGEST + 1):
        left = (left << 1) - counts[length]
        if left < 0:
            return np.zeros(0, np.int32)
    if left > 0 and used > 1:
        return np.zeros(0, np.int32)
    found = np.zeros(17 + used, np.int32)
    place = np.zeros(18, np.int64)
    for length in range(1, LONGEST + 1):
        found[length] = counts[length]
        place[length + 1] = place[length] + counts[length]
    for k in range(len(lengths)):
        length = lengths[k]
        if length > 0:
            found[17 + place[length]] = k
            place[length] += 1
    return found
