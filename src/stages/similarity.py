"""similarity: stored embeddings -> matrices per category, in tiles, for one metric.

    similarity/<metric>/<category>.<row>-<column>.sim, <category>.index, similarity.json    see store.similarity_store

Only the training split is used: similarity weights the negatives of training batches. Every worker computes the same
partition of the matrices and makes the tiles that `precompute.partition` assigns to it, prefetching the next tile's
views while it computes one. A tile is recomputed when the embeddings of one of its objects or, for (I2L)², its
category's landmarks change. The worker that finds all tiles complete publishes them, which reads no tile. A finished
store keeps its partition, whatever the number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError, did_you_mean
from captionless.precompute.partition import WorkPlan, plan_tiles
from captionless.runtime.thread_pools import thread_pool
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import EMBED, LANDMARKS, SIMILARITY
from captionless.spec.similarity import SimilaritySpec
from captionless.stages.work_items import Outcome, Shard, WorkItem, WorkOutput, log_share, work
from captionless.store import objects
from captionless.store import similarity_store as store
from captionless.store.embeddings import Embeddings, open_embeddings
from captionless.store.landmark_store import LandmarkTexts, open_landmarks
from captionless.store.ledger import Ledger, WorkRecord
from captionless.store.tiles import FORMAT, Metric, Tile, TileBlock, write_tile

if TYPE_CHECKING:
    from captionless.precompute.pair_similarity import ByLandmarks

VERSION = 2


def run(spec: AlignmentSpec, metric: Metric, shard: Shard = Shard()) -> Outcome:
    """Makes this worker's tiles of a spec's run."""
    return compute(
        objects.join(spec.root, EMBED),
        objects.join(spec.root, LANDMARKS),
        objects.join(spec.root, SIMILARITY, metric),
        metric,
        spec.similarity.cross_category_sim,
        shard,
    )


def compute(
    dataset: str,
    landmarks: str | None,
    out: str,
    metric: Metric,
    cross_category_sim: float = SimilaritySpec().cross_category_sim,
    shard: Shard = Shard(),
) -> Outcome:
    """The same with explicit URLs: `dataset` an embed stage's folder, `landmarks` a landmarks stage's
    (next to the dataset if None; only (I2L)² reads it), `out` the store to make."""
    data = open_embeddings(dataset, "train")
    texts: Mapping[str, LandmarkTexts] = {}
    if metric == "i2l":
        texts = open_landmarks(landmarks or objects.join(dataset.rstrip("/").rsplit("/", 1)[0], LANDMARKS))
    with thread_pool(1) as pool:
        stage = _Similarity(data, texts, out, metric, cross_category_sim, _ViewReader(data, pool))
        return stage.work(shard)


class _Similarity:
    def __init__(
        self,
        data: Embeddings,
        texts: Mapping[str, LandmarkTexts],
        out: str,
        metric: Metric,
        cross_category_sim: float,
        views: _ViewReader,
    ) -> None:
        self.data, self.texts, self.out, self.metric, self.views = data, texts, out, metric, views
        self.cross_category_sim = cross_category_sim
        self.members = data.members()
        self.keys = {category: [data.keys[i] for i in own] for category, own in self.members.items()}
        self.landmarks = {category: self._landmarks_digest(category) for category in self.members}
        self.sources = {category: self._source(category, 0, len(own)) for category, own in self.members.items()}
        self._side_source = cache(self._source)  # both sides of every tile of a row
        self._row: tuple[NDArray[Any], ByLandmarks] | None = None
        self._landmarks_of = lru_cache(1)(lambda category: texts[category].embeddings())  # tiles come by category

    def work(self, shard: Shard) -> Outcome:
        plan = plan_tiles(
            {c: len(own) for c, own in self.members.items()}, shard.count, self.metric, self._finished_cut()
        )
        log_share(
            f"similarity {self.metric}: {len(self.members)} categories, "
            f"{sum(block.pairs for block in plan.tiles):,} pairs in {len(plan.tiles)} tiles",
            shard, plan.workers, plan.balance,
        )  # fmt: skip
        items = {block: self._work_item(block) for block in plan.tiles}
        mine = [items[block] for block in plan.workers[shard.index]]

        def check(records: Mapping[str, WorkRecord]) -> None:
            self._publish(plan, {block: records[item.name] for block, item in items.items()})

        facts = {"crossCategorySim": self.cross_category_sim}
        return work(f"similarity {self.metric}", "pair", Ledger(self.out), list(items.values()), mine, check, facts)

    def _finished_cut(self) -> dict[str, int] | None:
        """The tile sizes of an existing store of the same values."""
        found = FORMAT.published(self.out, store.digest(self.metric, self.cross_category_sim, self.sources))
        return found and {category: int(entry["side"]) for category, entry in found["categories"].items()}

    def _landmarks_digest(self, category: str) -> str:
        if self.metric != "i2l":
            return ""
        if category not in self.texts:
            meant = did_you_mean(category, self.texts)
            raise DataError(f"no landmarks for category {category!r}{meant}; rerun landmarks")
        return self.texts[category].digest

    def _source(self, category: str, start: int, stop: int) -> str:
        """Digest of what the similarity of some of a category's objects is made from."""
        held = [self.data.objects[i] for i in self.members[category][start:stop]]
        return objects.digest(VERSION, self.metric, [[o.key, o.views_digest] for o in held], self.landmarks[category])

    def _work_item(self, block: TileBlock) -> WorkItem:
        fingerprint = objects.digest(
            *(self._side_source(block.category, *side) for side in (block.rows, block.columns))
        )
        names = self.keys[block.category]

        def make(advance: Callable[[int], None]) -> WorkOutput:
            tile = write_tile(self.out, block, self._similarity(block), self.metric, fingerprint, names)
            return WorkOutput({block.file: tile.sha256}, {"category": block.category, **tile.entry()})

        return WorkItem(
            block.file.removesuffix(".sim"), fingerprint, block.pairs, make, lambda: self.views.ahead(block)
        )

    def _similarity(self, block: TileBlock) -> NDArray[np.float32]:
        from captionless.precompute import pair_similarity  # heavy, and needed only where there is work

        rows, columns = self.views.take(block)
        if self.metric == "i2i":
            return pair_similarity.i2i(rows, columns)
        if self._row is None or self._row[0] is not rows:  # a row of tiles shares its views, and what describes them
            self._row = rows, pair_similarity.ByLandmarks(rows, self._landmarks_of(block.category))
        return self._row[1].similarity(columns)

    def _publish(self, plan: WorkPlan, records: Mapping[TileBlock, WorkRecord]) -> None:
        tiles: dict[str, list[Tile]] = {category: [] for category in self.members}
        for block in sorted(records, key=lambda b: (b.rows, b.columns)):
            tiles[block.category].append(Tile.of_entry(block.category, records[block].facts))
        found = [
            store.StoredCategory(c, keys, self.sources[c], plan.sides[c], tiles[c]) for c, keys in self.keys.items()
        ]
        store.publish(self.out, self.metric, found, self.cross_category_sim)


class _ViewReader:
    """Reads the views of tiles' rows and columns, prefetching the next tile's in the background.

    At most two tiles' views are held; what they share is read once, so along a row of tiles its rows are.
    """

    def __init__(self, data: Embeddings, pool: ThreadPoolExecutor) -> None:
        self._data, self._pool, self._members = data, pool, data.members()
        self._wanted: list[TileBlock] = []
        self._held: dict[tuple[str, tuple[int, int]], Future[NDArray[Any]]] = {}

    def ahead(self, block: TileBlock) -> None:
        """Prefetch a tile's views."""
        if block not in self._wanted:
            self._wanted.append(block)
        for side in (block.rows, block.columns):
            if (block.category, side) not in self._held:
                own = self._members[block.category][side[0] : side[1]]
                self._held[block.category, side] = self._pool.submit(self._data.views, own)

    def take(self, block: TileBlock) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """(rows, R, F) and (columns, R, F) as they are stored, None for the columns of a tile on the diagonal.

        Drops earlier tiles.
        """
        del self._wanted[: self._wanted.index(block)]
        needed = {(b.category, side) for b in self._wanted for side in (b.rows, b.columns)}
        self._held = {side: read for side, read in self._held.items() if side in needed}
        rows = self._held[block.category, block.rows].result()
        return rows, None if block.diagonal else self._held[block.category, block.columns].result()
