"""The embedded data set: per object its view embeddings and its point cloud, by split.

The embed stage writes shards `<split>/00000.tar` with, per object, `.views.npy`
((R, F) float16, rows L2-normalised), `.points.npy` ((P, 6) float16: xyz in the unit
sphere and colour in [0, 1], in farthest-point order) and `.json` (key, category, ...).
Each part's record lists its objects, so that opening a data set reads no shard.

Objects are listed in the order of their keys, regardless of their shards, and can be read
in any order: see `members`.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.runtime.thread_pools import thread_pool
from captionless.store import float16, object_table, objects, ranged_reads
from captionless.store.disk_cache import DiskCache
from captionless.store.ledger import Ledger
from captionless.store.mapped_table import mapped
from captionless.store.members import Layout, MemberOffsets, MemberRead, Members, memory_of
from captionless.store.object_table import ObjectTable

_REQUESTS = (8, 32)  # for the objects of a shard each: the fewest and the most
_LOCAL = 2  # from a local disk 2 at a time are as fast as 8 and take half the processor
_TOGETHER, _AT_ONCE = 128, 1024  # members, of a shard and of all: their bytes are held until they are decoded

Indices = Sequence[int] | NDArray[np.integer[Any]]
RequestedMembers = tuple[Members, NDArray[Any], memoryview, int, Indices | None]
"""Members to read, the array that they go to, its bytes, how many of an object, and which row of each."""
MemberSpans = tuple[NDArray[np.int64], int, list[list[memoryview]]]
"""Where in its shard each of some objects' bytes begin, how many they are, and what they go to, in pieces."""


@dataclass(frozen=True)
class EmbeddedObject:
    """An object as the embed stage recorded it; `views_digest` changes with its embeddings' bytes."""

    key: str
    category: str
    shard: str
    views_digest: str
    points_digest: str


class EmbeddedObjects(Sequence[EmbeddedObject]):
    """The rows of a table as objects, made when they are asked for."""

    def __init__(self, table: ObjectTable) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, at: SupportsIndex) -> EmbeddedObject: ...
    @overload
    def __getitem__(self, at: slice) -> list[EmbeddedObject]: ...
    def __getitem__(self, at: SupportsIndex | slice) -> EmbeddedObject | list[EmbeddedObject]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        table, row = self._table, operator.index(at)
        digests = (table.views[row].tobytes().hex(), table.points[row].tobytes().hex())
        return EmbeddedObject(table.keys[row], table.categories[row], table.shards[row], *digests)


class Embeddings:
    """One split of an embedded data set, or all of it. Indices are positions in `keys`.

    Attributes:
        keys, categories, shards: of every object, in the order of the keys; lazy sequences (see `columns`).
        objects: all that is recorded of each, made when it is asked for.
    """

    def __init__(self, url: str, split: str, table: ObjectTable):
        self.url, self.split, self._table = url, split, table
        self.keys, self.categories, self.shards = table.keys, table.categories, table.shards
        self.objects = EmbeddedObjects(table)
        self._places = places = MemberOffsets(url, table, ("views", "points"))
        self._views = Members(places, "views", table.views, check_views)
        self._points = Members(places, "points", table.points, _check_points)

    def __len__(self) -> int:
        return len(self._table)

    @cached_property
    def digest(self) -> str:
        """Of the objects: their keys, categories and members' digests."""
        return self._table.digest()

    def copy_to(self, disk: DiskCache) -> None:
        """Read by way of copies on a disk, which several processes share; not what is local already."""
        if not objects.is_local(self.url):
            self._places.copy_to(disk, self.digest)

    @property
    def extents(self) -> NDArray[np.int64]:
        """(shards,): the bytes of each shard that a whole copy takes; empty where shards are not copied."""
        return self._places.extents

    def fetch(self, shard: int) -> bool:
        """Copies a shard whole, by its number in `shards`; whether it is on the disk then. For any thread."""
        return self._places.fetch(shard)

    def views_digests(self, indices: Indices) -> list[str]:
        """The sha256 of the view embeddings of some objects, in hex: faster than by `objects`."""
        return _hex(self._table.views, indices)

    def points_digests(self, indices: Indices) -> list[str]:
        """The sha256 of the points of some objects, in hex."""
        return _hex(self._table.points, indices)

    @property
    def table_bytes(self) -> int:
        """Memory that the table of objects takes."""
        return self._table.nbytes

    @property
    def classes(self) -> list[str]:
        """The categories, sorted."""
        return list(self.categories.names)

    def members(self) -> dict[str, NDArray[np.int64]]:
        """The indices of every category's objects, ascending; categories in the order of their first objects."""
        found = dict(zip(self.categories.names, self.categories.rows, strict=True))
        return dict(sorted(found.items(), key=lambda item: int(item[1][0])))

    @property
    def views_layout(self) -> Layout:
        """Shape (R, F) and type of an object's view embeddings; reads an object when it is first asked for."""
        return self._views.layout

    @property
    def points_layout(self) -> Layout:
        """Shape (P, 6) and type of an object's points; reads an object when it is first asked for."""
        return self._points.layout

    def views(self, indices: Indices) -> NDArray[np.float16]:
        """View embeddings, (n, R, F) float16.

        Raises:
            DataError: an object whose rows are not finite unit vectors, or not the ones that were written; named.
        """
        if not len(indices):
            return np.zeros((0, 0, 0), np.float16)
        found = np.empty((len(indices), *self.views_layout.shape), self.views_layout.dtype)
        self.read(indices, views=found)
        return found

    def points(self, indices: Indices) -> NDArray[np.float16]:
        """Point clouds, (n, P, 6) float16, in farthest-point order. DataError as `views`."""
        if not len(indices):
            return np.zeros((0, 0, 0), np.float16)
        found = np.empty((len(indices), *self.points_layout.shape), self.points_layout.dtype)
        self.read(indices, points=found)
        return found

    def read(
        self,
        indices: Indices,
        views: NDArray[Any] | None = None,
        points: NDArray[Any] | None = None,
        view: Indices | None = None,
        damaged: dict[int, DataError] | None = None,
    ) -> None:
        """Reads members of some objects into C-contiguous arrays of the layouts' types.

        views: (n, R, F), or with `view` (n, F), view `view[i]` of the i-th object. points: (n, P, 6). An object's
        bytes are verified when this process first reads them. Both are one request if storage is not local.

        Raises:
            DataError: as `views`. If `damaged` is given, damaged objects are put there instead, by their index in
                `indices`, and their rows are undefined.
        """
        if not len(indices):
            return
        given = [
            (members, into, memory_of(into), into.nbytes // max(len(into), 1), rows)
            for members, into, rows in ((self._views, views, view), (self._points, points, None))
            if into is not None
        ]
        local = objects.is_local(self.url)
        if local and self._read_known(np.asarray(indices, np.int64), given):
            return
        shards: dict[int, list[MemberRead]] = {}
        chosen = np.asarray(indices, np.int64)
        codes = self._table.shards.codes[chosen].tolist()
        for place, (index, code) in enumerate(zip(chosen.tolist(), codes, strict=True)):
            wanted = shards.setdefault(code, [])
            for members, into, memory, size, rows in given:
                own = memory[place * size : (place + 1) * size]
                row = None if rows is None else int(rows[place])
                wanted.append(MemberRead(members, index, into, place, own, row))

        def read(shard: int, own: Sequence[MemberRead]) -> None:
            counts = self._places.read_into(shard, [want.plan() for want in own])
            for want, count in zip(own, counts, strict=True):
                try:
                    self._finish(shard, want, count)
                except DataError as error:
                    if damaged is None:
                        raise
                    damaged.setdefault(want.place, error)

        parts = [
            (shard, own[i : i + _TOGETHER]) for shard, own in shards.items() for i in range(0, len(own), _TOGETHER)
        ]
        if len(parts) == 1:
            read(*parts[0])
            return
        fewest, most = _REQUESTS
        requests = max(fewest, min(most, _AT_ONCE // max(len(own) for _, own in parts)))
        with thread_pool(_LOCAL if local else requests) as pool:
            list(pool.map(lambda part: read(*part), parts))

    def _finish(self, shard: int, want: MemberRead, count: int) -> None:
        """`MemberRead.finish`, again from storage where a copy is not what is stored."""
        try:
            want.finish(count)
        except DataError:
            if self._places.copy(shard) is None:
                raise
            (count,) = self._places.shard(shard).read_into([want.plan()])
            want.finish(count)
            self._places.forget(shard)

    def _read_known(self, indices: NDArray[np.int64], given: Sequence[RequestedMembers]) -> bool:
        """`read` if everything is local and verified, directly from the files into the arrays; returns whether this was
        the case. In one thread, since the page cache answers faster than threads can exchange the GIL."""
        spans: list[MemberSpans] = []
        for members, _, memory, size, rows in given:
            starts = members.starts(indices, rows)
            if starts is None:
                return False
            pieces = [[memory[i : i + size]] for i in range(0, len(memory), size)]
            spans = _joined(spans, (starts, size, pieces))
        listed = [(starts.tolist(), size, pieces) for starts, size, pieces in spans]
        shards: dict[int, list[int]] = {}
        for place, code in enumerate(self._table.shards.codes[indices].tolist()):
            shards.setdefault(code, []).append(place)
        for code, places in shards.items():
            shard = self._table.shards.names[code]
            wanted = [(starts[place], pieces[place], size) for starts, size, pieces in listed for place in places]
            if not ranged_reads.fill(objects.join(self.url, shard), wanted):
                return False  # the file has changed: the slow path finds out how
        return True


def _hex(digests: NDArray[np.uint8], rows: Indices) -> list[str]:
    return [row.tobytes().hex() for row in digests[np.asarray(rows, np.int64)]]


def _joined(spans: list[MemberSpans], more: MemberSpans) -> list[MemberSpans]:
    """The spans of all objects with those of another member: joined, with what lies between, where that is little."""
    if spans:
        (starts, size, pieces), (of_more, size_of_more, further) = spans[-1], more
        gaps = of_more - starts - size
        gap = int(gaps[0])
        if 0 <= gap <= ranged_reads.LOCAL_GAP and (gaps == gap).all():
            unwanted = memoryview(bytearray(gap))
            together = [[*before, unwanted, *after] for before, after in zip(pieces, further, strict=True)]
            return [*spans[:-1], (starts, size + gap + size_of_more, together)]
    return [*spans, more]


def _check_points(array: NDArray[Any], key: str, where: str) -> None:
    """DataError unless `array` is (P, 6) and finite."""
    if array.ndim != 2 or array.shape[1] != 6 or not np.isfinite(array).all():
        raise DataError(
            f"{where}: object {key!r}: its points have shape {array.shape} or are not finite, expected finite (P, 6)"
        )


def check_views(array: NDArray[Any], key: str, where: str) -> None:
    """DataError unless `array` is (R, F) of finite unit rows; names the object and the view."""
    if array.ndim != 2:
        raise DataError(
            f"{where}: object {key!r}: view embeddings have shape {array.shape}, expected (views, features)"
        )
    rows = float16.to_float32(array) if array.dtype == np.float16 else array.astype(np.float32)
    norms = np.sqrt(np.einsum("rf,rf->r", rows, rows))
    wrong = np.flatnonzero(~(np.abs(norms - 1) <= float16.NORM_TOLERANCE))
    if len(wrong):
        view, norm = int(wrong[0]), norms[wrong[0]]
        what = "is not finite (NaN or inf)" if not np.isfinite(norm) else f"has norm {norm:.4f}, expected 1"
        raise DataError(f"{where}: object {key!r}: the embedding of view {view} {what}; rerun embed")


def open_embeddings(url: str, split: str, shared: str | None = None) -> Embeddings:
    """The embedded data set under `url` (the embed stage's folder); `split` is train, test, or all for both. shared: a
    local folder by which several processes have the table of objects together.

    DataError when embed is not finished.
    """
    header = Ledger(url).header()

    def read() -> ObjectTable:
        rows = header.rows_reader()
        names = [*object_table.COLUMNS, *object_table.PLACES]
        return object_table.of_batches(names, rows.stream(names), rows.count, split, url)

    if shared is None:
        return Embeddings(url, split, read())
    return Embeddings(url, split, mapped(shared, f"{url} {split} {header.document['rows']}", read))
