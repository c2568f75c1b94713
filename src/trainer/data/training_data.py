"""The batches of a training run, each a pure function of (seed, step): no state to save, nothing to replay.

`batches` says which objects a global batch holds; its content does not depend on the number of ranks. The view and the
augmentation of an object are drawn from (seed, epoch, key); runs with the same seed and different weights see the same
samples in the same order. Hard-negative batches depend on a table of neighbours as well, which a checkpoint holds.

A batch is made in two parts, so that both can be done ahead of its step (`read_ahead`): its objects are read
(`samples`), then they are augmented.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError, SpecError
from captionless.spec.train import TrainSpec
from captionless.store.columns import Strings
from captionless.store.embeddings import open_embeddings
from captionless.trainer.data.augment import training_clouds, with_channels
from captionless.trainer.data.batches import batch_of, cut, with_neighbours
from captionless.trainer.data.samples import SampleRows, Samples
from captionless.trainer.data.splits import held_out
from captionless.trainer.seeds import generator
from captionless.trainer.training_job import MEMORY


@dataclass(frozen=True)
class Batch:
    """A rank's part of a global batch of N objects, n rows.

    image: (n, F) float32, one view per object, L2-normalised. points: (n, m, in_channels) float32. keys, categories:
    of all N objects, rank after rank. sizes: rows held by each rank. micro_batches: this rank's rows of each.
    similarity: (n, N) float32 of the rank's objects to all, one array for each similarity that the weights need.
    damaged: which of the n objects are not what they must be, and why; with any of them, image and points are empty.
    """

    image: NDArray[np.float32]
    points: NDArray[np.float32]
    keys: list[str]
    categories: list[str]
    sizes: list[int]
    micro_batches: list[int]
    similarity: list[NDArray[np.float32]] = field(default_factory=list)
    damaged: Mapping[int, DataError] = field(default_factory=dict)


@dataclass(frozen=True)
class RawBatch:
    """A rank's part of a global batch, as stored.

    keys, categories: of the N objects, rank after rank. generators: those of the rank's own n, after their views were
    drawn. similarity: as in `Batch`.
    """

    keys: list[str]
    categories: list[str]
    sizes: list[int]
    micro_batches: list[int]
    generators: list[np.random.Generator]
    rows: SampleRows
    similarity: list[NDArray[np.float32]]


LookUp = Callable[[Sequence[str], Sequence[str], slice], list[NDArray[np.float32]]]
"""Keys and categories of a batch, and a rank's rows of it -> `Batch.similarity`."""


class TrainingData:
    """The training split, of which at most `memory` bytes are kept; with `look_up` batches come with similarity, which
    is read with them, ahead of the steps."""

    def __init__(
        self, url: str, spec: TrainSpec, seed: int, memory: int = MEMORY, look_up: LookUp = lambda *batch: []
    ) -> None:
        self._look_up = look_up
        data = open_embeddings(url, "train")
        if len(data) < 2:
            raise DataError(f"{url}: {len(data)} training objects; contrastive training requires at least 2")
        self.keys, self.categories, self.digest = data.keys, data.categories, data.digest
        out = held_out(self.keys, self.categories, spec.validation.share)
        self.training, self.validation = np.flatnonzero(~out), np.flatnonzero(out)
        of_validation = len(self.validation) * data.views_layout.shape[1] * np.dtype(np.float32).itemsize
        self.samples = Samples(data, max(0, memory - of_validation))
        if self.samples.stored_points < spec.points:
            raise SpecError(
                f"train.points: {spec.points}, but {url} stores {self.samples.stored_points} points per object; "
                "lower it, or raise data.points and rerun pack"
            )
        self.spec, self.seed = spec, seed
        self.batch_size = min(spec.batch_size, len(self.training))
        if spec.batches.kind == "neighbours" and spec.batches.candidates >= len(self.training):
            raise SpecError(
                f"train.batches.candidates: {spec.batches.candidates}, but there are {len(self.training)} training "
                "objects; lower it"
            )
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
        epoch, batch = batch_of(step, len(self.training), self.batch_size, self.seed)
        if self.nearest is not None:
            batch = with_neighbours(batch, self.spec.batches.group, self.nearest, self._training_keys, self.seed, epoch)
        return epoch, self.training[batch]

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
        epoch, chosen = self.indices(step)
        if without:
            chosen = np.array([i for i in chosen if self.keys[i] not in without], dtype=np.int64)
        cuts = cut(len(chosen), self.spec.accumulate, world)
        sizes = [sum(map(len, of_rank)) for of_rank in cuts]
        everyone = chosen[np.concatenate([place for of_rank in cuts for place in of_rank])]
        rank_rows = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        own = everyone[rank_rows]
        generators = [generator("sample", self.seed, epoch, key) for key in self.keys.some(own)]
        view = np.array([g.integers(self.samples.views) for g in generators], dtype=np.int64)
        rows = self.samples.read(own, view, self._tolerant)
        keys, categories = self.keys.some(everyone), self.categories.some(everyone)
        similarity = self._look_up(keys, categories, rank_rows)
        micro_batches = [len(place) for place in cuts[rank]]
        return RawBatch(keys, categories, sizes, micro_batches, generators, rows, similarity)

    def make(self, raw: RawBatch) -> Batch:
        """What the encoder gets."""
        image = raw.rows.image
        if raw.rows.damaged:  # it is to be made again without them
            image, clouds = image[:0], np.empty((0, self.spec.points, 3), np.float32)
        else:
            clouds = training_clouds(raw.rows.points, self.spec.points, self.spec.augment, raw.generators)
        return Batch(
            _normalised(image),
            with_channels(clouds, self.spec.encoder.in_channels),
            raw.keys,
            raw.categories,
            raw.sizes,
            raw.micro_batches,
            raw.similarity,
            raw.rows.damaged,
        )

    def batch(self, step: int, rank: int = 0, world: int = 1, without: Collection[str] = ()) -> Batch:
        """`make(read(...))`."""
        return self.make(self.read(step, rank, world, without))

    @property
    def _tolerant(self) -> bool:
        return self.spec.max_skipped > 0


def _normalised(image: NDArray[np.float16]) -> NDArray[np.float32]:
    rows = image.astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows
