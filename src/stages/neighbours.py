"""neighbours: stored embeddings -> every object's k nearest by cosine, in its category or the whole data set.

    <out>/<group>.<row>-<digest>.indices.npy, .similarity.npy, neighbours.json    see store.neighbour_store
    <out>/embeddings/                                                             see stages.vectors

Batches of hard negatives are drawn from these: a seed object and some of its nearest neighbours. Only the training
split is used, as for similarity. Every worker computes the same partition of the groups into blocks of rows and makes
those that `precompute.row_partition` assigns to it: it holds a block's rows, streams the rest of the group past them,
prefetching the next piece while it compares one, and keeps the k best. A block is recomputed when the embedding of any
object of its group changes. The worker that finds all blocks complete publishes them. A finished store keeps its
partition, whatever the number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import zip_longest
from typing import Any

from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.precompute.row_partition import RowBlock, plan_rows
from captionless.runtime.thread_pools import thread_pool
from captionless.stages.vectors import Vectors, part_name, vectors
from captionless.stages.work_items import Outcome, Shard, WorkItem, WorkOutput, log_share, work
from captionless.store import neighbour_store as store
from captionless.store import objects
from captionless.store.columns import Strings
from captionless.store.embeddings import Embeddings, Indices, open_embeddings
from captionless.store.ledger import Ledger
from captionless.store.manifest import WorkRecord

_AT_ONCE = 1 << 14  # objects whose sources are looked up together
_PIECES = 4  # are as much as the largest block: while one is compared, the next is read
WHOLE = "dataset"  # the group of all objects


def compute(dataset: str, out: str, of: str, within: store.Within, k: int, shard: Shard = Shard()) -> Outcome:
    """Makes this worker's blocks of the store `out`; the last worker publishes it.

    dataset: an embed stage's folder. of: "views", "mean", or the URL of a model.pt, see `stages.vectors`. within: where
    an object's neighbours are looked for. k: how many, at least 1.
    """
    data = open_embeddings(dataset, "train")
    if not len(data):
        raise DataError(f"{dataset}: the train split is empty; expected at least one object")
    groups: Mapping[str, Indices] = data.members() if within == "category" else {WHOLE: range(len(data))}
    rows = vectors(of, data, groups, out)
    with thread_pool(1) as pool:
        return _Neighbours(data, groups, rows, _RowReader(rows, pool), out, of, within, k).work(shard)


class _Neighbours:
    def __init__(
        self,
        data: Embeddings,
        groups: Mapping[str, Indices],
        rows: Vectors,
        pieces: _RowReader,
        out: str,
        of: str,
        within: store.Within,
        k: int,
    ) -> None:
        self.rows, self.pieces, self.out, self.of, self.within, self.k = rows, pieces, out, of, within, k
        self.ledger = Ledger(out)
        self.before = store.FORMAT.manifest_bytes(out)
        self.keys = {group: data.keys.taken(own) for group, own in groups.items()}
        self.sources = {
            group: objects.digest_of_rows(store.VALUES, k, rows=_made_from(self.keys[group], rows, own))
            for group, own in groups.items()
        }

    def work(self, shard: Shard) -> Outcome:
        finished = self._finished_cut()
        if finished is None:  # else embeddings are needed only if a block was lost
            self.rows.prepare(shard)
        sizes = {group: len(keys) for group, keys in self.keys.items()}
        plan = plan_rows(sizes, shard.count, self.rows.most_rows, finished)
        log_share(
            f"neighbours: {sum(sizes.values()):,} objects in {len(sizes)} groups, {len(plan.blocks)} blocks",
            shard, plan.workers, plan.balance,
        )  # fmt: skip
        items = {block: self._work_item(block) for block in plan.blocks}
        mine = [items[block] for block in plan.workers[shard.index]]

        def check(records: Mapping[str, WorkRecord]) -> None:
            self._publish({block: records[item.name] for block, item in items.items()})

        return work("neighbours", "pair", self.ledger, list(items.values()), mine, check, shard=shard)

    def _finished_cut(self) -> dict[str, int] | None:
        """The block sizes of an existing store of the same values."""
        found = store.FORMAT.published(self.before, store.digest(self.of, self.within, self.k, self.sources))
        return found and {group: int(entry["side"]) for group, entry in found["groups"].items()}

    def _work_item(self, block: RowBlock) -> WorkItem:
        name = part_name(self.ledger, block.group, block.start)
        fingerprint = objects.digest(self.sources[block.group], block.start, block.stop)

        def make(advance: Callable[[int], None]) -> WorkOutput:
            made = self._block(block, fingerprint, advance)
            return WorkOutput({file.file: file.sha256 for file in made.files}, {"group": block.group, **made.entry()})

        def ahead() -> None:
            self.pieces.ahead(_cut(block, self.rows.most_rows)[0])

        return WorkItem(name, fingerprint, block.pairs, make, ahead)

    def _block(self, block: RowBlock, fingerprint: str, advance: Callable[[int], None]) -> store.NeighbourBlock:
        # imported here because it compiles
        from captionless.precompute.nearest_neighbours import NearestNeighbours

        first, *others = _cut(block, self.rows.most_rows)
        rows = self.pieces.take(first)
        nearest = NearestNeighbours(rows, block.start, self.k, self.keys[block.group])
        for piece, following in zip_longest([first, *others], others):
            if following is not None:
                self.pieces.ahead(following)
            nearest.add(rows, piece.start)
            advance((block.stop - block.start) * (piece.stop - piece.start))
            if following is not None:
                rows = self.pieces.take(following)
        return store.write_block(self.out, block.group, block.start, *nearest.result(), fingerprint)

    def _publish(self, records: Mapping[RowBlock, WorkRecord]) -> None:
        blocks: dict[str, list[store.NeighbourBlock]] = {group: [] for group in self.keys}
        for block, record in records.items():  # by row
            blocks[block.group].append(store.NeighbourBlock.of_entry(record.facts))
        groups = [store.NeighbourGroup(g, keys, self.sources[g], blocks[g]) for g, keys in self.keys.items()]
        store.publish(self.out, self.of, self.within, self.k, groups, self.before)


def _made_from(keys: Strings, rows: Vectors, indices: Indices) -> Iterator[list[str]]:
    """Key and source of every object of a group, made as they are asked for."""
    for start in range(0, len(keys), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        yield from map(list, zip(keys[part], rows.sources(indices[part]), strict=True))


def _cut(block: RowBlock, most: int) -> list[RowBlock]:
    """The pieces of a group that are read for a block of at most `most` rows: its own rows, then all others."""
    size = -(-most // _PIECES)
    ends = ((0, block.start), (block.stop, block.of))
    others = [(at, min(at + size, stop)) for start, stop in ends for at in range(start, stop, size)]
    return [block, *(RowBlock(block.group, start, stop, block.of) for start, stop in others)]


class _RowReader:
    """Reads rows of groups, prefetching them in the background."""

    def __init__(self, rows: Vectors, pool: ThreadPoolExecutor) -> None:
        self._rows, self._pool = rows, pool
        self._read: dict[RowBlock, Future[NDArray[Any]]] = {}

    def ahead(self, piece: RowBlock) -> None:
        """Prefetch a piece."""
        if piece not in self._read:
            self._read[piece] = self._pool.submit(self._rows.read, piece.group, piece.start, piece.stop)

    def take(self, piece: RowBlock) -> NDArray[Any]:
        """(rows, D); they are then dropped."""
        self.ahead(piece)
        return self._read.pop(piece).result()
