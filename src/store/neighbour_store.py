"""Stored nearest neighbours: two `.npy` files a block of objects, and a manifest that makes a folder of them one store.

    <group>.<row>-<digest>.indices.npy      (rows, k) int32: the neighbours' places among the group's keys, nearest
                                            first, -1 where the group has fewer than k others
    <group>.<row>-<digest>.similarity.npy   (rows, k) float32: their cosine similarity, NaN there
    neighbours.json                         JSON: `k`, `of` (what was compared: views, mean, or the URL of an encoder),
                                            `within` (category or dataset), `digest` (what the values depend on),
                                            `made_from` (digest of the whole data set's manifest and of how it was
                                            compared), `data` (digest of the embeddings of the training split; earlier
                                            releases did not say), the tables' files, and of every group its number of
                                            `objects`, `side` (rows of a block) and `source`
    keys-<stamp>.parquet                    a row an object: `group` and `key`, in the order of the groups' names
    blocks-<stamp>.parquet                  a row a block: `group`, first and one past the last row (`top`, `bottom`),
                                            and of both files name, bytes and sha256

Neighbours are within a group: a category, or "dataset", which is all objects. Opening reads the manifest and the
tables; blocks are read, and checked, when they are first looked up in. Stores of version 1, which had everything in the
manifest, are read as well. Without this project:

    store = json.load(open("neighbours.json"))
    keys, blocks = (pyarrow.parquet.read_table(store[name]["file"]).to_pylist() for name in ("keys", "blocks"))
    own = [row["key"] for row in keys if row["group"] == "chair"]
    files = [row for row in blocks if row["group"] == "chair"]
    indices = np.concatenate([np.load(row["indices_file"]) for row in files])
    similarity = np.concatenate([np.load(row["similarity_file"]) for row in files])
    nearest = {key: [own[j] for j in row if j >= 0] for key, row in zip(own, indices)}
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from captionless.errors import DataError, did_you_mean
from captionless.runtime.thread_pools import thread_pool
from captionless.store import objects
from captionless.store.columns import Strings
from captionless.store.file_names import file_stem
from captionless.store.key_index import KeyIndex
from captionless.store.published import REQUESTS, StoreFormat, check_unique, store_table, table_name
from captionless.store.shards import decode_array, encode_array

Within: TypeAlias = Literal["category", "dataset"]

VALUES = 1
"""Version of the values: to be raised when the same embeddings would have other neighbours."""
FORMAT = StoreFormat("neighbours", "neighbours", "neighbours.json", 2, earlier=(1,))
_TABLES = ("keys", "blocks")
_FILE = [("file", pa.string()), ("bytes", pa.int64()), ("sha256", pa.string())]
_NAMED = ("group", pa.dictionary(pa.int32(), pa.string()))
_KEYS = pa.schema([_NAMED, ("key", pa.large_string())])
_BLOCKS = pa.schema(
    [
        _NAMED,
        *((edge, pa.int32()) for edge in ("top", "bottom")),
        *((f"{kind}_{name}", of) for kind in ("indices", "similarity") for name, of in _FILE),
    ]
)


@dataclass(frozen=True)
class StoredFile:
    """A file below the store's folder."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class NeighbourBlock:
    """The neighbours of a group's objects [rows[0], rows[1])."""

    rows: tuple[int, int]
    indices: StoredFile
    similarity: StoredFile

    def entry(self) -> dict[str, Any]:
        """The block as a JSON document, which `of_entry` reads."""
        return {"rows": list(self.rows), "indices": asdict(self.indices), "similarity": asdict(self.similarity)}

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any]) -> NeighbourBlock:
        """The block that `entry` describes; KeyError or TypeError when it is none."""
        start, stop = entry["rows"]
        return cls((int(start), int(stop)), StoredFile(**entry["indices"]), StoredFile(**entry["similarity"]))

    @property
    def files(self) -> tuple[StoredFile, StoredFile]:
        return self.indices, self.similarity


@dataclass(frozen=True)
class NeighbourGroup:
    """Objects whose neighbours are among themselves, the digest of what these were made from, and their blocks by
    row."""

    name: str
    keys: Sequence[str]
    source: str
    blocks: Sequence[NeighbourBlock]


def block_name(group: str, row: int) -> str:
    """The beginning of the names of a block's files, and the name of its work item; `row` is its first."""
    return f"{file_stem(group)}.{row}"


def write_block(
    url: str, group: str, row: int, indices: NDArray[np.int32], similarity: NDArray[np.float32], source: str
) -> NeighbourBlock:
    """Store the neighbours of a group's objects `row` and on, (rows, k) each, under the folder `url`.

    source: digest of what they were made from, in hex; the files' names end with its beginning, so that a worker that
    comes late cannot overwrite a newer one's.
    """
    files = []
    for kind, array in (("indices", indices.astype("<i4")), ("similarity", similarity.astype("<f4"))):
        name, data = f"{block_name(group, row)}-{source[:8]}.{kind}.npy", encode_array(array)
        objects.write_bytes(objects.join(url, name), data)
        files.append(StoredFile(name, len(data), hashlib.sha256(data).hexdigest()))
    return NeighbourBlock((row, row + len(indices)), *files)


def digest(of: str, within: Within, k: int, sources: Mapping[str, str]) -> str:
    """What a store's values depend on, the cut into blocks apart: the `digest` of its manifest."""
    return objects.digest(VALUES, of, within, k, dict(sources))


def stamp(values: str, made_from: str, data: str, blocks: Mapping[str, Sequence[NeighbourBlock]]) -> str:
    """What distinguishes a store from all others: `digest`, what it was made from, and the blocks of every group."""
    files = [[f.file, f.sha256] for _, own in sorted(blocks.items()) for b in own for f in b.files]
    return objects.digest(values, made_from, data, files)[:16]


def is_current(url: str, before: bytes | None, stamp: str) -> bool:
    """Whether the manifest `before` is that of the store with this stamp, and its tables are all there."""
    return FORMAT.is_current(url, before, stamp, _TABLES)


def publish(
    url: str,
    of: str,
    within: Within,
    k: int,
    groups: Iterable[NeighbourGroup],
    before: bytes | None = None,
    made_from: str = "",
    data: str = "",
) -> None:
    """Write the tables and the manifest over the stored blocks of `groups`; from then on `open_neighbours` opens `url`.

    What an earlier store has and this one has not is removed. before: the manifest that may be replaced, None if there
    was none. made_from: digest of all that was compared and how, by which the stage finds out at once that nothing has
    changed. data: digest of the embeddings that it was made from, by which a reader knows its own.

    Raises:
        DataError: no groups, blocks that do not make up their group, a file that is missing or has another size, or
            an object that is there twice.
        Retryable: the manifest is not the one that may be replaced: another run has published its results.
    """
    found = sorted(groups, key=lambda g: g.name)
    if not found:
        raise DataError(f"{url}: no objects; expected the neighbours of at least one")
    check_unique(url, pa.chunked_array([Strings.of(g.keys).column for g in found]))
    values = digest(of, within, k, {g.name: g.source for g in found})
    own = stamp(values, made_from, data, {g.name: g.blocks for g in found})
    _check(url, found)
    document: dict[str, Any] = {
        "format": "captionless neighbours",
        "version": FORMAT.version,
        "of": of,
        "within": within,
        "k": k,
        "digest": values,
        "made_from": made_from,
        "data": data,
        "stamp": own,
        "keys": store_table(url, table_name("keys", own, before), _key_rows(found), _KEYS),
        "blocks": store_table(url, table_name("blocks", own, before), _block_rows(found), _BLOCKS),
        "groups": {
            g.name: {"objects": len(g.keys), "side": g.blocks[0].rows[1] if g.blocks else 0, "source": g.source}
            for g in found
        },
    }
    tables = {document[name]["file"] for name in _TABLES}
    FORMAT.replace(url, document, before, tables | {f.file for g in found for b in g.blocks for f in b.files}, _is_own)


def _is_own(name: str) -> bool:
    return name.endswith((".indices.npy", ".similarity.npy")) or (
        name.startswith(("keys-", "blocks-")) and name.endswith(".parquet")
    )


def _key_rows(groups: Iterable[NeighbourGroup]) -> Iterator[pa.RecordBatch]:
    for g in groups:
        keys = Strings.of(g.keys).column.cast(pa.large_string())
        yield pa.RecordBatch.from_arrays([_named(g.name, len(keys)), keys], schema=_KEYS)


def _block_rows(groups: Iterable[NeighbourGroup]) -> Iterator[pa.RecordBatch]:
    for g in groups:
        rows = [[*b.rows, *(value for f in b.files for value in (f.file, f.bytes, f.sha256))] for b in g.blocks]
        columns = [pa.array([row[i] for row in rows], field.type) for i, field in enumerate(list(_BLOCKS)[1:])]
        yield pa.RecordBatch.from_arrays([_named(g.name, len(rows)), *columns], schema=_BLOCKS)


def _named(name: str, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), [name])


def open_neighbours(url: str) -> Neighbours:
    """Open a published store: reads the manifest, the tables and the files' sizes; blocks when they are looked up in.

    Raises:
        DataError: no manifest, or a file that is missing or truncated.
    """
    store, groups = FORMAT.open(url, partial(_read, url))
    _check(url, groups)
    return store


def content_digest(url: str) -> str:
    """Digest of a published store's neighbours: of which objects they are and every file's bytes, whatever else its
    manifest says. Reads no blocks; DataError when there is no store."""
    return FORMAT.open(url, partial(_content, url))


def _content(url: str, manifest: Any) -> str:
    if manifest["version"] == FORMAT.version:
        names = [f"{kind}_sha256" for kind in ("indices", "similarity")]
        files: Any = FORMAT.read_table(url, manifest["blocks"], names).to_pydict()
        return objects.digest(manifest["digest"], manifest["keys"]["sha256"], files)
    return objects.digest(manifest["digest"], manifest["groups"])


def _read(url: str, manifest: Any) -> tuple[Neighbours, list[NeighbourGroup]]:
    entries = sorted(manifest["groups"].items())
    if manifest["version"] == FORMAT.version:
        blocks: dict[str, list[NeighbourBlock]] = {name: [] for name, _ in entries}
        for row in FORMAT.read_table(url, manifest["blocks"]).to_pylist():
            files = [StoredFile(*(row[f"{kind}_{n}"] for n, _ in _FILE)) for kind in ("indices", "similarity")]
            blocks[row["group"]].append(NeighbourBlock((row["top"], row["bottom"]), *files))
        keys, first, groups = FORMAT.read_table(url, manifest["keys"], ["key"])["key"].combine_chunks(), 0, []
        for name, entry in entries:
            own = Strings(keys.slice(first, int(entry["objects"])))
            groups.append(NeighbourGroup(name, own, str(entry["source"]), blocks[name]))
            first += len(own)
        if first != len(keys):
            raise ValueError(f"{len(keys):,} keys do not fit the groups")
    else:
        groups = [
            NeighbourGroup(
                name,
                Strings.of(entry["keys"]),
                str(entry["source"]),
                [NeighbourBlock.of_entry(b) for b in entry["blocks"]],
            )
            for name, entry in entries
        ]
        columns = [Strings.of(group.keys).column for group in groups]
        keys = pa.chunked_array(columns, pa.large_string()).combine_chunks()
    about = str(manifest["of"]), manifest["within"], int(manifest["k"]), str(manifest.get("data", ""))
    return Neighbours(url, *about, groups, Strings(keys)), groups


def _check(url: str, groups: Iterable[NeighbourGroup]) -> None:
    """DataError unless the blocks make up the groups and their files are all there, with their sizes."""
    for group in groups:
        edges = [0, *(b.rows[1] for b in group.blocks)]
        if [b.rows[0] for b in group.blocks] != edges[:-1] or edges[-1] != len(group.keys):
            raise DataError(f'{url}: the blocks of "{group.name}" do not cover its {len(group.keys):,} objects')
    FORMAT.check_sizes(url, ((f.file, f.bytes) for g in groups for block in g.blocks for f in block.files))


class Neighbours:
    """Looks up the nearest neighbours of any objects; made by `open_neighbours`.

    Attributes:
        of: what was compared: "views", "mean", or the URL of an encoder.
        within: "category" or "dataset".
        k: how many neighbours an object has, where there are enough others.
        data: digest of the embeddings of the training split that it was made from; empty if it does not say.
        keys: all objects, group by group.
    """

    def __init__(
        self, url: str, of: str, within: Within, k: int, data: str, groups: Sequence[NeighbourGroup], keys: Strings
    ) -> None:
        self.url, self.of, self.within, self.k, self.data, self.keys = url, of, within, k, data, keys
        self._index = KeyIndex(keys.column)
        self._blocks = [(group, block) for group in groups for block in group.blocks]
        # the places of every block's first object among all, and of its group's
        counts = [block.rows[1] - block.rows[0] for _, block in self._blocks]
        self._first = np.cumsum([0, *counts])
        self._group = self._first[:-1] - np.array([block.rows[0] for _, block in self._blocks], np.int64)
        self._loaded: dict[int, tuple[NDArray[np.int32], NDArray[np.float32]]] = {}

    def lookup(self, keys: Sequence[str]) -> tuple[list[list[str]], NDArray[np.float32]]:
        """The neighbours of N objects, nearest first.

        Returns:
            Per object its neighbours' keys, fewer than k where its group has fewer others, and their cosine
            similarity, (N, k) float32, NaN where there are fewer.

        Raises:
            DataError: an object that is not stored; the message names it. A file that is missing or damaged.
        """
        places = self.places(keys)
        numbers = np.searchsorted(self._first, places, side="right") - 1
        self._load(sorted(set(numbers.tolist()) - self._loaded.keys()))
        near, similarity = np.full((len(keys), self.k), -1, np.int64), np.full((len(keys), self.k), np.nan, np.float32)
        for at, (number, place) in enumerate(zip(numbers.tolist(), places.tolist(), strict=True)):
            indices, values = self._loaded[number]
            row = place - int(self._first[number])
            near[at] = np.where(indices[row] < 0, -1, indices[row] + self._group[number])
            similarity[at] = values[row]
        found = iter(self.keys.some(near[near >= 0]))
        return [[next(found) for _ in range(count)] for count in (near >= 0).sum(axis=1).tolist()], similarity

    def nearest(self, keys: Strings) -> NDArray[np.int32]:
        """(N, k): the places of N objects' neighbours among these N, nearest first; -1 for one that is not among them,
        and where there are fewer.

        Read a few blocks at a time, none of which is kept: a million objects' are as many numbers, and not their keys.
        DataError as of `lookup`.
        """
        wanted, place_of = self.places(keys), np.full(len(self.keys) + 1, -1, np.int32)  # the last for -1
        place_of[wanted] = np.arange(len(keys), dtype=np.int32)
        found = np.empty((len(keys), self.k), np.int32)
        with thread_pool(REQUESTS) as pool:
            for at in range(0, len(self._blocks), REQUESTS):
                numbers = range(at, min(at + REQUESTS, len(self._blocks)))
                blocks = pool.map(self._file, [self._blocks[number][1].indices for number in numbers])
                for number, indices in zip(numbers, blocks, strict=True):
                    own = place_of[self._first[number] : self._first[number + 1]]
                    near = place_of[np.where(indices < 0, -1, indices + self._group[number])]
                    found[own[own >= 0]] = near[own >= 0]
        return found

    def places(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """The places of some objects among `keys`. DataError when one is not there."""
        places = self._index.places(keys.column if isinstance(keys, Strings) else keys)
        if len(places) and places.min() < 0:
            key = keys[int(np.argmin(places))]
            raise DataError(
                f'{self.url}: no neighbours of object "{key}"{did_you_mean(key, self.keys)}; '
                "run neighbours on this dataset"
            )
        return places

    def verify(self) -> None:
        """Read every byte and compare checksums; DataError names the first file that is damaged."""
        with thread_pool(REQUESTS) as pool:
            list(pool.map(self._file, [file for _, block in self._blocks for file in block.files]))

    def _load(self, numbers: Sequence[int]) -> None:
        with thread_pool(REQUESTS) as pool:
            files = [file for number in numbers for file in self._blocks[number][1].files]
            arrays = list(pool.map(self._file, files))
        for at, number in enumerate(numbers):
            self._loaded[number] = arrays[2 * at], arrays[2 * at + 1]

    def _file(self, file: StoredFile) -> NDArray[Any]:
        target = objects.join(self.url, file.file)
        return decode_array(FORMAT.read_file(target, file.sha256), target)
