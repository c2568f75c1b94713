"""The batches of a training run, each a pure function of (seed, step): no state to save, nothing to replay.

An epoch is a permutation of the objects drawn from (seed, epoch), cut into global batches; the incomplete last one is
dropped, unless the data set is smaller than one batch, which then is the whole data set. A global batch is cut over
the ranks in order, so that its content does not depend on their number. The view and the augmentation of an object
are drawn from (seed, epoch, key); runs with the same seed and different weights see the same samples in the same
order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError, SpecError
from captionless.spec import TrainSpec
from captionless.store.embeddings import open_embeddings
from captionless.trainer.augment import training_clouds, with_channels
from captionless.trainer.distributed import shares
from captionless.trainer.seeds import generator


@dataclass(frozen=True)
class Batch:
    """A rank's part of a global batch of N objects, its n rows beginning at row `first`.

    image: (n, F) float32, one view per object, L2-normalised. points: (n, m, in_channels) float32. keys, categories:
    of all N objects. sizes: rows held by each rank.
    """

    image: NDArray[np.float32]
    points: NDArray[np.float32]
    keys: list[str]
    categories: list[str]
    sizes: list[int]
    first: int


class TrainingData:
    """The training split in memory: views (n, R, F) float16 and points (n, P, 3) float16, as they are stored."""

    def __init__(self, url: str, spec: TrainSpec, seed: int) -> None:
        data = open_embeddings(url, "train")
        if len(data) < 2:
            raise DataError(f"{url}: {len(data)} training objects; contrastive training needs at least 2")
        everything = np.arange(len(data))
        self.keys, self.categories, self.digest = data.keys, data.categories, data.digest
        self.points = data.points(everything)[..., :3]
        if self.points.shape[1] < spec.points:
            raise SpecError(
                f"train.points: {spec.points}, but {url} stores {self.points.shape[1]} points per object; "
                "lower it, or raise data.points and pack again"
            )
        self.views = data.views(everything)
        self.spec, self.seed = spec, seed
        self.batch_size = min(spec.batch_size, len(data))

    @property
    def features(self) -> int:
        """Dimension of the view embeddings."""
        return int(self.views.shape[-1])

    def indices(self, step: int) -> tuple[int, NDArray[np.int64]]:
        """The epoch of a step (from 0) and the objects of its global batch, (N,) int64."""
        per_epoch = len(self.keys) // self.batch_size
        epoch, place = divmod(step, per_epoch)
        order = generator("order", self.seed, epoch).permutation(len(self.keys))
        return epoch, order[place * self.batch_size : (place + 1) * self.batch_size]

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The part of rank `rank` of `world` in the global batch of a step."""
        epoch, chosen = self.indices(step)
        sizes = shares(len(chosen), world)
        first = sum(sizes[:rank])
        own = chosen[first : first + sizes[rank]]
        generators = [generator("sample", self.seed, epoch, self.keys[i]) for i in own]
        view = np.array([g.integers(self.views.shape[1]) for g in generators], dtype=np.int64)
        image = self.views[own, view].astype(np.float32)
        image /= np.linalg.norm(image, axis=1, keepdims=True)
        clouds = training_clouds(self.points[own], self.spec.points, self.spec.augment, generators)
        return Batch(
            image,
            with_channels(clouds, self.spec.encoder.in_channels),
            [self.keys[i] for i in chosen],
            [self.categories[i] for i in chosen],
            sizes,
            first,
        )
