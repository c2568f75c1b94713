"""Where each of a million keys is: a hash table over an Arrow column, in 8 to 16 bytes a key beside the column's own.

A dict of 876,000 Python strings takes 150 MB and as many allocations; this takes 8 MB and a tenth of a second to build.
The table holds places in the column, by open addressing; a key is found when its bytes are those of the column, so that
two keys with the same hash are told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_OFFSET, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # of FNV-1a
_FOLD = np.uint64(32)


class KeyIndex:
    """Looks up places in a column of keys. `repeated`: a key that is there twice, whose first place counts, or None.
    `longest`: bytes of the longest key."""

    def __init__(self, keys: pa.Array) -> None:
        self._bytes, self._offsets = _memory(keys)
        self.longest = int(np.diff(self._offsets).max(initial=0))
        slots = 4
        while slots < 2 * len(keys):
            slots *= 2
        self._table = np.full(slots, -1, np.int32)
        again = _insert(self._bytes, self._offsets, self._table)
        self.repeated: str | None = None if again < 0 else keys[again].as_py()

    def places(self, keys: Sequence[str] | pa.Array) -> NDArray[np.int64]:
        """(n,) the place of every key in the column, -1 for one that is not there."""
        if isinstance(keys, pa.Array | pa.ChunkedArray):
            data, offsets = _memory(keys)
        else:
            encoded = [key.encode("utf-8", "surrogatepass") for key in keys]
            data = np.frombuffer(b"".join(encoded), np.uint8)
            offsets = np.zeros(len(encoded) + 1, np.int64)
            np.cumsum([*map(len, encoded)], out=offsets[1:])
        found = np.empty(len(offsets) - 1, np.int64)
        _find(self._bytes, self._offsets, self._table, data, offsets, found)
        return found


def _memory(column: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes of a column of strings, all in one, and where each begins and the last one ends."""
    joined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if joined.null_count:
        raise ValueError("a column of keys has no nulls")
    joined = joined.cast(pa.large_string())
    _, offsets, data = joined.buffers()
    if not len(joined):
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    start = joined.offset
    found: NDArray[np.int64] = np.frombuffer(offsets, np.int64, start + len(joined) + 1)[start:]
    return np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), found


@numba.njit(cache=True, nogil=True)
def _hash(data: NDArray[np.uint8], start: int, stop: int) -> Any:
    found = _OFFSET
    for i in range(start, stop):
        found = (found ^ np.uint64(data[i])) * _PRIME
    return found ^ (found >> _FOLD)


@numba.njit(cache=True, nogil=True)
def _same(a: NDArray[np.uint8], start: int, stop: int, b: NDArray[np.uint8], first: int, last: int) -> bool:
    if stop - start != last - first:
        return False
    for i in range(stop - start):  # noqa: SIM110 - compiled
        if a[start + i] != b[first + i]:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _insert(data: NDArray[np.uint8], offsets: NDArray[np.int64], table: NDArray[np.int32]) -> int:
    """Fills the table; the place of a key that is there twice, or -1."""
    mask, again = np.uint64(len(table) - 1), -1
    for place in range(len(offsets) - 1):
        at = _hash(data, offsets[place], offsets[place + 1]) & mask
        while table[at] >= 0:
            other = table[at]
            if _same(data, offsets[place], offsets[place + 1], data, offsets[other], offsets[other + 1]):
                again = place
                break
            at = (at + np.uint64(1)) & mask
        else:
            table[at] = place
    return again


@numba.njit(cache=True, nogil=True)
def _find(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    table: NDArray[np.int32],
    wanted: NDArray[np.uint8],
    of: NDArray[np.int64],
    found: NDArray[np.int64],
) -> None:
    mask = np.uint64(len(table) - 1)
    for i in range(len(found)):
        at = _hash(wanted, of[i], of[i + 1]) & mask
        found[i] = -1
        while table[at] >= 0:
            place = table[at]
            if _same(wanted, of[i], of[i + 1], data, offsets[place], offsets[place + 1]):
                found[i] = place
                break
            at = (at + np.uint64(1)) & mask
