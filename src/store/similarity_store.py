"""Stored similarity, looked up for any objects.

Only pairs within a category are stored, in tiles (`tiles`); a pair across categories has the manifest's
`cross_category_sim`. Tiles are made by many workers, each with its own value range, so that publishing them
(`similarity_index.publish`) only means checking that they exist and writing two tables and, last of all, the manifest.
Opening reads these; tiles are mapped or read as they are needed (`tile_cache`). To read a category without this
project:

    store = json.load(open("similarity.json"))
    tables = {name: pyarrow.parquet.read_table(store[name]["file"]).to_pylist() for name in ("objects", "tiles")}
    keys = [row["key"] for row in tables["objects"] if row["category"] == category]    # None: not there any more
    n = len(keys)
    sim = np.eye(n)
    for tile in tables["tiles"]:
        if tile["category"] != category:
            continue
        top, bottom, left, right = (tile[edge] for edge in ("top", "bottom", "left", "right"))
        raw = open(tile["file"], "rb").read()
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

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError, did_you_mean
from captionless.runtime.thread_pools import thread_pool
from captionless.store.columns import Strings
from captionless.store.disk_cache import DiskCache
from captionless.store.key_index import KeyIndex
from captionless.store.published import REQUESTS
from captionless.store.similarity_index import SimilarityIndex, read_index
from captionless.store.tile_cache import TileCache
from captionless.store.tile_layout import layout_of
from captionless.store.tiles import FORMAT, STEPS, Span, TileBlock, check_tile

MEMORY = 1 << 30
"""The default limit of the tiles that are held, in bytes; those of a local store are mapped and not held."""


def open_similarity(url: str, memory: int = MEMORY, disk: DiskCache | None = None) -> SimilarityStore:
    """Open a published store: reads the manifest, the tables and the files' sizes; tiles when they are looked up in.

    memory: how many bytes of tiles may be held, if they are not local. disk: where those are copied to.

    Raises:
        DataError: no manifest, or a file that is missing, truncated or not what the manifest says.
    """
    index = read_index(url)
    FORMAT.check_sizes(url, zip(index.files(), index.bytes.tolist(), strict=True))
    return SimilarityStore(index, memory, disk)


class SimilarityStore:
    """Looks up the similarity of any objects; made by `open_similarity`.

    Attributes:
        metric: "i2i" or "i2l".
        categories: names, sorted.
        cross_category_sim: the value of pairs across categories.
        size: bytes of all tiles.
        tiles: those that are held.
    """

    def __init__(self, index: SimilarityIndex, memory: int = MEMORY, disk: DiskCache | None = None) -> None:
        self._index = index
        self.url, self.metric, self.cross_category_sim = index.url, index.metric, index.cross_category_sim
        self.categories = index.names
        self.size = int(index.bytes.sum())
        self.tiles = TileCache(index, memory, disk)
        live = np.flatnonzero(index.live)
        self._keys = index.keys.drop_null() if index.keys.null_count else index.keys
        self._places = KeyIndex(self._keys)
        if self._places.repeated is not None:
            raise DataError(f'{self.url}: object "{self._places.repeated}" appears twice; rerun the similarity stage')
        # the category of every object, and its slot there
        self._number = np.repeat(np.arange(len(index.names), dtype=np.int32), index.slots)[live]
        self._slot = (live - index.first_slot[self._number]).astype(np.int32)
        self._layout = _Layout.of(index)
        self._step = (index.high - index.low) / STEPS

    @property
    def most_memory(self) -> int:
        """Bytes of the tiles that may come to be held; 0 if they are mapped."""
        return 0 if self.tiles.is_mapped else min(self.size, self.tiles.limit)

    def keys(self, category: str) -> list[str]:
        """The objects of a category, in the order of its matrix."""
        number = self._index.place(category)
        first, stop = np.searchsorted(self._number, [number, number + 1])
        found: list[str] = self._keys[int(first) : int(stop)].to_pylist()
        return found

    def lookup(self, keys: Sequence[str]) -> NDArray[np.float32]:
        """Similarity of every pair of `keys`.

        Args:
            keys: N objects of any categories; the same one may come twice and then has similarity 1.

        Returns:
            (N, N) float32, symmetric, diagonal 1, `cross_category_sim` across categories.

        Raises:
            DataError: an object that is not stored; the message names it. A tile that is missing or damaged.
        """
        places = self._places.places(keys)
        if len(places) and places.min() < 0:
            key = keys[int(np.argmin(places))]
            raise DataError(
                f'{self.url}: no similarity for object "{key}"{did_you_mean(key, Strings(self._keys))}; '
                "run the similarity stage on this dataset"
            )
        sim = np.full((len(keys), len(keys)), self.cross_category_sim, dtype=np.float32)
        order = np.argsort(places, kind="stable")  # by category, then by slot
        numbers, slots = self._number[places[order]], self._slot[places[order]]
        layout = self._layout
        blocks = layout.blocks_of(numbers, slots)
        touched = _touched(numbers, slots, blocks, layout.start, layout.cut, layout.tile, len(self._step))
        parts = _Parts(self._index, order, numbers, slots)
        alone = self.tiles.load(touched, parts.bytes)
        _fill(
            sim, order, numbers, slots, blocks, layout.start, layout.stop, layout.cut, layout.tile,
            self.tiles.steps, self._index.low, self._step,
        )  # fmt: skip
        if alone:
            for place, rows in self.tiles.rows({place: parts.spans(place) for place in alone}):
                parts.fill(sim, place, rows, float(self._index.low[place]), float(self._step[place]))
        return sim

    def matrix(self, category: str) -> NDArray[np.float32]:
        """(n, n) float32: the whole category, in the order of `keys(category)`."""
        return self.lookup(self.keys(category))

    def category_mean(self) -> dict[str, float]:
        """Mean similarity over the pairs of each category; 1 for a category of one object.

        From the tables alone; only tiles of an earlier release are read, once.
        """
        index, means = self._index, {}
        before = np.cumsum([0, *index.live])  # live slots before each
        for number, name in enumerate(self.categories):
            own = slice(int(index.first_tile[number]), int(index.first_tile[number + 1]))
            edges = before[index.first_slot[number] + index.edges[own]]
            rows, columns = edges[:, 1] - edges[:, 0], edges[:, 3] - edges[:, 2]
            is_diagonal = index.edges[own, 0] == index.edges[own, 2]
            pairs = np.where(is_diagonal, rows * (rows - 1) // 2, rows * columns)
            total = float(np.sum(index.low[own] * pairs + self._step[own] * self._totals[own]))
            means[name] = total / int(pairs.sum()) if pairs.sum() else 1.0
        return means

    def verify(self) -> None:
        """Read every byte and compare checksums; DataError names the first file that is damaged."""
        with thread_pool(REQUESTS) as pool:
            list(pool.map(self._checked, range(len(self._step))))

    @property
    def _totals(self) -> NDArray[np.int64]:
        """(tiles,) the sum of each tile's steps."""
        found, unknown = self._index.totals()
        with thread_pool(REQUESTS) as pool:
            found[unknown] = list(pool.map(self._checked, unknown))
        return found

    def _checked(self, place: int) -> int:
        return check_tile(self.url, self._index.tile(int(place)))


@dataclass(frozen=True)
class _Layout:
    """The column blocks of all categories, one after the other: `start`, `stop` and `cut` of each (see `tile_layout`),
    the place of its first tile, and the first block of each category."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    cut: NDArray[np.int64]
    tile: NDArray[np.int64]
    first: NDArray[np.int64]

    @classmethod
    def of(cls, index: SimilarityIndex) -> _Layout:
        """DataError if the tiles of a category do not make up its matrix."""
        found, counts, place = [], [0], 0
        for number, name in enumerate(index.names):
            own = index.edges[index.first_tile[number] : index.first_tile[number + 1]].tolist()
            tiles = [TileBlock(name, (top, bottom), (left, right)) for top, bottom, left, right in own]
            blocks = layout_of(f'{index.url}: the tiles of category "{name}"', int(index.slots[number]), tiles)
            for block in blocks:
                found.append((block.start, block.stop, block.cut, place))
                place += block.strips + (block.stop - block.start > 1)
            counts.append(len(blocks))
        table = np.array(found, np.int64).reshape(-1, 4).T.copy()
        return cls(table[0], table[1], table[2], table[3], np.cumsum(counts))

    def blocks_of(self, numbers: NDArray[np.int32], slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """(n,) the block that each object's column is in; objects are sorted by category and slot."""
        return _blocks_of(numbers, slots, self.stop, self.first)


@numba.njit(cache=True, nogil=True)
def _blocks_of(
    numbers: NDArray[np.int32], slots: NDArray[np.int32], stop: NDArray[np.int64], first: NDArray[np.int64]
) -> NDArray[np.int64]:
    found = np.empty(len(slots), np.int64)
    for p in range(len(slots)):
        own = stop[first[numbers[p]] : first[numbers[p] + 1]]
        found[p] = first[numbers[p]] + np.searchsorted(own, slots[p], side="right")
    return found


@numba.njit(cache=True, nogil=True)
def _tile_of(i: int, block: int, start: NDArray[np.int64], cut: NDArray[np.int64], tile: NDArray[np.int64]) -> int:
    """The place of the tile of row i and a block of columns that is not before it."""
    if i < start[block]:
        return int(tile[block] + i // cut[block])
    return int(tile[block] + (start[block] + cut[block] - 1) // cut[block])


@numba.njit(cache=True, nogil=True)
def _touched(
    numbers: NDArray[np.int32],
    slots: NDArray[np.int32],
    blocks: NDArray[np.int64],
    start: NDArray[np.int64],
    cut: NDArray[np.int64],
    tile: NDArray[np.int64],
    count: int,
) -> NDArray[np.bool_]:
    """(count,) bool: which tiles hold pairs of these objects, sorted by category and slot."""
    touched = np.zeros(count, dtype=np.bool_)
    for q in range(len(slots)):
        if q + 1 < len(slots) and blocks[q + 1] == blocks[q]:
            continue  # the last object of a block meets all that the others meet
        last = -1
        for p in range(q - 1, -1, -1):
            if numbers[p] != numbers[q]:
                break
            if slots[p] < slots[q]:
                t = _tile_of(slots[p], blocks[q], start, cut, tile)
                if t != last:
                    touched[t] = True
                    last = t
    return touched


@numba.njit(cache=True, nogil=True)
def _fill(
    sim: NDArray[np.float32],
    order: NDArray[np.int64],
    numbers: NDArray[np.int32],
    slots: NDArray[np.int32],
    blocks: NDArray[np.int64],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    cut: NDArray[np.int64],
    tile: NDArray[np.int64],
    steps: Any,
    low: NDArray[np.float64],
    step: NDArray[np.float64],
) -> None:
    """Write the pairs within categories into `sim`, but for those in tiles that are not held: compiled, since 512
    objects are up to 130,000 scattered reads.

    Object p of the sorted ones has slot `slots[p]` in category `numbers[p]` and row and column `order[p]` in `sim`.
    """
    for p in range(len(slots)):
        number, i, at = numbers[p], np.int64(slots[p]), order[p]
        sim[at, at] = 1
        block, before, held, base, scale = np.int64(-1), np.int64(0), steps[0], 0.0, 0.0
        for q in range(p + 1, len(slots)):
            if numbers[q] != number:
                break
            j, to = np.int64(slots[q]), order[q]
            value = np.float32(1)
            if i != j:
                if blocks[q] != block:
                    block = blocks[q]
                    t = _tile_of(int(i), int(block), start, cut, tile)
                    held, base, scale = steps[t], low[t], step[t]
                    width = stop[block] - start[block]
                    row = i - start[block]
                    if row >= 0:
                        before = row * (2 * width - row - 1) // 2 - row - 1
                    else:
                        before = i % cut[block] * width
                    before -= start[block]
                if len(held) == 0:
                    continue
                value = np.float32(base + scale * held[before + j])
            sim[at, to] = value
            sim[to, at] = value


class _Parts:
    """What a lookup needs of single tiles: the pairs of a few rows and columns.

    The objects looked up are sorted by category and slot, see `_fill`.
    """

    def __init__(
        self, index: SimilarityIndex, order: NDArray[np.int64], numbers: NDArray[np.int32], slots: NDArray[np.int32]
    ) -> None:
        self._index, self._order, self._numbers, self._slots = index, order, numbers, slots

    def bytes(self, place: int) -> int:
        """Of a tile that is not held, how many bytes are read if its rows are read by themselves."""
        return sum(2 * (stop - start) for _, start, stop in self.spans(place))

    def spans(self, place: int) -> list[Span]:
        """The rows of a tile, and of each the columns from the first to the last that is needed."""
        rows, columns = (np.unique(side - first) for side, _, first in self._sides(place))
        stop = int(columns[-1]) + 1
        if self._is_diagonal(place):
            return [(int(row), int(after), stop) for row, after in pairwise(rows)]
        return [(int(row), int(columns[0]), stop) for row in rows]

    def fill(
        self, sim: NDArray[np.float32], place: int, found: Sequence[NDArray[np.uint16]], low: float, step: float
    ) -> None:
        """Write the pairs of a tile into `sim`, by the steps of its `spans`."""
        (of_rows, row_order, top), (of_columns, column_order, left) = self._sides(place)
        rows, row = np.unique(of_rows - top, return_inverse=True)
        columns, column = np.unique(of_columns - left, return_inverse=True)
        values = np.ones((len(rows), len(columns)), np.float32)
        for at, steps in enumerate(found):
            others = columns[at + 1 :] if self._is_diagonal(place) else columns
            values[at, len(columns) - len(others) :] = low + step * steps[others - others[0]]
        if self._is_diagonal(place):
            below = np.tril_indices(len(rows), -1)
            values[below] = values.T[below]
        part = values[np.ix_(row, column)]
        sim[np.ix_(row_order, column_order)] = part
        sim[np.ix_(column_order, row_order)] = part.T

    def _is_diagonal(self, place: int) -> bool:
        edges = self._index.edges[place]
        return bool(edges[0] == edges[2])

    def _sides(self, place: int) -> list[tuple[NDArray[np.int32], NDArray[np.int64], int]]:
        """Slots of the objects that are rows of a tile, their places in the batch, and the tile's first row; and the
        same of its columns."""
        number = self._index.number_of(place)
        first, stop = np.searchsorted(self._numbers, [number, number + 1])
        top, bottom, left, right = self._index.edges[place].tolist()
        found = []
        for start, end in ((top, bottom), (left, right)):
            own = slice(*(int(first) + np.searchsorted(self._slots[first:stop], [start, end])))
            found.append((self._slots[own], self._order[own], start))
        return found
