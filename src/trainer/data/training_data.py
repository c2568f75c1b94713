"""The batches of a training run, each a pure function of (seed, step): no state to save, nothing to replay.

`batches` says which objects a global batch holds; its content does not depend on the number of ranks. The view and the
augmentation of an object, and what the encoder drops of it, are drawn from (seed, step, key, occurrence), the last for
an object that a hard-negative batch holds more than once: another sample each time, the same whichever rank or
micro-batch it is in. Runs with the same seed and different weights see the same samples in the same order.
Hard-negative batches depend on a table of neighbours as well, which a checkpoint holds.

A batch is made in two parts, so that both can be done ahead of its step (`read_ahead`): its objects are read
(`samples`), then they are augmented.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captionless.errors import DataError, SpecError
from captionless.spec.train import TrainSpec
from captionless.store import objects
from captionless.store.columns import Strings
from captionless.store.embeddings import Embeddings, open_embeddings
from captionless.telemetry import catalog, registry
from captionless.telemetry.progress import say
from captionless.trainer import distributed
from captionless.trainer.data.augment import DrawnClouds, drawn_clouds, on_device, training_clouds, with_channels
from captionless.trainer.data.batches import EpochOrder, WindowedOrder, by_shard, cut, occurrences, with_neighbours
from captionless.trainer.data.node_cache import NodeCache
from captionless.trainer.data.samples import SampleRows, Samples
from captionless.trainer.data.shards_ahead import WITHOUT_DISK, ShardsAhead, has_room
from captionless.trainer.data.splits import held_out
from captionless.trainer.seeds import generator, number
from captionless.trainer.training_job import MEMORY


@dataclass(frozen=True)
class Batch:
    """A rank's part of a global batch of N objects, n rows.

    image: (n, F) float32, one view per object or the mean of some, L2-normalised; (n, V, F), `train.views.count` of
    each, where each is a positive by itself. points: (n, m, in_channels) float32. keys, categories: of all N objects,
    rank after rank. sizes: rows held by each rank. micro_batches: this rank's rows of each. seeds: (n,) int64, not
    negative, what the encoder's random numbers for each of the rank's rows follow from. similarity: (n, N) float32 of
    the rank's objects to all, one array for each similarity that the weights need. damaged: which of the n objects are
    not what they must be, and why; with any of them, image and points are empty. drawn: what the device makes the
    points of, which are empty then. groups: (N,) which group of a hard-negative batch each object is in; None in a
    random batch. means: (n, F) the mean of each object's stored views, L2-normalised; empty unless `train.batches`
    masks false negatives.
    """

    image: NDArray[np.float32]
    points: NDArray[np.float32]
    keys: list[str]
    categories: list[str]
    sizes: list[int]
    micro_batches: list[int]
    seeds: NDArray[np.int64]
    similarity: list[NDArray[np.float32]] = field(default_factory=list)
    damaged: Mapping[int, DataError] = field(default_factory=dict)
    drawn: DrawnClouds | None = None
    groups: NDArray[np.int64] | None = None
    means: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def points_on(self, device: torch.device) -> Tensor:
        """The clouds on a device, made there if they are not yet."""
        if self.drawn is None:
            return torch.from_numpy(self.points).to(device)
        return on_device(self.drawn, device, self.points.shape[-1])


@dataclass(frozen=True)
class RawBatch:
    """A rank's part of a global batch, as stored.

    keys, categories: of the N objects, rank after rank. generators: those of the rank's own n, after their views were
    drawn. seeds, similarity, groups: as in `Batch`. views: those drawn of the rows' images, if these are of all views.
    """

    keys: list[str]
    categories: list[str]
    sizes: list[int]
    micro_batches: list[int]
    generators: list[np.random.Generator]
    seeds: NDArray[np.int64]
    rows: SampleRows
    similarity: list[NDArray[np.float32]]
    groups: NDArray[np.int64] | None
    views: NDArray[np.int64] | None


class _Dealt(NamedTuple):
    """The global batch of a step, rank after rank: its epoch, the objects, their `occurrences`, whose order does not
    depend on the ranks, their groups, and `cut`."""

    epoch: int
    objects: NDArray[np.int64]
    again: NDArray[np.int64]
    groups: NDArray[np.int64] | None
    cuts: list[list[NDArray[np.int64]]]


LookUp = Callable[[Sequence[str], Sequence[str], slice], list[NDArray[np.float32]]]
"""Keys and categories of a batch, and a rank's rows of it -> `Batch.similarity`."""


class TrainingData:
    """The training split, of which at most `memory` bytes are kept; with `look_up` batches come with similarity, which
    is read with them, ahead of the steps. The ranks of a node keep objects together, and copy those in storage that
    memory has no room for to its disk. `for_device`: clouds are drawn only, and made on the step's device."""

    def __init__(
        self,
        url: str,
        spec: TrainSpec,
        seed: int,
        memory: int = MEMORY,
        look_up: LookUp = lambda *batch: [],
        node: NodeCache = NodeCache(),
        for_device: bool = False,
    ) -> None:
        self._look_up, self._for_device = look_up, for_device
        self._data = data = open_embeddings(url, "train", node.folder)
        if len(data) < 2:
            raise DataError(f"{url}: {len(data)} training objects; contrastive training requires at least 2")
        self.keys, self.categories, self.digest = data.keys, data.categories, data.digest
        out = held_out(self.keys, self.categories, spec.validation.share)
        self.training, self.validation = np.flatnonzero(~out), np.flatnonzero(out)
        of_validation = len(self.validation) * data.views_layout.shape[1] * np.dtype(np.float32).itemsize
        self.samples = Samples(data, max(0, memory - of_validation - metadata_bytes(data, node)), node)
        if self.samples.stored_points < spec.points:
            raise SpecError(
                f"train.points: {spec.points}, but {url} stores {self.samples.stored_points} points per object; "
                "lower it, or raise data.points and rerun pack"
            )
        if spec.views.count > self.samples.views:
            raise SpecError(
                f"train.views.count: {spec.views.count}, but {url} stores {self.samples.views} views per object; lower "
                "it, or raise data.views and rerun pack"
            )
        disk = node.disk
        if self.samples.room < len(data):
            if disk is not None:
                data.copy_to(disk)
            elif spec.batches.shuffle == "windowed" and not objects.is_local(url) and distributed.rank() == 0:
                say(WITHOUT_DISK)
        self.spec, self.seed = spec, seed
        self.batch_size = min(spec.batch_size, len(self.training))
        if spec.batches.kind == "neighbours" and spec.batches.candidates >= len(self.training):
            raise SpecError(
                f"train.batches.candidates: {spec.batches.candidates}, but there are {len(self.training)} training "
                "objects; lower it"
            )
        self._shards = data.shards.codes if spec.batches.shuffle == "windowed" else None
        self._order = (
            EpochOrder(len(self.training), seed)
            if self._shards is None
            else WindowedOrder(self._shards[self.training], spec.batches.window, seed)
        )
        self._disk = disk
        self._shards_ahead: ShardsAhead | None = None
        if disk is not None and self._shards is not None and len(data.extents):
            ahead = ShardsAhead(data, self._uncached, spec.steps, self.batch_size, spec.batches.window)
            if has_room(ahead.needed, disk.limit):
                self._shards_ahead = ahead
        self.nearest: NDArray[np.int32] | None = None
        """(training objects, k): each one's neighbours among `training`, by place, for hard-negative batches."""

    @cached_property
    def _training_keys(self) -> Strings:
        """Of `training`, the places in `nearest`."""
        return self.keys.taken(self.training)

    @property
    def features(self) -> int:
        """Dimension of the view embeddings."""
        return self.samples.features

    def epoch(self, step: int) -> int:
        """The epoch of a step (from 0)."""
        return step // (len(self.training) // self.batch_size)

    def indices(self, step: int) -> tuple[int, NDArray[np.int64]]:
        """The epoch of a step (from 0) and the objects of its global batch, (N,) int64."""
        epoch, chosen, _ = self._chosen(step)
        return epoch, chosen

    def _chosen(self, step: int) -> tuple[int, NDArray[np.int64], NDArray[np.int64] | None]:
        """`indices`, and the objects' groups."""
        epoch, batch = self._order.batch(step, self.batch_size)
        groups = None
        if self.nearest is not None:
            made_of = self.spec.batches.group, self.nearest, self._training_keys
            batch, groups = with_neighbours(batch, *made_of, self.seed, epoch)
        return epoch, self.training[batch], groups

    def clouds(self, objects: NDArray[np.int64], strict: bool = False) -> NDArray[np.float16]:
        """The stored points of some objects, (n, P, 3).

        DataError when one is damaged. Where `train.maxSkipped` allows some, unless `strict`, that one is at the origin
        with all its points: it will be left out of the batch that it comes into.
        """
        rows = self.samples.read(objects, np.zeros_like(objects), self._tolerant and not strict)
        rows.points[list(rows.damaged)] = 0
        return rows.points

    def images(self, objects: NDArray[np.int64]) -> NDArray[np.float32]:
        """The first view's embedding of each of some objects, (n, F), L2-normalised. DataError when one is damaged."""
        return _normalised(self.samples.images(objects))

    def read(self, step: int, rank: int = 0, world: int = 1, without: Collection[str] = ()) -> RawBatch:
        """The part of rank `rank` of `world` in the global batch of a step, from which some keys are left out first.

        DataError when an object is damaged, unless `train.maxSkipped` allows some: then it is reported with the rows.
        """
        if self._shards_ahead is not None:
            self._shards_ahead.ready(step)
        _, everyone, again, groups, cuts = self._dealt(step, world, without)
        sizes = [sum(map(len, of_rank)) for of_rank in cuts]
        rank_rows = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        own, own_again = everyone[rank_rows], again[rank_rows].tolist()
        draws = [(self.seed, step, key, n) for key, n in zip(self.keys.some(own), own_again, strict=True)]
        generators = [generator("sample", *draw) for draw in draws]
        seeds = np.array([number("dropout", *draw) for draw in draws], dtype=np.int64)
        views = drawn = self._drawn_views(generators)
        if self._wants_means:
            views = np.tile(np.arange(self.samples.views), (len(own), 1))
        rows = self.samples.read(own, views, self._tolerant)
        keys, categories = self.keys.some(everyone), self.categories.some(everyone)
        similarity = self._look_up(keys, categories, rank_rows)
        micro_batches = [len(place) for place in cuts[rank]]
        of_all = drawn if self._wants_means else None
        return RawBatch(keys, categories, sizes, micro_batches, generators, seeds, rows, similarity, groups, of_all)

    def _dealt(self, step: int, world: int, without: Collection[str] = ()) -> _Dealt:
        epoch, chosen, groups = self._chosen(step)
        order = np.arange(len(chosen))
        if without:
            order = np.array([place for place, i in enumerate(chosen) if self.keys[i] not in without], dtype=np.int64)
        if self._shards is not None:
            order = order[by_shard(chosen[order], self._shards, self.spec.accumulate)]
        cuts = cut(len(order), self.spec.accumulate, world)
        places = np.concatenate([place for of_rank in cuts for place in of_rank])
        again, dealt = occurrences(chosen[order])[places], order[places]
        return _Dealt(epoch, chosen[dealt], again, None if groups is None else groups[dealt], cuts)

    def _uncached(self, step: int) -> tuple[int, NDArray[np.int64]]:
        """The epoch of a step, and which of its objects this process reads from storage."""
        rank, world = distributed.rank(), distributed.world_size()
        epoch, everyone, _, _, cuts = self._dealt(step, world)
        sizes = [sum(map(len, of_rank)) for of_rank in cuts]
        own = everyone[sum(sizes[:rank]) : sum(sizes[: rank + 1])]
        return epoch, own[~self.samples.holds(own)]

    def tell(self) -> None:
        """Sets the metrics of what is cached."""
        registry.set_value(catalog.TRAIN_DATA_MEMORY, self.samples.held, holds="objects")
        registry.set_value(catalog.TRAIN_DATA_MEMORY, self._data.table_bytes, holds="table")
        registry.set_value(catalog.TRAIN_DATA_DISK, 0 if self._disk is None else self._disk.used)

    def close(self) -> None:
        """Begin to read nothing more."""
        if self._shards_ahead is not None:
            self._shards_ahead.close()

    def make(self, raw: RawBatch) -> Batch:
        """What the encoder gets."""
        image, drawn, means = raw.rows.image, None, np.empty((0, self.features), np.float32)
        if raw.views is not None:
            if not raw.rows.damaged:
                means = _normalised(_normalised(image).mean(1))
            image = image[np.arange(len(image)).reshape(-1, *[1] * (raw.views.ndim - 1)), raw.views]
        clouds = np.empty((0, self.spec.points, 3), np.float32)
        if raw.rows.damaged:  # it is to be made again without them
            image = image[:0]
        elif self._for_device:
            drawn = drawn_clouds(raw.rows.points, self.spec.points, self.spec.augment, raw.generators)
        else:
            clouds = training_clouds(raw.rows.points, self.spec.points, self.spec.augment, raw.generators)
        return Batch(
            _normalised(_normalised(image).mean(1) if self.spec.views.loss == "mean" else image),
            with_channels(clouds, self.spec.encoder.in_channels),
            raw.keys,
            raw.categories,
            raw.sizes,
            raw.micro_batches,
            raw.seeds,
            raw.similarity,
            raw.rows.damaged,
            drawn,
            raw.groups,
            means,
        )

    def batch(self, step: int, rank: int = 0, world: int = 1, without: Collection[str] = ()) -> Batch:
        """`make(read(...))`."""
        return self.make(self.read(step, rank, world, without))

    def _drawn_views(self, generators: Sequence[np.random.Generator]) -> NDArray[np.int64]:
        """The view of each object, (n,), or `train.views.count` different ones, (n, V)."""
        stored, count = self.samples.views, self.spec.views.count
        if count == 1:
            return np.array([g.integers(stored) for g in generators], dtype=np.int64)
        drawn = [g.permutation(stored)[:count] for g in generators]
        return np.array(drawn, dtype=np.int64).reshape(len(drawn), count)

    @property
    def _wants_means(self) -> bool:
        return self.spec.batches.false_negatives > 0

    @property
    def _tolerant(self) -> bool:
        return self.spec.max_skipped > 0


def metadata_bytes(data: Embeddings, node: NodeCache) -> int:
    """What a rank's part of the memory has to hold beside objects: its share of the table, the split, two orders of an
    epoch, and for each object whether it was verified and where it is."""
    shares = node.ranks if node.folder else 1
    return data.table_bytes // shares + 30 * len(data)


def _normalised(image: NDArray[np.floating]) -> NDArray[np.float32]:
    rows = image.astype(np.float32)
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows
