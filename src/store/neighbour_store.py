"""Stored nearest neighbours: two `.npy` files a block of objects, and a manifest that makes a folder of them one store.

    <group>.<row>.indices.npy       (rows, k) int32: the neighbours' places among the group's keys, nearest first, -1
                                    where the group has fewer than k others
    <group>.<row>.similarity.npy    (rows, k) float32: their cosine similarity, NaN there
    neighbours.json                 JSON: `k`, `of` (what was compared: views, mean, or the URL of an encoder),
                                    `within` (category or dataset), `digest` (what the values depend on), and for every
                                    group its `keys`, `source` and `blocks`: first and one past the last row, and the
                                    two files with their bytes and sha256

Neighbours are within a group: a category, or "dataset", which is all objects. Names are percent-encoded in file names.
Opening reads the manifest; blocks are read, and checked, when they are first looked up in. Without this project:

    group = json.load(open("neighbours.json"))["groups"]["chair"]
    indices = np.concatenate([np.load(block["indices"]["file"]) for block in group["blocks"]])
    similarity = np.concatenate([np.load(block["similarity"]["file"]) for block in group["blocks"]])
    nearest = {key: [group["keys"][j] for j in row if j >= 0] for key, row in zip(group["keys"], indices)}
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError, did_you_mean
from captionless.runtime.thread_pools import thread_pool
from captionless.store import objects
from captionless.store.published import REQUESTS, StoreFormat, check_unique
from captionless.store.shards import decode_array, encode_array
from captionless.store.tiles import category_stem

Within: TypeAlias = Literal["category", "dataset"]

VERSION = 1
FORMAT = StoreFormat("neighbours", "neighbours", "neighbours.json", VERSION)
MANIFEST = FORMAT.manifest


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
    """The beginning of the names of a block's files; `row` is its first."""
    return f"{category_stem(group)}.{row}"


def write_block(
    url: str, group: str, row: int, indices: NDArray[np.int32], similarity: NDArray[np.float32]
) -> NeighbourBlock:
    """Store the neighbours of a group's objects `row` and on, (rows, k) each, under the folder `url`."""
    files = []
    for kind, array in (("indices", indices.astype("<i4")), ("similarity", similarity.astype("<f4"))):
        name, data = f"{block_name(group, row)}.{kind}.npy", encode_array(array)
        objects.write_bytes(objects.join(url, name), data)
        files.append(StoredFile(name, len(data), hashlib.sha256(data).hexdigest()))
    return NeighbourBlock((row, row + len(indices)), *files)


def digest(of: str, within: Within, k: int, sources: Mapping[str, str]) -> str:
    """What a store's values depend on, the cut into blocks apart: the `digest` of its manifest."""
    return objects.digest(VERSION, of, within, k, dict(sources))


def publish(url: str, of: str, within: Within, k: int, groups: Iterable[NeighbourGroup]) -> None:
    """Write the manifest over the stored blocks of `groups`; from then on `open_neighbours` opens `url`.

    Raises:
        DataError: no groups, blocks that do not make up their group, a file that is missing or has another size, or
            an object that is there twice.
    """
    found = sorted(groups, key=lambda g: g.name)
    if not found:
        raise DataError(f"{url}: no objects; expected the neighbours of at least one")
    check_unique(url, (key for g in found for key in g.keys))
    _check(url, found)
    document = {
        "format": "captionless neighbours",
        "version": VERSION,
        "of": of,
        "within": within,
        "k": k,
        "digest": digest(of, within, k, {g.name: g.source for g in found}),
        "groups": {
            g.name: {"keys": list(g.keys), "source": g.source, "blocks": [b.entry() for b in g.blocks]} for g in found
        },
    }
    objects.renew_json(objects.join(url, MANIFEST), document)


def open_neighbours(url: str) -> Neighbours:
    """Open a published store: reads the manifest and the files' sizes; blocks when they are looked up in.

    Raises:
        DataError: no manifest, or a file that is missing or truncated.
    """

    def read(manifest: Any) -> tuple[Neighbours, list[NeighbourGroup]]:
        groups = [
            NeighbourGroup(
                name, entry["keys"], str(entry["source"]), [NeighbourBlock.of_entry(b) for b in entry["blocks"]]
            )
            for name, entry in sorted(manifest["groups"].items())
        ]
        return Neighbours(url, str(manifest["of"]), manifest["within"], int(manifest["k"]), groups), groups

    store, groups = FORMAT.open(url, read)
    _check(url, groups)
    return store


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
        keys: all objects, group by group.
    """

    def __init__(self, url: str, of: str, within: Within, k: int, groups: Sequence[NeighbourGroup]) -> None:
        self.url, self.of, self.within, self.k = url, of, within, k
        self.keys = [key for group in groups for key in group.keys]
        self._blocks = [(group, block) for group in groups for block in group.blocks]
        self._place = {
            key: (number, row)
            for number, (group, block) in enumerate(self._blocks)
            for row, key in enumerate(group.keys[slice(*block.rows)])
        }
        self._loaded: dict[int, tuple[NDArray[np.int32], NDArray[np.float32]]] = {}

    def lookup(self, keys: Sequence[str]) -> tuple[list[list[str]], NDArray[np.float32]]:
        """The neighbours of N objects, nearest first.

        Returns:
            Per object its neighbours' keys, fewer than k where its group has fewer others, and their cosine
            similarity, (N, k) float32, NaN where there are fewer.

        Raises:
            DataError: an object that is not stored; the message names it. A file that is missing or damaged.
        """
        try:
            places = [self._place[key] for key in keys]
        except KeyError as error:
            key = str(error.args[0])
            raise DataError(
                f'{self.url}: no neighbours of object "{key}"{did_you_mean(key, self._place)}; '
                "run neighbours on this dataset"
            ) from None
        self._load(sorted({number for number, _ in places} - self._loaded.keys()))
        found, similarity = [], np.full((len(keys), self.k), np.nan, dtype=np.float32)
        for at, (number, row) in enumerate(places):
            indices, values = self._loaded[number]
            of_group = self._blocks[number][0].keys
            found.append([of_group[j] for j in indices[row] if j >= 0])
            similarity[at] = values[row]
        return found, similarity

    def verify(self) -> None:
        """Read every byte and compare checksums; DataError names the first file that is damaged."""
        with thread_pool(REQUESTS) as pool:
            list(pool.map(self._read, [file for _, block in self._blocks for file in block.files]))

    def _load(self, numbers: Sequence[int]) -> None:
        with thread_pool(REQUESTS) as pool:
            files = [file for number in numbers for file in self._blocks[number][1].files]
            arrays = list(pool.map(self._read, files))
        for at, number in enumerate(numbers):
            self._loaded[number] = arrays[2 * at], arrays[2 * at + 1]

    def _read(self, file: StoredFile) -> NDArray[Any]:
        target = objects.join(self.url, file.file)
        return decode_array(FORMAT.read_file(target, file.sha256), target)
