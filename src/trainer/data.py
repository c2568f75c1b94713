"""The batches of a training run, each a pure function of (seed, step): no state to save, nothing to replay.

An epoch is a permutation of the objects drawn from (seed, epoch), cut into global batches; the incomplete last one is
dropped, unless the data set is smaller than one batch, which then is the whole data set. A global batch is cut over
the ranks in order, so that its content does not depend on their number. The view and the augmentation of an object
are drawn from (seed, epoch, key); runs with the same seed and different weights see the same samples in the same
order.

A batch is made in two parts, so that both can be done ahead of its step (`read_ahead`): its objects are read from
wherever they are (`samples`), then they are augmented.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError, SpecError
from captionless.spec import TrainSpec
from captionless.store.embeddings import open_embeddings
from captionless.trainer.augment import training_clouds, with_channels
from captionless.trainer.distributed import shares
from captionless.trainer.job import MEMORY
from captionless.trainer.samples import Rows, Samples
from captionless.trainer.seeds import generator


@dataclass(frozen=True)
class Batch:
    """A rank's part of a global batch of N objects, its n rows beginning at row `first`.

    image: (n, F) float32, one view per object, L2-normalised. points: (n, m, in_channels) float32. keys, categories:
    of all N objects. sizes: rows held by each rank. damaged: which of the n objects are not what they must be, and why;
    with any of them, image and points are empty.
    """

    image: NDArray[np.float32]
    points: NDArray[np.float32]
    keys: list[str]
    categories: list[str]
    sizes: list[int]
    first: int
    damaged: Mapping[int, DataError] = field(default_factory=dict)


@dataclass(frozen=True)
class RawBatch:
    """A rank's part of a global batch as it is stored.

    chosen: the N objects. generators: of the rank's own n, after their views were drawn.
    """

    chosen: NDArray[np.int64]
    sizes: list[int]
    first: int
    generators: list[np.random.Generator]
    rows: Rows


class TrainingData:
    """The training split, of which at most `memory` bytes are kept."""

    def __init__(self, url: str, spec: TrainSpec, seed: int, memory: int = MEMORY) -> None:
        data = open_embeddings(url, "train")
        if len(data) < 2:
            raise DataError(f"{url}: {len(data)} training objects; contrastive training needs at least 2")
        self.keys, self.categories, self.digest = data.keys, data.categories, data.digest
        self.samples = Samples(data, memory)
        if self.samples.stored_points < spec.points:
            raise SpecError(
                f"train.points: {spec.points}, but {url} stores {self.samples.stored_points} points per object; "
                "lower it, or raise data.points and pack again"
            )
        self.spec, self.seed = spec, seed
        self.batch_size = min(spec.batch_size, len(data))

    @property
    def features(self) -> int:
        """Dimension of the view embeddings."""
        return self.samples.features

    def indices(self, step: int) -> tuple[int, NDArray[np.int64]]:
        """The epoch of a step (from 0) and the objects of its global batch, (N,) int64."""
        per_epoch = len(self.keys) // self.batch_size
        epoch, place = divmod(step, per_epoch)
        order = generator("order", self.seed, epoch).permutation(len(self.keys))
        return epoch, order[place * self.batch_size : (place + 1) * self.batch_size]

    def read(self, step: int, rank: int = 0, world: int = 1, without: Collection[str] = ()) -> RawBatch:
        """The part of rank `rank` of `world` in the global batch of a step, from which some keys are left out first.

        DataError when an object is damaged, unless `train.maxSkipped` allows some: then it is told with the rows.
        """
        epoch, chosen = self.indices(step)
        if without:
            chosen = np.array([i for i in chosen if self.keys[i] not in without], dtype=np.int64)
        sizes = shares(len(chosen), world)
        first = sum(sizes[:rank])
        own = chosen[first : first + sizes[rank]]
        generators = [generator("sample", self.seed, epoch, self.keys[i]) for i in own]
        view = np.array([g.integers(self.samples.views) for g in generators], dtype=np.int64)
        return RawBatch(chosen, sizes, first, generators, self.samples.read(own, view, self.spec.max_skipped > 0))

    def make(self, raw: RawBatch) -> Batch:
        """What the encoder gets."""
        image = raw.rows.image.astype(np.float32)
        if raw.rows.damaged:  # it is to be made again without them
            image, clouds = image[:0], np.empty((0, self.spec.points, 3), np.float32)
        else:
            clouds = training_clouds(raw.rows.points, self.spec.points, self.spec.augment, raw.generators)
        image /= np.linalg.norm(image, axis=1, keepdims=True)
        return Batch(
            image,
            with_channels(clouds, self.spec.encoder.in_channels),
            [self.keys[i] for i in raw.chosen],
            [self.categories[i] for i in raw.chosen],
            raw.sizes,
            raw.first,
            raw.rows.damaged,
        )

    def batch(self, step: int, rank: int = 0, world: int = 1, without: Collection[str] = ()) -> Batch:
        """`make(read(...))`."""
        return self.make(self.read(step, rank, world, without))
