"""Stored similarity: tiles, an index per category, and a manifest that makes a folder of them one store.

    <category>.<row>-<column>.sim    the tiles, see `store.tiles`; a small category has one, <category>.0-0.sim
    <category>.index                 JSON: `keys` (the n objects in the matrix's order), `side` (objects in a block),
                                     `tiles` (row by row: rows, columns, min, max, bytes, sha256, source)
    similarity.json                  JSON: `metric`, `cross_category_sim`, every category's index with its checksum,
                                     and `digest`: of what the values depend on, not of the partition

Only pairs within a category are stored; a pair across categories has the manifest's `cross_category_sim`. Tiles are
made by many workers, each with its own value range, so that publishing them (`publish`) only means checking that they
exist and writing the indexes and, last of all, the manifest. Opening reads these; a tile is read at the first lookup
in it. To read a category without this project:

    index = json.loads(open(f"{category}.index").read())
    n = len(index["keys"])
    sim = np.eye(n)
    for tile in index["tiles"]:
        (top, bottom), (left, right) = tile["rows"], tile["columns"]
        raw = open(f"{category}.{top}-{left}.sim", "rb").read()
        assert hashlib.sha256(raw).hexdigest() == tile["sha256"]
        start = 16 + int.from_bytes(raw[8:16], "little")
        values = tile["min"] + np.frombuffer(raw[start:-32], "<u2") * ((tile["max"] - tile["min"]) / 65535)
        if top == left:
            i, j = np.triu_indices(bottom - top, 1)
        else:
            i, j = np.indices((bottom - top, right - left)).reshape(2, -1)
        sim[top + i, left + j] = sim[left + j, top + i] = values
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numba.typed import List
from numpy.typing import NDArray

from captionless.errors import DataError, did_you_mean
from captionless.runtime.thread_pools import thread_pool
from captionless.store import objects
from captionless.store.published import REQUESTS, check_unique
from captionless.store.tiles import FORMAT, VERSION, Metric, Tile, TileBlock, category_stem, check_tile, read_steps

MANIFEST = FORMAT.manifest


@dataclass(frozen=True)
class StoredCategory:
    """A category's part of a store: its objects, the digest of what their similarity was made from, the objects in a
    block, and its tiles, row by row."""

    name: str
    keys: Sequence[str]
    source: str
    side: int
    tiles: Sequence[Tile]

    @property
    def index_file(self) -> str:
        return f"{category_stem(self.name)}.index"


def blocks(category: str, n: int, side: int) -> list[TileBlock]:
    """The tiles that a matrix of n objects is cut into with blocks of `side`, row by row; none for a single object."""
    if n < 2:
        return []
    cuts = list(pairwise([*range(0, n, side), n]))
    return [TileBlock(category, rows, columns) for a, rows in enumerate(cuts) for columns in cuts[a:]]


def publish(url: str, metric: Metric, categories: Iterable[StoredCategory], cross_category_sim: float) -> None:
    """Write indexes and manifest over the stored tiles of `categories`; from then on `open_similarity` opens `url`.

    Every tile is looked for, by its size; `SimilarityStore.verify` reads them.

    Raises:
        DataError: no categories, a tile is missing or has another size, the tiles do not make up a category's matrix,
            or an object is there twice.
    """
    found = sorted(categories, key=lambda c: c.name)
    if not found:
        raise DataError(f"{url}: no categories; expected the similarity of at least one")
    check_unique(url, (key for c in found for key in c.keys))
    _check(url, found)
    listed = {}
    for category in found:
        document = {
            "version": VERSION,
            "metric": metric,
            "holds": "similarity",
            "category": category.name,
            "keys": list(category.keys),
            "source": category.source,
            "side": category.side,
            "tiles": [tile.entry() for tile in category.tiles],
        }
        data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        objects.renew_bytes(objects.join(url, category.index_file), data)
        listed[category.name] = {
            "index": category.index_file,
            "sha256": hashlib.sha256(data).hexdigest(),
            "source": category.source,
            "objects": len(category.keys),
            "side": category.side,
            "bytes": sum(tile.bytes for tile in category.tiles),
        }
    objects.renew_json(
        objects.join(url, MANIFEST),
        {
            "format": "captionless similarity",
            "version": VERSION,
            "metric": metric,
            "holds": "similarity",
            "cross_category_sim": cross_category_sim,
            "digest": digest(metric, cross_category_sim, {c.name: c.source for c in found}),
            "categories": listed,
        },
    )


def digest(metric: Metric, cross_category_sim: float, sources: Mapping[str, str]) -> str:
    """What a store's values depend on, the cut into tiles apart: the `digest` of its manifest."""
    return objects.digest(VERSION, metric, cross_category_sim, dict(sources))


def open_similarity(url: str) -> SimilarityStore:
    """Open a published store: reads the manifest, the indexes and the files' sizes; tiles when they are looked up in.

    Raises:
        DataError: no manifest, or a file that is missing, truncated or not what the manifest says.
    """

    def read(manifest: Any) -> tuple[SimilarityStore, list[StoredCategory]]:
        if manifest["holds"] != "similarity":
            raise ValueError(f"it contains {manifest['holds']!r}")
        with thread_pool(REQUESTS) as pool:
            categories = list(pool.map(lambda item: _category(url, *item), sorted(manifest["categories"].items())))
        return SimilarityStore(url, manifest["metric"], float(manifest["cross_category_sim"]), categories), categories

    store, categories = FORMAT.open(url, read)
    _check(url, categories)
    return store


def _category(url: str, name: str, entry: dict[str, Any]) -> StoredCategory:
    """A category by its index."""
    index = json.loads(FORMAT.read_file(objects.join(url, entry["index"]), entry["sha256"]))
    tiles = [Tile.of_entry(name, entry) for entry in index["tiles"]]
    return StoredCategory(name, index["keys"], str(index["source"]), int(index["side"]), tiles)


def _check(url: str, categories: Iterable[StoredCategory]) -> None:
    """DataError unless the tiles make up the matrices and their files are all there, with their sizes."""
    for category in categories:
        if [t.block for t in category.tiles] != blocks(category.name, len(category.keys), category.side):
            raise DataError(f'{url}: the tiles of category "{category.name}" do not cover its matrix')
    FORMAT.check_sizes(url, ((t.block.file, t.bytes) for category in categories for t in category.tiles))


class SimilarityStore:
    """Looks up the similarity of any objects; made by `open_similarity`.

    Attributes:
        metric: "i2i" or "i2l".
        categories: names, sorted.
        cross_category_sim: the value of pairs across categories.
    """

    def __init__(
        self, url: str, metric: Metric, cross_category_sim: float, categories: Sequence[StoredCategory]
    ) -> None:
        self.url, self.metric, self.cross_category_sim = url, metric, cross_category_sim
        self.categories: tuple[str, ...] = tuple(c.name for c in categories)
        self._categories = {c.name: c for c in categories}
        self._tiles = [tile for c in categories for tile in c.tiles]
        self._place = {key: place for place, key in enumerate(key for c in categories for key in c.keys)}
        counts = [len(c.keys) for c in categories]
        self._number = np.repeat(np.arange(len(categories)), counts)  # the category of every object
        self._row = np.concatenate([np.arange(n) for n in counts])  # and its row there
        self._layout = np.array([(len(c.keys), c.side) for c in categories], dtype=np.int64)
        self._first = np.cumsum([0, *(len(c.tiles) for c in categories)])  # of the categories' tiles
        self._low = np.array([t.low for t in self._tiles])
        self._step = np.array([t.step for t in self._tiles])
        self._loaded = np.zeros(len(self._tiles), dtype=bool)
        # a typed list, so that one compiled call goes over all tiles; those not loaded yet are empty
        self._steps = List([np.frombuffer(b"", "<u2")] * max(1, len(self._tiles)))

    def keys(self, category: str) -> list[str]:
        """The objects of a category, in the order of its matrix."""
        return list(self._named(category).keys)

    def lookup(self, keys: Sequence[str]) -> NDArray[np.float32]:
        """Similarity of every pair of `keys`.

        Args:
            keys: N objects of any categories; the same one may come twice and then has similarity 1.

        Returns:
            (N, N) float32, symmetric, diagonal 1, `cross_category_sim` across categories.

        Raises:
            DataError: an object that is not stored; the message names it. A tile that is missing or damaged.
        """
        try:
            places = np.fromiter((self._place[key] for key in keys), np.int64, len(keys))
        except KeyError as error:
            key = str(error.args[0])
            raise DataError(
                f'{self.url}: no similarity for object "{key}"{did_you_mean(key, self._place)}; '
                "run the similarity stage on this dataset"
            ) from None
        sim = np.full((len(keys), len(keys)), self.cross_category_sim, dtype=np.float32)
        order = np.argsort(places, kind="stable")  # by category, then by row
        numbers, rows = self._number[places[order]], self._row[places[order]]
        self._load(np.flatnonzero(_touched(numbers, rows, self._layout, self._first) & ~self._loaded))
        _fill(sim, order, numbers, rows, self._layout, self._first, self._steps, self._low, self._step)
        return sim

    def matrix(self, category: str) -> NDArray[np.float32]:
        """(n, n) float32: the whole category, in the order of `keys(category)`."""
        return self.lookup(self._named(category).keys)

    def category_mean(self) -> dict[str, float]:
        """Mean similarity over the pairs of each category; 1 for a category of one object."""
        self._load(np.flatnonzero(~self._loaded))
        means = {}
        for name, first, stop in zip(self.categories, self._first[:-1], self._first[1:], strict=True):
            own = range(first, stop)
            pairs = sum(self._tiles[t].block.pairs for t in own)
            total = sum(
                float(self._low[t] * len(self._steps[t]) + self._step[t] * np.sum(self._steps[t], dtype=np.float64))
                for t in own
            )
            means[name] = total / pairs if pairs else 1.0
        return means

    def verify(self) -> None:
        """Read every byte and compare checksums; DataError names the first file that is damaged."""
        with thread_pool(REQUESTS) as pool:
            list(pool.map(lambda tile: check_tile(self.url, tile), self._tiles))

    def _load(self, wanted: NDArray[np.integer[Any]]) -> None:
        if len(wanted):
            with thread_pool(REQUESTS) as pool:
                for place, steps in zip(
                    wanted, pool.map(lambda t: read_steps(self.url, self._tiles[t]), wanted), strict=True
                ):
                    self._steps[int(place)] = steps
                    self._loaded[place] = True

    def _named(self, category: str) -> StoredCategory:
        if category not in self._categories:
            raise DataError(f'{self.url}: no category "{category}"{did_you_mean(category, self.categories)}')
        return self._categories[category]


@numba.njit(cache=True, nogil=True)
def _tile_number(n: int, side: int, first: int, a: int, b: int) -> int:
    """Where the tile of row block a and column block b >= a is in the list of all tiles."""
    count = (n + side - 1) // side
    return first + a * (2 * count - a + 1) // 2 + b - a


@numba.njit(cache=True, nogil=True)
def _touched(
    numbers: NDArray[np.int64], rows: NDArray[np.int64], layout: NDArray[np.int64], first: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(tiles,) bool: which tiles hold pairs of these objects, sorted by category and row."""
    touched = np.zeros(first[-1], dtype=np.bool_)
    for p in range(len(rows)):
        n, side = layout[numbers[p]]
        a = rows[p] // side
        if p > 0 and numbers[p] == numbers[p - 1] and a == rows[p - 1] // side:
            continue  # its block has been dealt with
        last = -1
        for q in range(p + 1, len(rows)):
            if numbers[q] != numbers[p]:
                break
            b = rows[q] // side
            if b != last and n > 1:
                touched[_tile_number(n, side, first[numbers[p]], a, b)] = True
                last = b
    return touched


@numba.njit(cache=True, nogil=True)
def _fill(
    sim: NDArray[np.float32],
    order: NDArray[np.int64],
    numbers: NDArray[np.int64],
    rows: NDArray[np.int64],
    layout: NDArray[np.int64],
    first: NDArray[np.int64],
    tiles: Any,
    low: NDArray[np.float64],
    step: NDArray[np.float64],
) -> None:
    """Write the pairs within categories into `sim`: compiled, since 512 objects are up to 130,000 scattered reads.

    Object p of the sorted ones has row `rows[p]` in category `numbers[p]` and row and column `order[p]` in `sim`.
    """
    for p in range(len(rows)):
        number, i, at = numbers[p], rows[p], order[p]
        n, side = layout[number]
        a = i // side
        sim[at, at] = 1
        block, start, tile, base, scale = -1, 0, tiles[0], 0.0, 0.0
        for q in range(p + 1, len(rows)):
            if numbers[q] != number:
                break
            j, to = rows[q], order[q]
            value = np.float32(1)
            if i != j:
                if j // side != block:
                    block = j // side
                    t = _tile_number(n, side, first[number], a, block)
                    tile, base, scale = tiles[t], low[t], step[t]
                    width = min(side, n - block * side)
                    row = i - a * side
                    start = row * (2 * width - row - 1) // 2 - row - 1 if a == block else row * width
                    start -= block * side
                value = np.float32(base + scale * tile[start + j])
            sim[at, to] = value
            sim[to, at] = value
