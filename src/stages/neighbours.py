"""neighbours: stored embeddings -> every object's k nearest by cosine, in its category or the whole data set.

    <out>/<group>.<row>-<digest>.indices.npy, .similarity.npy, neighbours.json    see store.neighbour_store
    <out>/embeddings/                                                             see stages.vectors

Batches of hard negatives are drawn from these: a seed object and some of its nearest neighbours. Only the training
split is used, as for similarity. Every worker computes the same partition of the groups into blocks of rows and makes
those that `precompute.row_partition` assigns to it: it holds a block's rows, streams the rest of the group past them,
prefetching the next piece while it compares one, and keeps the k best. A block is recomputed when the embedding of any
object of its group changes. The worker that finds all blocks complete publishes them. A finished store keeps its
partition, whatever the number of workers, and says which embeddings it was made from: while these are the same, every
worker knows the groups from the store, and the embeddings are opened only if a block was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from itertools import zip_longest
from typing import Any

from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.precompute.row_partition import RowBlock, keep_rows, plan_rows
from captionless.runtime.redaction import public
from captionless.runtime.thread_pools import thread_pool
from captionless.stages.vectors import VERSION, Vectors, part_name, vectors
from captionless.stages.work_items import Outcome, Shard, WorkItem, WorkOutput, log_share, work
from captionless.store import neighbour_store as store
from captionless.store import objects
from captionless.store.columns import Strings
from captionless.store.embeddings import Embeddings, Indices, open_embeddings
from captionless.store.ledger import Ledger
from captionless.store.manifest import WorkRecord
from captionless.trainer.run_folder import is_model, model_digest

_AT_ONCE = 1 << 14  # objects whose sources are looked up together
_PIECES = 4  # are as much as the largest block: while one is compared, the next is read
WHOLE = "dataset"  # the group of all objects


def compute(dataset: str, out: str, of: str, within: store.Within, k: int, shard: Shard = Shard()) -> Outcome:
    """Makes this worker's blocks of the store `out`; the last worker publishes it.

    dataset: an embed stage's folder. of: "views", "mean", or the URL of a model.pt, see `stages.vectors`. within: where
    an object's neighbours are looked for. k: how many, at least 1.
    """
    with thread_pool(1) as pool:
        return _Neighbours(dataset, out, of, within, k, pool).work(shard)


class _Neighbours:
    def __init__(self, dataset: str, out: str, of: str, within: store.Within, k: int, pool: ThreadPoolExecutor) -> None:
        self.dataset, self.out, self.of, self.within, self.k, self._pool = dataset, out, of, within, k, pool
        self.named = str(public(of))  # as it is stored
        self.ledger = Ledger(out)
        self.before = store.FORMAT.manifest_bytes(out)
        self.model = model_digest(of) if is_model(of) else None
        how = (store.VALUES, VERSION, self.named, within, k, self.model)
        self.made_from = objects.digest(*how, Ledger(dataset).header().digest)
        published = store.FORMAT.published(self.before, made_from=self.made_from)
        if published is not None:
            self.data_digest = published.get("data") or self.data.digest
            self.sizes = {group: int(entry["objects"]) for group, entry in published["groups"].items()}
            self.sources = {group: str(entry["source"]) for group, entry in published["groups"].items()}
        else:
            self.data_digest = self.data.digest
            self.sizes = {group: len(own) for group, own in self.groups.items()}
            self.sources = {group: self._source(group) for group in self.groups}
        self.digest = store.digest(self.named, within, k, self.sources)

    @cached_property
    def data(self) -> Embeddings:
        data = open_embeddings(self.dataset, "train")
        if not len(data):
            raise DataError(f"{self.dataset}: the train split is empty; expected at least one object")
        return data

    @cached_property
    def groups(self) -> Mapping[str, Indices]:
        return self.data.members() if self.within == "category" else {WHOLE: range(len(self.data))}

    @cached_property
    def keys(self) -> Mapping[str, Strings]:
        return {group: self.data.keys.taken(own) for group, own in self.groups.items()}

    @cached_property
    def rows(self) -> Vectors:
        return vectors(self.of, self.data, self.groups, self.out, self.model)

    @cached_property
    def pieces(self) -> _RowReader:
        return _RowReader(self.rows, self._pool)

    def work(self, shard: Shard) -> Outcome:
        sides = self._finished_cut()
        if sides is None:
            self.rows.prepare(shard)
            plan = plan_rows(self.sizes, shard.count, self.rows.most_rows)
        else:  # embeddings are needed only if a block was lost
            plan = keep_rows(self.sizes, shard.count, sides)
        log_share(
            f"neighbours: {sum(self.sizes.values()):,} objects in {len(self.sizes)} groups, {len(plan.blocks)} blocks",
            shard, plan.workers, plan.balance,
        )  # fmt: skip
        items = {block: self._work_item(block) for block in plan.blocks}
        mine = [items[block] for block in plan.workers[shard.index]]

        def check(records: Mapping[str, WorkRecord]) -> None:
            self._publish({block: records[item.name] for block, item in items.items()})

        return work("neighbours", "pair", self.ledger, list(items.values()), mine, check, shard=shard)

    def _source(self, group: str) -> str:
        """Digest of what a group's neighbours are made from."""
        rows = _made_from(self.keys[group], self.rows, self.groups[group])
        return objects.digest_of_rows(store.VALUES, self.k, rows=rows)

    def _finished_cut(self) -> dict[str, int] | None:
        """The block sizes of an existing store of the same values."""
        found = store.FORMAT.published(self.before, digest=self.digest)
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
        from captionless.nearest_neighbours import NearestNeighbours

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
        blocks: dict[str, list[store.NeighbourBlock]] = {group: [] for group in self.sizes}
        for block, record in records.items():  # by row
            blocks[block.group].append(store.NeighbourBlock.of_entry(record.facts))
        if store.is_current(self.out, self.before, store.stamp(self.digest, self.made_from, self.data_digest, blocks)):
            return
        groups = [store.NeighbourGroup(g, keys, self.sources[g], blocks[g]) for g, keys in self.keys.items()]
        made_from = self.made_from, self.data_digest
        store.publish(self.out, self.named, self.within, self.k, groups, self.before, *made_from)


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
