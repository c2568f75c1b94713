"""Columns of a million rows as sequences of Python values that are made when they are asked for.

A list of 876,000 keys is 80 MB and as many objects to be traversed by the garbage collector; as an Arrow column they
are 30 MB in two pieces of memory. `Strings` is such a column, `Named` one with few different values.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, SupportsIndex, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_AT_ONCE = 1 << 14  # values made together while a column is traversed

Rows = Sequence[int] | NDArray[np.integer[Any]]


class Strings(Sequence[str]):
    """A column of different strings. A slice, or `taken`, is such a column again."""

    def __init__(self, column: pa.Array) -> None:
        self.column = column

    @classmethod
    def of(cls, values: Sequence[str]) -> Strings:
        """A column of these values; themselves if they are one."""
        return values if isinstance(values, cls) else cls(pa.array(values, pa.large_string()))

    def __len__(self) -> int:
        return len(self.column)

    @overload
    def __getitem__(self, at: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Strings: ...
    def __getitem__(self, at: SupportsIndex | slice) -> str | Strings:
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            if step == 1:
                return Strings(self.column.slice(start, max(0, stop - start)))
            return self.taken(range(start, stop, step))
        index = operator.index(at)
        found: str = self.column[index].as_py()  # IndexError beyond either end, as of a list
        return found

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self.column.slice(start, _AT_ONCE).to_pylist()

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and pc.index(self.column, value).as_py() >= 0

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Strings):
            return bool(self.column.equals(other.column))
        if isinstance(other, Sequence) and not isinstance(other, str):
            return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def index(self, value: str, start: int = 0, stop: int | None = None) -> int:
        """The row of a value. ValueError if there is none."""
        first, last, _ = slice(start, stop).indices(len(self))
        found: int = pc.index(self.column, value, first, max(first, last)).as_py()
        if found < 0:
            raise ValueError(f"{value!r} is not in the column")
        return found

    def taken(self, rows: Rows) -> Strings:
        """The column of some of its rows, in that order."""
        return Strings(self.column.take(pa.array(np.asarray(rows, np.int64))))

    def some(self, rows: Rows) -> list[str]:
        """The values of some rows, in that order; faster than one by one."""
        found: list[str] = self.taken(rows).column.to_pylist()
        return found


class Named(Sequence[str]):
    """A column of few different strings: `names`, sorted, and for every row a number of one of them, `codes` (n,)."""

    def __init__(self, names: list[str], codes: NDArray[np.int32]) -> None:
        self.names, self.codes = names, codes

    @classmethod
    def of(cls, column: pa.Array | pa.ChunkedArray | Sequence[str]) -> Named:
        """The column of strings, dictionary-encoded or not, with the names that occur; itself if it is one."""
        if isinstance(column, cls):
            return column
        if not isinstance(column, pa.Array | pa.ChunkedArray):
            column = pa.array(column, pa.string())
        joined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if not pa.types.is_dictionary(joined.type):
            joined = pc.dictionary_encode(joined)
        codes, names = joined.indices.to_numpy(zero_copy_only=False), joined.dictionary.to_pylist()
        used = np.bincount(codes, minlength=len(names)) > 0
        kept = sorted({name for name, is_used in zip(names, used.tolist(), strict=True) if is_used})
        place = {name: code for code, name in enumerate(kept)}
        recoded = np.array([place.get(name, -1) for name in names], np.int32)
        return cls(kept, recoded[codes] if len(codes) else np.zeros(0, np.int32))

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, at: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Named: ...
    def __getitem__(self, at: SupportsIndex | slice) -> str | Named:
        if isinstance(at, slice):
            return Named(self.names, self.codes[at])
        return self.names[int(self.codes[operator.index(at)])]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _AT_ONCE):
            yield from map(self.names.__getitem__, self.codes[start : start + _AT_ONCE].tolist())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Named) and self.names == other.names:
            return bool(np.array_equal(self.codes, other.codes))
        if isinstance(other, Sequence) and not isinstance(other, str):
            return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def taken(self, rows: Rows) -> Named:
        """The column of some of its rows, in that order."""
        return Named(self.names, self.codes[np.asarray(rows, np.int64)])

    def some(self, rows: Rows) -> list[str]:
        """The values of some rows, in that order."""
        return list(self.taken(rows))

    @cached_property
    def rows(self) -> list[NDArray[np.int64]]:
        """The rows of every name, ascending."""
        order = np.argsort(self.codes, kind="stable")
        ends = np.cumsum(np.bincount(self.codes, minlength=len(self.names)))
        return np.split(order, ends[:-1])[: len(self.names)]
