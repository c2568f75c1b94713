"""What a similarity store holds: its manifest, the objects of every category by slot, and the tiles.

    similarity.json           JSON: `metric`, `cross_category_sim`, `digest` (of what the values depend on, not of how
                              they are cut into tiles), the tables' files, and of every category its number of
                              `objects`, `slots` and `tiles`, and digests of what it was made from
    objects-<stamp>.parquet   a row a slot: `category` and `key`, null for an object that is not there any more
    views-<stamp>.parquet     a row a slot: `views`, the digest of the embeddings that were compared
    tiles-<stamp>.parquet     a row a tile: `category`, its rows [top, bottom) and columns [left, right), `file`, `min`,
                              `max`, `bytes`, `sha256`, `source`, and `total`, the sum of its steps

The tables are in the order of the categories' names, slots ascend, and tiles are by column and row. All files but the
manifest are named by what they hold and never change, so that replacing the manifest, which is done only if it is still
the one that was there when the writer began, replaces the store at once.

Stores of version 2, which had an index in JSON for every category and could not grow, are read as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from captionless.errors import DataError, did_you_mean
from captionless.runtime.thread_pools import thread_pool
from captionless.store import objects
from captionless.store.file_names import earlier_stem
from captionless.store.published import REQUESTS, check_unique, store_table, table_name
from captionless.store.tile_layout import ColumnBlock, layout_of
from captionless.store.tiles import FORMAT, SUFFIX, Metric, Tile, TileBlock

MANIFEST = FORMAT.manifest
VALUES = 2
"""Version of the values: to be raised when the same embeddings would have other similarities."""
_OBJECTS = pa.schema(
    [
        ("category", pa.dictionary(pa.int32(), pa.string())),
        ("key", pa.large_string()),
    ]
)
_VIEWS = pa.schema([("views", pa.binary(32))])
_TILES = pa.schema(
    [
        ("category", pa.dictionary(pa.int32(), pa.string())),
        *((name, pa.int32()) for name in ("top", "bottom", "left", "right")),
        ("file", pa.string()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("source", pa.string()),
        ("total", pa.int64()),
    ]
)
_TABLES = ("objects", "views", "tiles")
_PREFIXES = tuple(f"{name}-" for name in _TABLES)
_EDGES = ("top", "bottom", "left", "right")


@dataclass(frozen=True)
class StoredCategory:
    """A category's part of a store.

    keys: of its objects by slot, None where one is not there any more. source: digest of what its similarity was made
    from. tiles: by column and row. views: digests of the objects' embeddings by slot, in hex; None if not recorded.
    landmarks: digest of its landmarks, "" if these are not compared; None if not recorded.
    """

    name: str
    keys: Sequence[str | None]
    source: str
    tiles: Sequence[Tile]
    views: Sequence[str | None] | None = None
    landmarks: str | None = None

    @property
    def blocks(self) -> list[ColumnBlock]:
        """How its matrix is cut. DataError if the tiles do not make it up."""
        return layout_of(f'the tiles of category "{self.name}"', len(self.keys), [t.block for t in self.tiles])


class SimilarityIndex:
    """What a published store holds; made by `read_index`.

    Attributes:
        values: the version of the values, see `VALUES`.
        stamp: digest of what is stored, the cut into tiles included; None of an earlier release's.
        names: the categories, sorted.
        slots: (categories,) how many slots each has.
        counts: (categories,) how many tiles each has.
        keys: of all objects, by category and slot, null where one is not there any more.
        edges: (tiles, 4) the rows [top, bottom) and columns [left, right) of each tile.
    """

    def __init__(
        self, url: str, manifest: dict[str, Any], keys: pa.Array, tiles: pa.Table, views: pa.Array | None = None
    ) -> None:
        self.url, self._manifest, self.keys, self._tiles, self._views = url, manifest, keys, tiles, views
        self.metric: Metric = manifest["metric"]
        self.cross_category_sim = float(manifest["cross_category_sim"])
        self.digest, self.stamp = str(manifest["digest"]), manifest.get("stamp")
        self.values = int(manifest.get("values", VALUES))
        entries: dict[str, Any] = manifest["categories"]
        self.names = tuple(sorted(entries))
        self.slots = np.array([int(entries[name]["slots"]) for name in self.names], np.int64)
        self.counts = np.array([int(entries[name]["tiles"]) for name in self.names], np.int64)
        self.edges = np.stack([tiles[name].to_numpy() for name in _EDGES], axis=1).astype(np.int64)
        self.low, self.high = (tiles[name].to_numpy() for name in ("min", "max"))
        self.bytes: NDArray[np.int64] = tiles["bytes"].to_numpy()
        if self.slots.sum() != len(keys) or self.counts.sum() != len(tiles):
            raise ValueError(f"{len(keys):,} slots and {len(tiles):,} tiles do not fit the categories")

    @cached_property
    def first_slot(self) -> NDArray[np.int64]:
        """(categories + 1,) where each category's slots begin."""
        return np.cumsum([0, *self.slots])

    @cached_property
    def first_tile(self) -> NDArray[np.int64]:
        """(categories + 1,) where each category's tiles begin."""
        return np.cumsum([0, *self.counts])

    @cached_property
    def live(self) -> NDArray[np.bool_]:
        """(slots,) whether the object is there, by category and slot."""
        found: NDArray[np.bool_] = pc.is_valid(self.keys).to_numpy(zero_copy_only=False)
        return found

    def number_of(self, place: int) -> int:
        """The number of the category that the tile at a place among all belongs to."""
        return int(np.searchsorted(self.first_tile, place, side="right")) - 1

    def files(self) -> list[str]:
        """The files of all tiles."""
        found: list[str] = self._tiles["file"].to_pylist()
        return found

    def totals(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(tiles,) the sum of each tile's steps, and the places of those for which it is not recorded."""
        column = self._tiles["total"]
        unknown = np.flatnonzero(pc.is_null(column).to_numpy())
        return pc.fill_null(column, 0).to_numpy().copy(), unknown

    def tile(self, place: int) -> Tile:
        """The tile at a place among all."""
        name = self.names[self.number_of(place)]
        top, bottom, left, right = (int(edge) for edge in self.edges[place])
        row = {
            c: self._tiles[c][int(place)].as_py() for c in ("file", "min", "max", "bytes", "sha256", "source", "total")
        }
        return Tile(
            TileBlock(name, (top, bottom), (left, right)),
            row["file"], row["min"], row["max"], row["bytes"], row["sha256"], row["source"], row["total"],
        )  # fmt: skip

    def category(self, name: str) -> StoredCategory:
        """A category with all that was read of it. DataError if there is none of this name."""
        at = self.place(name)
        slots = slice(int(self.first_slot[at]), int(self.first_slot[at + 1]))
        entry = self._manifest["categories"][name]
        tiles = [self.tile(place) for place in range(int(self.first_tile[at]), int(self.first_tile[at + 1]))]
        views = None if self._views is None else [v and v.hex() for v in self._views[slots].to_pylist()]
        landmarks = entry.get("landmarks")
        return StoredCategory(name, self.keys[slots].to_pylist(), str(entry["source"]), tiles, views, landmarks)

    def place(self, name: str) -> int:
        """The number of a category. DataError if there is none of this name."""
        if name not in self._manifest["categories"]:
            raise DataError(f'{self.url}: no category "{name}"{did_you_mean(name, self.names)}')
        return self.names.index(name)


def digest(metric: Metric, cross_category_sim: float, sources: dict[str, str]) -> str:
    """What a store's values depend on, the cut into tiles apart: the `digest` of its manifest."""
    return objects.digest(VALUES, metric, cross_category_sim, sources)


def source_of(metric: Metric, held: Sequence[Sequence[str]], landmarks: str) -> str:
    """The `source` of a category: what the similarity of `held`, key and views digest of each object by key, is made
    from."""
    return objects.digest(VALUES, metric, held, landmarks)


def publish(
    url: str,
    metric: Metric,
    categories: Iterable[StoredCategory],
    cross_category_sim: float,
    before: bytes | None = None,
) -> None:
    """Write the tables and the manifest over the stored tiles of `categories`; from then on `read_index` reads them.

    Every tile is looked for, by its size. What an earlier store has and this one has not is removed.

    before: the manifest that may be replaced, None if there was none.

    Raises:
        DataError: no categories, a tile is missing or has another size, the tiles do not make up a category's matrix,
            or an object is there twice.
        Retryable: the manifest is not the one that may be replaced: another run has published its results.
    """
    found = sorted(categories, key=lambda c: c.name)
    if not found:
        raise DataError(f"{url}: no categories; expected the similarity of at least one")
    values = digest(metric, cross_category_sim, {c.name: c.source for c in found})
    stamp = objects.digest(values, [[t.file, t.sha256] for c in found for t in c.tiles])[:16]
    _check(url, found)
    if FORMAT.is_current(url, before, stamp, _TABLES):
        return
    document: dict[str, Any] = {
        "format": "captionless similarity",
        "version": FORMAT.version,
        "metric": metric,
        "holds": "similarity",
        "cross_category_sim": cross_category_sim,
        "values": VALUES,
        "digest": values,
        "stamp": stamp,
        "objects": store_table(url, table_name("objects", stamp, before), _object_rows(found), _OBJECTS),
        "views": store_table(url, table_name("views", stamp, before), _view_rows(found), _VIEWS),
        "tiles": store_table(url, table_name("tiles", stamp, before), _tile_rows(found), _TILES),
        "categories": {c.name: _entry(c) for c in found},
    }
    tables = {document[name]["file"] for name in _TABLES}
    FORMAT.replace(url, document, before, tables | {t.file for c in found for t in c.tiles}, _is_own)


def read_index(url: str, with_views: bool = False) -> SimilarityIndex:
    """What the store at `url` holds: reads the manifest and the tables, that of the views' digests only if asked for.

    Raises:
        DataError: no manifest, or a file that is missing, truncated or not what the manifest says.
    """
    return FORMAT.open(url, partial(_index, url, with_views))


def _index(url: str, with_views: bool, manifest: dict[str, Any]) -> SimilarityIndex:
    if manifest["holds"] != "similarity":
        raise ValueError(f"it contains {manifest['holds']!r}")
    if manifest["version"] != FORMAT.version:
        return _earlier(url, manifest)
    keys = FORMAT.read_table(url, manifest["objects"], ["key"])["key"].combine_chunks()
    views = FORMAT.read_table(url, manifest["views"])["views"].combine_chunks() if with_views else None
    return SimilarityIndex(url, manifest, keys, FORMAT.read_table(url, manifest["tiles"]), views)


def _earlier(url: str, manifest: dict[str, Any]) -> SimilarityIndex:
    """A store of version 2: an index a category, blocks of `side` objects, tiles named by their category and place."""

    def read(item: tuple[str, dict[str, Any]]) -> StoredCategory:
        name, entry = item
        index = json.loads(FORMAT.read_file(objects.join(url, entry["index"]), entry["sha256"]))
        stem = earlier_stem(name)
        tiles = [
            Tile.of_entry(name, each, f"{stem}.{each['rows'][0]}-{each['columns'][0]}{SUFFIX}")
            for each in index["tiles"]
        ]
        tiles.sort(key=lambda tile: (tile.block.columns, tile.block.rows))
        return StoredCategory(name, index["keys"], str(index["source"]), [t for t in tiles if t.block.pairs])

    with thread_pool(REQUESTS) as pool:
        categories = list(pool.map(read, sorted(manifest["categories"].items())))
    keys = pa.array([key for c in categories for key in c.keys], pa.large_string())
    rewritten = {**manifest, "categories": {c.name: _entry(c) for c in categories}}
    tiles = pa.Table.from_batches(_tile_rows(categories), _TILES)
    return SimilarityIndex(url, rewritten, keys, tiles.combine_chunks())


def _entry(category: StoredCategory) -> dict[str, Any]:
    return {
        "objects": sum(key is not None for key in category.keys),
        "slots": len(category.keys),
        "tiles": len(category.tiles),
        "source": category.source,
        "landmarks": category.landmarks,
    }


def _object_rows(categories: Iterable[StoredCategory]) -> Iterator[pa.RecordBatch]:
    for c in categories:
        yield pa.RecordBatch.from_arrays(
            [_named(c.name, len(c.keys)), pa.array(c.keys, pa.large_string())], schema=_OBJECTS
        )


def _view_rows(categories: Iterable[StoredCategory]) -> Iterator[pa.RecordBatch]:
    for c in categories:
        views = [v and bytes.fromhex(v) for v in c.views or [None] * len(c.keys)]
        yield pa.RecordBatch.from_arrays([pa.array(views, pa.binary(32))], schema=_VIEWS)


def _tile_rows(categories: Iterable[StoredCategory]) -> Iterator[pa.RecordBatch]:
    for c in categories:
        columns = [_named(c.name, len(c.tiles))]
        values = [
            [*t.block.rows, *t.block.columns, t.file, t.low, t.high, t.bytes, t.sha256, t.source, t.total]
            for t in c.tiles
        ]
        columns += [pa.array([row[i] for row in values], field.type) for i, field in enumerate(list(_TILES)[1:])]
        yield pa.RecordBatch.from_arrays(columns, schema=_TILES)


def _named(name: str, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), [name])


def _check(url: str, categories: Iterable[StoredCategory]) -> None:
    """DataError unless the tiles make up the matrices and their files are all there, and no object is twice."""
    check_unique(
        url, pa.chunked_array([pa.array([k for k in c.keys if k is not None], pa.large_string()) for c in categories])
    )
    for c in categories:
        layout_of(f'{url}: the tiles of category "{c.name}"', len(c.keys), [t.block for t in c.tiles])
    FORMAT.check_sizes(url, ((t.file, t.bytes) for c in categories for t in c.tiles))


def _is_own(name: str) -> bool:
    """Whether a file of this name is a tile, a table, or an earlier release's index."""
    return name.endswith((SUFFIX, ".index")) or (name.startswith(_PREFIXES) and name.endswith(".parquet"))
