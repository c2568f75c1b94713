"""The objects of a data set as columns, in the order of their keys: what a stage's rows say of each.

A row's digests are 32 bytes each, not 64 letters; its category and its shard are numbers of names. So 876,000 objects
are 110 MB, and are opened in a second; as Python objects they were 0.6 GB.
"""

from __future__ import annotations

import binascii
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from captionless.errors import DataError, one_line
from captionless.runtime.memory import give_back
from captionless.store.columns import Named, Strings

Digests = NDArray[np.uint8]
"""(n, 32): a sha256 of every object."""

COLUMNS = ("key", "category", "split", "shard", "views", "points")
"""What the embed stage's rows hold of each object at least; `views` and `points` are sha256 (hex, or 32 bytes)."""

PLACES = ("views_offset", "views_size", "points_offset", "points_size")
"""What they may hold as well: where in its shard each member is. Without these a shard's index is read for it."""

_AT_ONCE = 1 << 16  # rows hashed together
_LARGE = 1 << 17  # objects from which memory is given back, which takes a good part of a second
_PLAIN = r"^[ !#-\[\]-~]*$"  # text that JSON writes as it is, between quotes


@dataclass(frozen=True)
class ObjectTable:
    """Objects, each with its key, category, shard, and the sha256 of its members' bytes.

    places: by name of `PLACES` (n,) int64, empty where the members' places are not known. known_digest: what `digest`
    returns, if it is known.
    """

    keys: Strings
    categories: Named
    shards: Named
    views: Digests
    points: Digests
    places: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    known_digest: str = ""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def nbytes(self) -> int:
        """Memory that the columns take."""
        columns = (self.keys.column, self.categories.codes, self.shards.codes, self.views, self.points)
        return sum(int(column.nbytes) for column in (*columns, *self.places.values()))

    def digest(self) -> str:
        """A sha256 (hex) over every object's key, category and digests: that of `objects.digest` over lists of them."""
        if self.known_digest:
            return self.known_digest
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
    return of_batches(rows.column_names, rows.to_batches(max_chunksize=_AT_ONCE), len(rows), split, what)


def of_batches(
    names: Collection[str], batches: Iterable[pa.Table | pa.RecordBatch], count: int, split: str, what: str
) -> ObjectTable:
    """The same of a table that comes in batches, `count` rows in all, with columns of these names: memory holds the
    objects, and a batch beside them."""
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise DataError(f"{what}: its rows have no column {missing[0]}; rerun embed")
    try:
        found = _Filled(count, PLACES if all(name in names for name in PLACES) else (), what)
        for batch in batches:
            found.add(batch if split == "all" else batch.filter(pc.equal(batch["split"], split)))
        return found.table()
    except pa.ArrowException as error:
        raise DataError(f"{what}: not the rows of embedded objects ({one_line(error)}); rerun embed") from error


class _Filled:
    """Columns of at most `count` rows, as far as they are filled. What is not filled takes no memory."""

    def __init__(self, count: int, places: Sequence[str], what: str) -> None:
        self._what, self._count = what, 0
        self._keys: list[pa.Array] = []
        self._names: dict[str, dict[str, int]] = {"category": {}, "shard": {}}
        self._codes = {name: np.empty(count, np.int32) for name in self._names}
        self._digests = {name: np.empty((count, 32), np.uint8) for name in ("views", "points")}
        self._places = {name: np.empty(count, np.int64) for name in places}

    def add(self, batch: pa.Table | pa.RecordBatch) -> None:
        part = slice(self._count, self._count + len(batch))
        self._keys.append(_joined(batch["key"]).cast(pa.large_string()))
        for name, codes in self._codes.items():
            codes[part] = self._coded(name, _joined(batch[name]))
        for name, digests in self._digests.items():
            digests[part] = _bytes(_joined(batch[name]), self._what)
        for name, places in self._places.items():
            places[part] = _joined(batch[name]).cast(pa.int64()).to_numpy()
        self._count = part.stop

    def _coded(self, name: str, column: pa.Array) -> NDArray[np.int32]:
        if column.null_count:
            raise DataError(f"{self._what}: an object of its rows has no {name}; rerun embed")
        encoded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
        known = self._names[name]
        local = encoded.indices.to_numpy(zero_copy_only=False)
        used = np.unique(local)
        codes = np.zeros(len(encoded.dictionary), np.int32)
        codes[used] = [
            known.setdefault(value, len(known)) for value in encoded.dictionary.take(pa.array(used)).to_pylist()
        ]
        found: NDArray[np.int32] = codes[local]
        return found

    def table(self) -> ObjectTable:
        """The objects in the order of their keys."""
        self._release()
        keys = pa.concat_arrays(self._keys) if self._keys else pa.array([], pa.large_string())
        self._keys = []
        self._release()
        order = _order(keys)
        self._release()
        if order is not None:
            keys = keys.take(order)
        self._release()
        twice = pc.index(pc.equal(keys[1:], keys[: max(0, len(keys) - 1)]), True).as_py()
        if twice >= 0:
            raise DataError(f'{self._what}: object "{keys[twice]}" occurs twice; rerun embed')
        columns: list[NDArray[Any]] = [*self._codes.values(), *self._places.values()]
        for column in columns:
            _reorder(column[: self._count], order)
        for digests in self._digests.values():  # a quarter at a time is held twice
            for quarter in digests[: self._count].view(np.uint64).T:
                _reorder(quarter, order)
        return ObjectTable(
            Strings(keys),
            self._named("category"),
            self._named("shard"),
            self._digests["views"][: self._count],
            self._digests["points"][: self._count],
            {name: column[: self._count] for name, column in self._places.items()},
        )

    def _release(self) -> None:
        """Gives back what was freed, which cannot serve what is needed next in one piece."""
        if self._count >= _LARGE:
            give_back()
            pa.default_memory_pool().release_unused()

    def _named(self, name: str) -> Named:
        codes, known = self._codes[name][: self._count], self._names[name]
        names = sorted(known)
        place = np.empty(len(names), np.int32)
        place[[known[each] for each in names]] = np.arange(len(names))
        return Named(names, place[codes] if len(codes) else np.zeros(0, np.int32))


def _joined(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _order(keys: pa.Array) -> pa.Array | None:
    """The rows in the order of their keys; None if that is as they are."""
    if len(keys) < 2 or pc.all(pc.less_equal(keys[:-1], keys[1:])).as_py():  # of UTF-8: as Python sorts text
        return None
    return pc.sort_indices(keys)


def _reorder(column: NDArray[Any], order: pa.Array | None) -> None:
    if order is not None:
        column[:] = column[order.to_numpy()]


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
