"""similarity: stored embeddings -> matrices per category, in tiles, for one metric.

    similarity/<metric>/<category>.<row>-<column>-<digest>.sim, similarity.json and its tables
                                                              see store.tiles, store.similarity_index

Only the training split is used: similarity weights the negatives of training batches. Every worker computes the same
plan, from what is stored and what the data set is now, and makes the tiles that `precompute.partition` assigns to it,
prefetching the next tile's views while it computes one. Objects keep their slots (`precompute.growth`), so that only
the pairs of new objects are computed; a tile of which objects are gone is copied without these. All of a category is
computed again when, for (I2L)², its landmarks change. The worker that finds all tiles complete publishes them, which
reads no tile, and removes those that were replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError, did_you_mean
from captionless.precompute.growth import Growth, grow, pairs
from captionless.precompute.partition import PlannedTile, plan_tiles
from captionless.runtime.thread_pools import thread_pool
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import EMBED, LANDMARKS, SIMILARITY
from captionless.spec.similarity import SimilaritySpec
from captionless.stages import chain
from captionless.stages.clip_model import same_clip
from captionless.stages.work_items import Counts, Outcome, Shard, WorkItem, WorkOutput, log_share, work
from captionless.store import objects
from captionless.store import similarity_index as index
from captionless.store.embeddings import Embeddings, open_embeddings
from captionless.store.landmark_store import LandmarkTexts, open_landmarks
from captionless.store.ledger import Ledger
from captionless.store.manifest import MadeFrom, WorkRecord
from captionless.store.tiles import FORMAT, Live, Metric, Tile, TileBlock, check_tile, copy_without, write_tile
from captionless.telemetry.progress import say

if TYPE_CHECKING:
    from captionless.precompute.pair_similarity import ByLandmarks

_NAMED = 5  # categories in a line


def run(spec: AlignmentSpec, metric: Metric, shard: Shard = Shard()) -> Outcome:
    """Makes this worker's tiles of a spec's run."""
    return compute(
        objects.join(spec.root, EMBED),
        objects.join(spec.root, LANDMARKS),
        objects.join(spec.root, SIMILARITY, metric),
        metric,
        spec.similarity.cross_category_sim,
        shard,
        chain.made_from(spec, f"similarity-{metric}"),
    )


def compute(
    dataset: str,
    landmarks: str | None,
    out: str,
    metric: Metric,
    cross_category_sim: float = SimilaritySpec().cross_category_sim,
    shard: Shard = Shard(),
    made_from: MadeFrom | None = None,
) -> Outcome:
    """The same with explicit URLs: `dataset` an embed stage's folder, `landmarks` a landmarks stage's
    (next to the dataset if None; only (I2L)² reads it), `out` the store to make."""
    data = open_embeddings(dataset, "train")
    texts: Mapping[str, LandmarkTexts] = {}
    inputs = {EMBED: dataset}
    if metric == "i2l":
        inputs[LANDMARKS] = landmarks or objects.join(dataset.rstrip("/").rsplit("/", 1)[0], LANDMARKS)
        same_clip(dataset, inputs[LANDMARKS])
        texts = open_landmarks(inputs[LANDMARKS])
    if made_from is None:
        spec = SimilaritySpec(cross_category_sim=cross_category_sim)
        made_from = MadeFrom(chain.similarity_settings(spec), chain.recorded(inputs))
    with thread_pool(1) as pool:
        return _Similarity(data, texts, out, metric, cross_category_sim, pool).work(shard, made_from)


class _Similarity:
    def __init__(
        self,
        data: Embeddings,
        texts: Mapping[str, LandmarkTexts],
        out: str,
        metric: Metric,
        cross_category_sim: float,
        pool: ThreadPoolExecutor,
    ) -> None:
        self.data, self.texts, self.out, self.metric = data, texts, out, metric
        self.cross_category_sim = cross_category_sim
        self.before, self.known = _stored(out, metric)
        self.members = data.members()
        self.landmarks = {category: self._landmarks_digest(category) for category in self.members}
        self.growth = {category: self._growth(category) for category in self.members}
        # the object of every slot, -1 where there is none
        self.slots = {c: np.where(g.indices < 0, -1, self.members[c][g.indices]) for c, g in self.growth.items()}
        self.views = _ViewReader(data, pool, self.slots)
        self._side_source = cache(self._source)  # both sides of every tile of a row
        self._row: tuple[NDArray[Any], ByLandmarks] | None = None
        self._landmarks_of = lru_cache(1)(lambda category: texts[category].embeddings())  # tiles come by category

    def work(self, shard: Shard, made_from: MadeFrom) -> Outcome:
        plan = plan_tiles(self.growth, shard.count, self.metric)
        new = sum(tile.pairs for tile in plan.tiles if tile.stored is None)
        log_share(
            f"similarity {self.metric}: {len(self.members)} categories, "
            f"{sum(tile.pairs for tile in plan.tiles):,} pairs in {len(plan.tiles)} tiles, of which {new:,} are new",
            shard, plan.workers, plan.balance,
        )  # fmt: skip
        again = [f"{category} ({growth.because})" for category, growth in self.growth.items() if growth.because]
        if again:
            say(f"similarity {self.metric}: computed from scratch: {'; '.join(sorted(again)[:_NAMED])}"
                + (f" and {len(again) - _NAMED} other categories" if len(again) > _NAMED else ""))  # fmt: skip
        items = {tile.block: self._work_item(tile) for tile in plan.tiles}
        mine = [items[tile.block] for tile in plan.workers[shard.index]]

        def check(records: Mapping[str, WorkRecord]) -> None:
            self._publish({block: records[item.name] for block, item in items.items()})

        facts = {"crossCategorySim": self.cross_category_sim}
        title, ledger, removed = f"similarity {self.metric}", Ledger(self.out), self._removed()
        outcome = work(title, "pair", ledger, list(items.values()), mine, check, facts, made_from, shard)
        return replace(outcome, removed=removed if shard.index == 0 else 0)  # of all workers, one tells

    def _removed(self) -> int:
        """How many pairs are stored of which a member is gone."""
        gone = set(self.known.names if self.known else ()) - set(self.members)
        categories = [self.known.category(name) for name in sorted(gone)] if self.known else []
        whole = [pairs(sum(key is not None for key in category.keys)) for category in categories]
        return sum(whole) + sum(growth.removed for growth in self.growth.values())

    def _growth(self, category: str) -> Growth:
        own = self.members[category]
        known = self.known is not None and category in self.known.names
        stored = self.known.category(category) if known and self.known else None
        return grow(
            self.data.keys.some(own), self.data.views_digests(own), self.landmarks[category], self.metric, stored
        )

    def _landmarks_digest(self, category: str) -> str:
        if self.metric != "i2l":
            return ""
        if category not in self.texts:
            meant = did_you_mean(category, self.texts)
            raise DataError(f"no landmarks for category {category!r}{meant}; rerun landmarks")
        return self.texts[category].digest

    def _by_slot(self, category: str, start: int = 0, stop: int | None = None) -> list[tuple[str, str] | None]:
        """Key and views digest of the object of every slot, None where there is none."""
        slots = self.slots[category][start:stop]
        there = slots[slots >= 0]
        held = iter(zip(self.data.keys.some(there), self.data.views_digests(there), strict=True))
        return [next(held) if index >= 0 else None for index in slots.tolist()]

    def _source(self, category: str, start: int, stop: int) -> str:
        """Digest of what the similarity of the objects in some slots is made from."""
        held = [each and list(each) for each in self._by_slot(category, start, stop)]
        return objects.digest(index.VALUES, self.metric, held, self.landmarks[category])

    def _work_item(self, tile: PlannedTile) -> WorkItem:
        fingerprint = self._fingerprint(tile)

        def make(advance: Callable[[int], None]) -> WorkOutput:
            made = self._reused(tile, fingerprint)
            counts = Counts(kept=tile.pairs) if made is not None else Counts(made=tile.pairs)
            made = made or self._computed(tile.block, fingerprint)
            return WorkOutput({made.file: made.sha256}, {"category": tile.block.category, **made.entry()}, counts)

        ahead = None if tile.stored else (lambda: self.views.ahead(tile.block))
        return WorkItem(tile.block.name, fingerprint, tile.pairs, make, ahead)

    def _fingerprint(self, tile: PlannedTile) -> str:
        block = tile.block
        if tile.stored is None:
            return objects.digest(*(self._side_source(block.category, *side) for side in (block.rows, block.columns)))
        if not tile.is_copied:
            return tile.stored.source
        return objects.digest("without", tile.stored.source, [side.tolist() for side in self._emptied(block)])

    def _emptied(self, block: TileBlock) -> Live:
        """The rows and columns of a block, counted from its first ones, whose objects are gone since it was stored."""
        emptied = self.growth[block.category].emptied
        rows, columns = (emptied[(emptied >= a) & (emptied < b)] - a for a, b in (block.rows, block.columns))
        return rows, columns

    def _reused(self, tile: PlannedTile, fingerprint: str) -> Tile | None:
        """The stored tile, or a copy of it without the objects that are gone; None if there is none, or it was lost."""
        if tile.stored is None:
            return None
        try:
            if tile.is_copied:
                return copy_without(self.out, tile.stored, self._emptied(tile.block), fingerprint)
            return replace(tile.stored, total=check_tile(self.out, tile.stored))
        except DataError:
            if objects.exists(objects.join(self.out, tile.stored.file)):
                raise
            return None

    def _computed(self, block: TileBlock, fingerprint: str) -> Tile:
        slots = self.slots[block.category]
        rows, columns = (np.flatnonzero(slots[slice(*side)] >= 0) for side in (block.rows, block.columns))

        def name(slot: int) -> str:
            return self.data.keys[int(slots[slot])]

        return write_tile(self.out, block, self._similarity(block), self.metric, fingerprint, name, (rows, columns))

    def _similarity(self, block: TileBlock) -> NDArray[np.float32]:
        from captionless.precompute import pair_similarity  # heavy, and needed only where there is work

        rows, columns = self.views.take(block)
        if not len(rows):
            return np.zeros((0, len(rows if columns is None else columns)), np.float32)
        if self.metric == "i2i":
            return pair_similarity.i2i(rows, columns)
        if self._row is None or self._row[0] is not rows:  # a row of tiles shares its views, and what describes them
            self._row = rows, pair_similarity.ByLandmarks(rows, self._landmarks_of(block.category))
        return self._row[1].similarity(columns)

    def _publish(self, records: Mapping[TileBlock, WorkRecord]) -> None:
        if self._is_stored(records):
            return
        tiles: dict[str, list[Tile]] = {category: [] for category in self.members}
        for block in sorted(records, key=lambda b: (b.columns, b.rows)):
            [file] = records[block].files
            tiles[block.category].append(Tile.of_entry(block.category, records[block].facts, file))
        found = [self._stored_category(category, own) for category, own in tiles.items()]
        index.publish(self.out, self.metric, found, self.cross_category_sim, self.before)

    def _is_stored(self, records: Mapping[TileBlock, WorkRecord]) -> bool:
        """Whether the store that is there already has all this and nothing else."""
        known = self.known
        if known is None or known.stamp is None or known.cross_category_sim != self.cross_category_sim:
            return False
        stored = {t.block: t for growth in self.growth.values() for t in growth.tiles}
        return (
            set(known.names) == set(self.members)
            and all(growth.is_none for growth in self.growth.values())
            and all(stored[block].sha256 == record.facts["sha256"] for block, record in records.items())
        )

    def _stored_category(self, category: str, tiles: Sequence[Tile]) -> index.StoredCategory:
        held = self._by_slot(category)
        keys, views = [each and each[0] for each in held], [each and each[1] for each in held]
        by_key = [list(each) for each in sorted(each for each in held if each is not None)]
        landmarks = self.landmarks[category]
        source = index.source_of(self.metric, by_key, landmarks)
        return index.StoredCategory(category, keys, source, tiles, views, landmarks)


def _stored(out: str, metric: Metric) -> tuple[bytes | None, index.SimilarityIndex | None]:
    """The manifest of the store that is there, and what it holds if it can be read and has such values."""
    before = FORMAT.manifest_bytes(out)
    if before is None:
        return None, None
    try:
        found = index.read_index(out, with_views=True)
    except DataError as error:
        say(f"similarity {metric}: computed from scratch: {error}")
        return before, None
    return before, found if (found.metric, found.values) == (metric, index.VALUES) else None


class _ViewReader:
    """Reads the views of tiles' rows and columns, prefetching the next tile's in the background.

    At most two tiles' views are held; what they share is read once, so along a row of tiles its rows are.
    """

    def __init__(self, data: Embeddings, pool: ThreadPoolExecutor, slots: Mapping[str, NDArray[np.int64]]) -> None:
        self._data, self._pool, self._slots = data, pool, slots
        self._wanted: list[TileBlock] = []
        self._held: dict[tuple[str, tuple[int, int]], Future[NDArray[Any]]] = {}

    def ahead(self, block: TileBlock) -> None:
        """Prefetch a tile's views."""
        if block not in self._wanted:
            self._wanted.append(block)
        for side in (block.rows, block.columns):
            if (block.category, side) not in self._held:
                own = self._slots[block.category][slice(*side)]
                self._held[block.category, side] = self._pool.submit(self._data.views, own[own >= 0])

    def take(self, block: TileBlock) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """(rows, R, F) and (columns, R, F) of the objects that are there, as they are stored; None for the columns of a
        tile on the diagonal.

        Drops earlier tiles.
        """
        self.ahead(block)
        del self._wanted[: self._wanted.index(block)]
        needed = {(b.category, side) for b in self._wanted for side in (b.rows, b.columns)}
        self._held = {side: read for side, read in self._held.items() if side in needed}
        rows = self._held[block.category, block.rows].result()
        return rows, None if block.diagonal else self._held[block.category, block.columns].result()
