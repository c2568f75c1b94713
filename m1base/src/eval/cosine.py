"""Unit vectors and ties: the basis of all figures.

Scores are cosines, computed in float64. Two scores closer than `TIE` are treated as
equal: duplicates must tie regardless of the order of summation, while no two
different float32 embeddings differ by less than this. Ties are always
resolved against the method, so that an encoder that has collapsed to one point
scores 0 and not 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captionless.errors import DataError

TIE = 1e-9
_ROWS = 4096


class MadeRows:
    """(n, D) numbers that are made from others, some rows whenever they are asked for, so that no copy is held.

    make: rows of these numbers, which a slice or an array of row numbers selects.
    """

    ndim = 2

    def __init__(self, shape: tuple[int, int], make: Callable[[Any], NDArray[Any]]) -> None:
        self.shape, self._make = shape, make

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[Any]:
        return self._make(rows)


Rows = NDArray[Any] | MadeRows
"""(n, D) numbers."""


def rows_of(values: ArrayLike | MadeRows, name: str) -> Rows:
    """`numbers` of two axes, or rows that are made."""
    return values if isinstance(values, MadeRows) else numbers(values, name)


def numbers(values: ArrayLike, name: str, ndim: tuple[int, ...] = (2,)) -> NDArray[Any]:
    """`values` (..., D) as an array, not copied where it is one; DataError unless non-empty numbers of `ndim` axes.

    `name` is what an error calls the array.
    """
    array = np.asarray(values)
    if array.ndim not in ndim or 0 in array.shape:
        wanted = " or ".join(str(n) for n in ndim)
        raise DataError(f"{name}: expected a non-empty array of {wanted} dimensions, found shape {array.shape}")
    if array.dtype.kind not in "fiu":
        raise DataError(f"{name}: expected numbers, found {array.dtype}")
    return array


def row_lengths(array: Rows, name: str, first: int = 0) -> NDArray[np.float64]:
    """Euclidean length of each row of (..., D), float64; bounded memory. `first`: the number of the first in errors.

    Refused (DataError, with the row): NaN or infinity, a row of zeros (it has no direction).
    """
    rows = array if isinstance(array, MadeRows) else array.reshape(-1, array.shape[-1])
    squared = np.empty(len(rows))
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS].astype(np.float64)
        squared[start : start + _ROWS] = np.einsum("nd,nd->n", part, part)
    length: NDArray[np.float64] = np.sqrt(squared).reshape(array.shape[:-1])
    check_lengths(length, name, first)
    return length


def check_lengths(length: NDArray[np.float64], name: str, start: int = 0) -> None:
    """DataError for a length that is not finite or 0; the first is that of row `start`."""
    if not np.isfinite(length).all():
        raise DataError(f"{name}: row {_first(~np.isfinite(length), start)} has NaN or infinity; embed that item again")
    if not (length > 0).all():
        raise DataError(f"{name}: row {_first(length == 0, start)} is all zeros, which has no direction")


def unit_rows(values: ArrayLike, name: str, ndim: tuple[int, ...] = (2,), first: int = 0) -> NDArray[np.float64]:
    """Float64 copy of `values` (..., D) with each row scaled to length 1; checked as above."""
    array = numbers(values, name, ndim)
    rows = array.astype(np.float64)
    rows /= row_lengths(array, name, first)[..., None]
    return rows


def unit_blocks(rows: Rows, name: str) -> Iterator[NDArray[np.float64]]:
    """`unit_rows` of (n, D), some rows after the other."""
    for start in range(0, len(rows), _ROWS):
        yield unit_rows(rows[start : start + _ROWS], name, first=start)


def same_width(a: Rows, b: Rows, names: str) -> None:
    """DataError unless `a` and `b` have the same last dimension."""
    if a.shape[-1] != b.shape[-1]:
        raise DataError(f"{names}: embeddings of different dimensions, {a.shape[-1]} and {b.shape[-1]}")


def positive_ks(ks: tuple[int, ...]) -> tuple[int, ...]:
    """`ks` if all are whole numbers from 1 up, else DataError."""
    if not ks or any(int(k) != k or k < 1 for k in ks):
        raise DataError(f"ks: expected positive integers, found {tuple(ks)}")
    return tuple(int(k) for k in ks)


def _first(bad: NDArray[np.bool_], start: int) -> str:
    first, *others = (int(i) for i in np.argwhere(bad)[0])
    return ", ".join(map(str, (start + first, *others)))
