"""Reads one member of many objects of a data set by its offset, directly into an array.

A member is a `.npy`, and those of all objects have one layout: the same header, hence the same shape and type. So only
that header needs to be decoded: the bytes after it are read directly into their destination, and once an object has
been verified, single rows of it can be read.

An object's bytes are verified, checksum and values, when a process first reads them, and trusted from then on. Files
are read and not mapped: a process that touches a mapped page of a truncated file is killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.store import objects
from captionless.store.disk_cache import CopiedFile, DiskCache
from captionless.store.object_table import Digests, ObjectTable
from captionless.store.ranged_reads import Target
from captionless.store.shards import ShardReader, decode_array, encode_array

_PROBES = 16  # objects that are tried for the layout: they are all damaged only if everything is


class MemberOffsets:
    """Where in its shard each of some members of every object is.

    Of a table that does not say so, a shard's index is read when it is first needed.
    """

    def __init__(self, url: str, table: ObjectTable, members: Sequence[str]) -> None:
        self.url, self.keys, self.shards = url, table.keys, table.shards
        # Pages of zeros take no memory until they are written; nothing begins at a tar's byte 0, so it says "unknown".
        self._offsets, self._sizes = (
            {m: table.places.get(f"{m}_{kind}", np.zeros(len(table), np.int64)) for m in members}
            for kind in ("offset", "size")
        )
        self._known: set[int] = set()
        self._are_placed = all(f"{m}_{kind}" in table.places for m in members for kind in ("offset", "size"))
        self._disk: DiskCache | None = None
        self._version = ""
        self._extents = np.zeros(0, np.int64)

    def copy_to(self, disk: DiskCache, version: str) -> None:
        """Read the shards by way of copies on a disk. version: says what is in all of them.

        Those of a table without places, which an earlier release wrote, are not copied.
        """
        if self._are_placed:
            self._disk, self._version = disk, version
            self._extents = np.zeros(len(self.shards.names), np.int64)
            for member, offsets in self._offsets.items():
                np.maximum.at(self._extents, self.shards.codes, offsets + self._sizes[member])

    @property
    def extents(self) -> NDArray[np.int64]:
        """(shards,): the bytes of each shard up to its last member, of those that are copied; else empty."""
        return self._extents

    def copy(self, code: int) -> CopiedFile | None:
        """What is copied of a shard; None if it is not."""
        if self._disk is None or not self._extents[code]:
            return None
        return CopiedFile(self.shard(code).url, self._version, int(self._extents[code]))

    def fetch(self, code: int) -> bool:
        """Copies a shard whole; whether it is on the disk then."""
        file = self.copy(code)
        return self._disk is not None and file is not None and self._disk.fetch(file)

    def read_into(self, code: int, targets: Sequence[Target]) -> list[int]:
        """`ShardReader.read_into`, of the shard's copy if there is one."""
        file = self.copy(code)
        if self._disk is not None and file is not None:
            with contextlib.suppress(FileNotFoundError):  # of the shard: the reader says so
                return self._disk.read_into(file, targets)
        return self.shard(code).read_into(targets)

    def forget(self, code: int) -> None:
        """Removes the copy of a shard, which is not what the shard is."""
        file = self.copy(code)
        if self._disk is not None and file is not None:
            self._disk.forget(file)

    def shard(self, code: int) -> ShardReader:
        """A shard of the data set, by its number."""
        return ShardReader(objects.join(self.url, self.shards.names[code]))

    def span(self, index: int, member: str) -> tuple[int, int]:
        """(offset, length) of a member in its shard. DataError if the shard's index does not have it."""
        if not self._offsets[member][index]:
            code = int(self.shards.codes[index])
            if code not in self._known:
                self._know(code)
            if not self._offsets[member][index]:
                return self.shard(code).span(self.keys[index], extension(member))
        return int(self._offsets[member][index]), int(self._sizes[member][index])

    def read(self, index: int, member: str) -> bytes:
        """A member's bytes. DataError if there is no such shard, or if it ends before."""
        offset, length = self.span(index, member)
        buffer = bytearray(length)
        (count,) = self.shard(int(self.shards.codes[index])).read_into([(offset, [memoryview(buffer)])])
        if count < length:
            raise self.cut_off(index, member, count, length)
        return bytes(buffer)

    def cut_off(self, index: int, member: str, count: int, length: int) -> DataError:
        """A member's shard ends after so many of the bytes that are read of it."""
        return DataError(
            f"{self.url}: {self.shards[index]}: truncated within object {self.keys[index]!r}: its .{extension(member)} "
            f"ends after {count:,} of {length:,} bytes; delete the shard and rerun embed"
        )

    def offsets(self, member: str) -> NDArray[np.int64]:
        """(n,): where the member of each object begins in its shard; 0 where that is not known yet."""
        return self._offsets[member]

    def _know(self, code: int) -> None:
        """Reads the index of a shard."""
        found, own = self.shard(code).index, self.shards.rows[code]
        for index, key in zip(own.tolist(), self.keys.some(own), strict=True):
            entry = found.get(key, {})
            for member in self._offsets:
                if extension(member) in entry:
                    self._offsets[member][index], self._sizes[member][index] = entry[extension(member)]
        self._known.add(code)


def extension(member: str) -> str:
    """The file name of a member without its key."""
    return f"{member}.npy"


@dataclass(frozen=True)
class Layout:
    """What the members of all objects have in common."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @cached_property
    def header(self) -> bytes:
        """The bytes that precede the array's."""
        whole = encode_array(np.zeros(self.shape, self.dtype))
        return whole[: len(whole) - self.nbytes]

    @cached_property
    def nbytes(self) -> int:
        """Of an array."""
        return math.prod(self.shape) * self.dtype.itemsize

    @cached_property
    def row_bytes(self) -> int:
        """Of a row of an array."""
        return self.nbytes // self.shape[0]

    @cached_property
    def size(self) -> int:
        """Bytes of a member."""
        return len(self.header) + self.nbytes


class Members:
    """One member, `name`, of all objects. digests: their sha256. check: raises DataError for an array that is not what
    such a member holds, given with the object's key and the data set's URL."""

    def __init__(
        self, places: MemberOffsets, name: str, digests: Digests, check: Callable[[NDArray[Any], str, str], None]
    ) -> None:
        self.places, self.name, self.extension = places, name, extension(name)
        self._digests, self._check = digests, check
        self.trusted = bytearray(len(digests))
        """Which objects' bytes were verified: not 0."""

    @cached_property
    def layout(self) -> Layout:
        """The layout of the first intact object. The first object's DataError if none of the first few is intact."""
        causes = []
        for index in range(min(_PROBES, len(self.places.keys))):
            try:
                array = self.verified(index, self.places.read(index, self.name))
                return Layout(array.shape, array.dtype)
            except DataError as error:
                causes.append(error)
        raise causes[0] if causes else DataError(f"{self.places.url}: no objects")

    def starts(self, indices: NDArray[np.int64], rows: Sequence[int] | NDArray[Any] | None) -> NDArray[np.int64] | None:
        """Where in its shard each object's array begins, or that row of it, (n,); None unless all were verified."""
        if not np.frombuffer(self.trusted, np.bool_)[indices].all():
            return None
        found = self.places.offsets(self.name)[indices] + len(self.layout.header)
        if rows is not None:
            found += np.asarray(rows, np.int64) * self.layout.row_bytes
        return found

    def verified(self, index: int, raw: bytes) -> NDArray[Any]:
        """The array of a member's bytes. DataError when they are not the ones that were written, or mean nothing."""
        array = decode_array(raw, f"{self.places.url}: object {self.places.keys[index]!r}: its .{self.extension}")
        self.verify(index, array, raw)
        return array

    def verify(self, index: int, array: NDArray[Any], *raw: Any) -> None:
        """DataError unless a member's bytes, `raw` in pieces, are the ones that were written, and mean something."""
        key, url, digest = self.places.keys[index], self.places.url, hashlib.sha256()
        self._check(array, key, url)
        for piece in raw:
            digest.update(piece)
        if digest.digest() != self._digests[index].tobytes():
            raise DataError(
                f"{url}: {self.places.shards[index]}: object {key!r}: its .{self.extension} is not what was "
                "written (sha256 differs); delete the shard and rerun embed"
            )


class MemberRead:
    """A member of an object and where it goes: to `into[place]`, (R, ...) of the members' layout, or with `row` (...),
    that row of it. memory: the bytes there."""

    __slots__ = (
        "_array",
        "_header",
        "_into",
        "_length",
        "_memory",
        "_pieces",
        "_row",
        "index",
        "is_known",
        "members",
        "place",
    )

    def __init__(
        self,
        members: Members,
        index: int,
        into: NDArray[Any],
        place: int,
        memory: memoryview,
        row: int | None = None,
    ) -> None:
        self.members, self.index, self.place, self._row = members, index, place, row
        self._into, self._memory = into, memory
        self.is_known = members.trusted[index] != 0
        """Whether its bytes need not be verified any more."""
        self._header: bytearray | None = None  # None: the row is read by itself
        self._array: NDArray[Any] | None = None  # of a row, what is read of it
        self._pieces: list[memoryview] = []
        self._length = 0

    def plan(self) -> tuple[int, list[memoryview]]:
        """The offset in the shard to start at, and the buffers to fill. DataError if the shard does not have it."""
        layout = self.members.layout
        offset, length = self.members.places.span(self.index, self.members.name)
        if length != layout.size:  # not like the others: read whole, to report what it is
            self._header = bytearray(length)
            self._pieces, self._length = [memoryview(self._header)], length
        elif self._row is not None and self.is_known:
            offset += len(layout.header) + self._row * layout.row_bytes
            self._pieces, self._length = [self._memory], layout.row_bytes
        else:
            memory = self._memory
            if self._row is not None:
                self._array = np.empty(layout.shape, layout.dtype)
                memory = memory_of(self._array)
            self._header = bytearray(len(layout.header))
            self._pieces, self._length = [memoryview(self._header), memory], length
        return offset, self._pieces

    def finish(self, count: int) -> None:
        """Its `count` bytes are read. DataError when they are not what they must be."""
        members = self.members
        if count < self._length:
            raise members.places.cut_off(self.index, members.name, count, self._length)
        if self._header is None:
            return
        if self._header == members.layout.header:
            if not self.is_known:
                found = self._into[self.place] if self._array is None else self._array
                members.verify(self.index, found, *self._pieces)
                members.trusted[self.index] = 1
            if self._array is not None:
                self._into[self.place] = self._array[self._row]
            return
        array = members.verified(self.index, b"".join(self._pieces))
        if array.shape != members.layout.shape:
            raise DataError(
                f"{members.places.url}: object {members.places.keys[self.index]!r}: its .{members.extension} has shape "
                f"{array.shape}, others have {members.layout.shape}; rerun embed"
            )
        self._into[self.place] = array if self._row is None else array[self._row]


def memory_of(array: NDArray[Any]) -> memoryview:
    """The bytes of a C-contiguous array."""
    return array.reshape(-1).view(np.uint8).data
