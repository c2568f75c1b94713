"""WebDataset shards with a sidecar index that makes one member one ranged read.

A shard is a plain tar: member `<key>.<extension>`, the members of one key together,
in the order they were given, with fixed owner, mode and time, so that the same samples
give the same bytes. `webdataset` can read it directly. Next to `00000.tar` is
`00000.index`, JSON:

    {"version": 1, "size": <bytes of the tar>, "sha256": "...",
     "samples": {"<key>": {"<extension>": [offset, size], ...}, ...},
     "notes": {"<key>": {"<name>": "<what the writing stage says of the object>"}}}

The tar is written before its index; a shard without an index does not exist yet.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import math
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.store import objects, ranged_reads
from captionless.store.atomic_writes import open_write
from captionless.store.hashing_file import HashingFile

INDEX_VERSION = 1
_BLOCK = 512


@dataclass(frozen=True)
class ShardInfo:
    """What a written shard is: its name, size in bytes, sha256, and where each member of each key is (offset, size)."""

    url: str
    size: int
    sha256: str
    index: Mapping[str, Mapping[str, Sequence[int]]]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.index)


def index_url(tar_url: str) -> str:
    return tar_url.removesuffix(".tar") + ".index"


def write_shard(
    url: str,
    samples: Iterable[tuple[str, Mapping[str, bytes]]],
    notes: Mapping[str, Mapping[str, str]] | None = None,
) -> ShardInfo:
    """Writes `(key, {extension: bytes})` samples as a tar and its index, atomically, in the order given.

    notes: by key, for the index; read after the last sample, so that they may be made along with these.
    """
    index: dict[str, dict[str, list[int]]] = {}
    with open_write(url) as raw:
        file = HashingFile(raw)
        for key, members in samples:
            check_key(key)
            if key in index:
                raise DataError(f"{url}: key {key!r} appears twice")
            entry = index[key] = {}
            for extension, data in members.items():
                header = tarfile.TarInfo(f"{key}.{extension}")
                header.size, header.mode = len(data), 0o644
                header.uname = header.gname = "captionless"
                file.write(header.tobuf(tarfile.GNU_FORMAT))
                entry[extension] = [file.position, len(data)]
                file.write(data)
                file.write(b"\0" * (-len(data) % _BLOCK))
        file.write(b"\0" * (2 * _BLOCK))
    info = ShardInfo(url, file.position, file.hash.hexdigest(), index)
    _write_index(info, notes or {})
    return info


def _write_index(info: ShardInfo, notes: Mapping[str, Mapping[str, str]]) -> bytes:
    """Writes the index of a tar; what was written."""
    document = {
        "version": INDEX_VERSION, "size": info.size, "sha256": info.sha256, "samples": info.index,
        "notes": {key: dict(of_key) for key, of_key in notes.items()},
    }  # fmt: skip
    data = json.dumps(document, separators=(",", ":")).encode()
    objects.write_bytes(index_url(info.url), data)
    return data


def check_key(key: str) -> None:
    """DataError for a key that cannot be the name of a file in a tar: no object with such a key comes here, see
    `stages.listing.gate`."""
    if any(ord(c) < 32 or "\ud800" <= c <= "\udfff" for c in key) or {".", ".."} & set(key.split("/")):
        raise DataError(f"key {key!r}: must not have control characters, half surrogate pairs, or `.` or `..` segments")
    check_ends(key)


def check_ends(key: str) -> None:
    """WebDataset cuts a name at the first dot after the last slash; a key must survive that."""
    if not key or "." in key.rsplit("/", 1)[-1] or key.startswith("/") or key.endswith("/"):
        raise DataError(f"key {key!r}: must be non-empty, without a dot in its last segment or slashes at its ends")


class ShardReader:
    """A shard for reading. All errors are DataError and name the shard and, where it is one, the object."""

    def __init__(self, url: str):
        self.url = url

    @cached_property
    def _document(self) -> dict[str, Any]:
        try:
            document = objects.read_json(index_url(self.url))
        except FileNotFoundError:
            raise DataError(f"{self.url}: its index {index_url(self.url)} is missing; delete the shard's record "
                            "or rerun the stage") from None  # fmt: skip
        if not isinstance(document, dict) or document.get("version") != INDEX_VERSION:
            raise DataError(f"{index_url(self.url)}: expected an index of version {INDEX_VERSION}")
        return document

    @property
    def index(self) -> dict[str, dict[str, list[int]]]:
        return cast(dict[str, dict[str, list[int]]], self._document["samples"])

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.index)

    @property
    def sha256(self) -> str:
        return str(self._document["sha256"])

    def note(self, key: str, name: str) -> str | None:
        """What the stage that wrote the shard says of an object; None if nothing, as earlier releases."""
        found = self._document.get("notes", {}).get(key, {}).get(name)
        return None if found is None else str(found)

    def write_notes(self, notes: Mapping[str, Mapping[str, str]]) -> bytes:
        """Writes the index with other notes, by key; what was written."""
        return _write_index(ShardInfo(self.url, int(self._document["size"]), self.sha256, self.index), notes)

    def members(self, keys: Sequence[str]) -> dict[str, dict[str, bytes]]:
        """All members of some keys, by ranged reads; neighbouring ones are read together."""
        wanted = [(key, extension) for key in keys for extension in self._entry(key)]
        spans = [(offset, offset + size) for offset, size in (self.span(*each) for each in wanted)]
        found: dict[str, dict[str, bytes]] = {key: {} for key in keys}
        for (key, extension), data in zip(wanted, self._read_spans(spans), strict=True):
            found[key][extension] = data
        return found

    def extensions(self, key: str) -> list[str]:
        return list(self._entry(key))

    def _entry(self, key: str) -> dict[str, list[int]]:
        try:
            return self.index[key]
        except KeyError:
            raise DataError(f"{self.url}: no object {key!r}") from None

    def read(self, key: str, extension: str) -> bytes:
        """One member, by one ranged read."""
        return self.read_many([key], extension)[0]

    def read_many(self, keys: Sequence[str], extension: str) -> list[bytes]:
        """The member of every key, by a ranged read each, many at a time."""
        return self._read_spans([(offset, offset + n) for offset, n in (self.span(key, extension) for key in keys)])

    def _read_spans(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        try:
            found = ranged_reads.read_ranges(self.url, spans)
        except FileNotFoundError:
            raise self._missing() from None
        for data, (start, stop) in zip(found, spans, strict=True):
            if len(data) != stop - start:
                raise self._truncated(start + len(data))
        return found

    def span(self, key: str, extension: str) -> tuple[int, int]:
        """(offset, length) of a member."""
        entry = self._entry(key)
        if extension not in entry:
            raise DataError(f"{self.url}: object {key!r} has no .{extension} (it has {', '.join(entry)})")
        offset, length = entry[extension]
        return offset, length

    def read_into(self, places: Sequence[tuple[int, Sequence[memoryview]]]) -> list[int]:
        """`ranged_reads.read_into` of the shard."""
        try:
            return ranged_reads.read_into(self.url, places)
        except FileNotFoundError:
            raise self._missing() from None

    def samples(self) -> Iterator[tuple[str, dict[str, bytes]]]:
        """All samples in order, by one sequential read of the whole shard, checked against its sha256."""
        try:
            data = objects.read_bytes(self.url)
        except FileNotFoundError:
            raise self._missing() from None
        if len(data) != self._document["size"]:
            raise self._truncated(len(data))
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise DataError(f"{self.url}: its content is not what was written (sha256 differs); "
                            "delete it and rerun to recreate it")  # fmt: skip
        view = memoryview(data)
        for key, entry in self.index.items():
            yield key, {ext: bytes(view[offset : offset + length]) for ext, (offset, length) in entry.items()}

    def altered(self, key: str) -> DataError:
        """An object's members are not those that were written."""
        return DataError(
            f"{self.url}: the members of object {key!r} are not those that were written; "
            "delete the shard and rerun to recreate it"
        )

    def _missing(self) -> DataError:
        return DataError(f"{self.url}: the shard is missing; rerun the stage that writes it")

    def _truncated(self, found: int) -> DataError:
        return DataError(
            f"{self.url}: truncated: {found:,} of {self._document['size']:,} bytes; delete it and rerun to recreate it"
        )


def encode_array(array: NDArray[Any]) -> bytes:
    """An array as the bytes of a .npy file."""
    sink = io.BytesIO()
    np.save(sink, np.ascontiguousarray(array), allow_pickle=False)
    return sink.getvalue()


def decode_array(data: bytes, what: str) -> NDArray[Any]:
    """The array of a .npy file; DataError names `what` when it is not one."""
    try:
        start = data.index(b"\n") + 1  # the end of the header
        shape, fortran, dtype = _layout(data[:start])
        count = math.prod(shape)
        return np.frombuffer(data, dtype, count, start).reshape(shape, order="F" if fortran else "C").copy()
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{what}: not a .npy array ({error})") from error


@functools.lru_cache(maxsize=64)
def _layout(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and type, by the header of a .npy file: parsed once for all objects alike."""
    file = io.BytesIO(header)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return shape, fortran, dtype
