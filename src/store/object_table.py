"""The objects of a data set as columns, in the order of their keys: what a stage's rows say of each.

A row's digests are 32 bytes each, not 64 letters; its category and its shard are numbers of names. So 876,000 objects
are 110 MB, and are opened in a second; as Python objects they were 0.6 GB.
"""

from __future__ import annotations

import binascii
import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from captionless.errors import DataError, one_line
from captionless.store.columns import Named, Strings

Digests = NDArray[np.uint8]
"""(n, 32): a sha256 of every object."""

COLUMNS = ("key", "category", "split", "shard", "views", "points")
"""What the embed stage's rows hold of each object at least; `views` and `points` are sha256 (hex, or 32 bytes)."""

PLACES = ("views_offset", "views_size", "points_offset", "points_size")
"""What they may hold as well: where in its shard each member is. Without these a shard's index is read for it."""

_AT_ONCE = 1 << 16  # rows hashed together
_PLAIN = r"^[ !#-\[\]-~]*$"  # text that JSON writes as it is, between quotes


@dataclass(frozen=True)
class ObjectTable:
    """Objects, each with its key, category, shard, and the sha256 of its members' bytes.

    places: by name of `PLACES` (n,) int64, empty where the members' places are not known.
    """

    keys: Strings
    categories: Named
    shards: Named
    views: Digests
    points: Digests
    places: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    def digest(self) -> str:
        """A sha256 (hex) over every object's key, category and digests: that of `objects.digest` over lists of them."""
        found, separator = hashlib.sha256(b"[["), b""
        for block in self._json():
            found.update(separator + block)
            separator = b","
        found.update(b"]]")
        return found.hexdigest()

    def _json(self) -> Iterator[bytes]:
        """Some objects at a time, each as `["key","category","views","points"]`, divided by commas."""
        categories = pa.array([json.dumps(name) for name in self.categories.names], pa.large_string())
        for start in range(0, len(self), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            lines = pc.binary_join_element_wise(
                _quoted(self.keys[part].column),
                categories.take(pa.array(self.categories.codes[part])),
                _hex(self.views[part]),
                _hex(self.points[part]),
                _text(","),
            )
            yield ("[" + "],[".join(lines.to_pylist()) + "]").encode()


def of_rows(rows: pa.Table, split: str, what: str) -> ObjectTable:
    """The objects of a split, or of "all" of them, of a table with `COLUMNS` and perhaps `PLACES`, in any order.

    Raises:
        DataError: a column that is missing or holds something else, or a key that occurs twice; names `what`.
    """
    return of_columns(rows.column_names, rows.column, split, what)


def of_columns(names: Collection[str], read: Callable[[str], pa.ChunkedArray], split: str, what: str) -> ObjectTable:
    """The same of a table of which `read` reads one column: memory holds the objects, and one column beside them."""
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise DataError(f"{what}: its rows have no column {missing[0]}; rerun embed")
    try:
        return _of_columns(names, read, split, what)
    except pa.ArrowException as error:
        raise DataError(f"{what}: not the rows of embedded objects ({one_line(error)}); rerun embed") from error


def _of_columns(names: Collection[str], read: Callable[[str], pa.ChunkedArray], split: str, what: str) -> ObjectTable:
    chosen = None
    if split != "all":
        chosen = np.flatnonzero(pc.equal(read("split"), split).to_numpy(zero_copy_only=False))
    unordered = read("key").cast(pa.large_string())
    order = _order(unordered, chosen)
    keys = _taken(unordered, order).combine_chunks()
    del unordered
    twice = pc.index(pc.equal(keys[1:], keys[: max(0, len(keys) - 1)]), True).as_py()
    if twice >= 0:
        raise DataError(f'{what}: object "{keys[twice]}" occurs twice; rerun embed')

    def named(name: str) -> Named:
        column = _taken(read(name), order)
        if column.null_count:
            raise DataError(f"{what}: an object of its rows has no {name}; rerun embed")
        return Named.of(column)

    def numbers(name: str) -> NDArray[np.int64]:
        found: NDArray[np.int64] = _taken(read(name).cast(pa.int64()), order).combine_chunks().to_numpy()
        return found

    found = ObjectTable(
        Strings(keys),
        named("category"),
        named("shard"),
        _digests(read("views"), order, what),
        _digests(read("points"), order, what),
        {name: numbers(name) for name in PLACES} if all(name in names for name in PLACES) else {},
    )
    pa.default_memory_pool().release_unused()  # as much again as the objects, which reading the columns took
    return found


def _order(keys: pa.ChunkedArray, chosen: NDArray[np.int64] | None) -> pa.Array | None:
    """The rows in the order of their keys; None if that is all of them as they are."""
    own = keys if chosen is None or len(chosen) == len(keys) else keys.take(pa.array(chosen))
    if len(own) < 2 or pc.all(pc.less_equal(own[:-1], own[1:])).as_py():  # of UTF-8: as Python sorts text
        return None if own is keys else pa.array(chosen)
    order = pc.sort_indices(own)
    return order if own is keys else pa.array(chosen).take(order)


def _taken(column: pa.ChunkedArray, order: pa.Array | None) -> pa.ChunkedArray:
    return column if order is None else column.take(order)


def _digests(column: pa.ChunkedArray, order: pa.Array | None, what: str) -> Digests:
    """A column of sha256, as hex or as bytes, in that order."""
    if order is None:
        places = np.arange(len(column))
    else:
        places = np.full(len(column), -1)
        places[order.to_numpy()] = np.arange(len(order))
    found, start = np.empty((len(column) if order is None else len(order), 32), np.uint8), 0
    for chunk in column.chunks:
        own = places[start : start + len(chunk)]
        found[own[own >= 0]] = _bytes(chunk, what)[own >= 0]
        start += len(chunk)
    return found


def _bytes(chunk: pa.Array, what: str) -> Digests:
    if pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_decode()
    is_hex = pa.types.is_string(chunk.type) or pa.types.is_large_string(chunk.type)
    width = 64 if is_hex else 32
    plain = chunk.cast(pa.large_binary())
    if len(plain) and (plain.null_count or pc.min_max(pc.binary_length(plain)).as_py() != {"min": width, "max": width}):
        raise DataError(f"{what}: a digest of its rows is not a sha256; rerun embed")
    data: Any = b""
    if len(plain):
        _, ends, content = plain.buffers()
        first = int(np.frombuffer(ends, np.int64)[plain.offset])
        data = memoryview(content)[first : first + len(plain) * width]
    try:
        return np.frombuffer(binascii.unhexlify(data) if is_hex else data, np.uint8).reshape(-1, 32)
    except binascii.Error:
        raise DataError(f"{what}: a digest of its rows is not a sha256; rerun embed") from None


def _hex(digests: Digests) -> pa.Array:
    """Every digest as JSON text."""
    letters = np.frombuffer(binascii.hexlify(digests.tobytes()), np.uint8).reshape(-1, 64)
    quoted = np.pad(letters, ((0, 0), (1, 1)), constant_values=ord('"'))
    ends = np.arange(0, quoted.size + 1, 66, dtype=np.int64)
    return pa.LargeStringArray.from_buffers(len(digests), pa.py_buffer(ends), pa.py_buffer(quoted))


def _text(value: str) -> pa.Scalar:
    return pa.scalar(value, pa.large_string())


def _quoted(column: Any) -> pa.Array:
    """Every text as JSON text."""
    if pc.all(pc.match_substring_regex(column, _PLAIN)).as_py():
        return pc.binary_join_element_wise(_text('"'), column, _text('"'), _text(""))
    return pa.array([json.dumps(text) for text in column.to_pylist()], pa.large_string())
