"""The batches of a training run, each a pure function of (seed, step): no state to save, nothing to replay.

`batches` says which objects a global batch holds; its content does not depend on the number of ranks. The view and the
augmentation of an object are drawn from (seed, epoch, key); runs with the same seed and different weights see the same
samples in the same order. Hard-negative batches depend on a table of neighbours as well, which a checkpoint holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError, SpecError
from captionless.spec import TrainSpec
from captionless.store.embeddings import open_embeddings
from captionless.trainer.augment import training_clouds, with_channels
from captionless.trainer.batches import batch_of, cut, with_neighbours
from captionless.trainer.seeds import generator
from captionless.trainer.splits import kept_out


@dataclass(frozen=True)
class Batch:
    """A rank's part of a global batch of N objects, n rows.

    image: (n, F) float32, one view per object, L2-normalised. points: (n, m, in_channels) float32. keys, categories:
    of all N objects, rank after rank. sizes: rows held by each rank. micro_batches: this rank's rows of each.
    """

    image: NDArray[np.float32]
    points: NDArray[np.float32]
    keys: list[str]
    categories: list[str]
    sizes: list[int]
    micro_batches: list[int]


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
        out = kept_out(self.keys, self.categories, spec.validation.share)
        self.training, self.validation = np.flatnonzero(~out), np.flatnonzero(out)
        self._training_keys = [self.keys[i] for i in self.training]
        self.batch_size = min(spec.batch_size, len(self.training))
        if spec.batches.kind == "neighbours" and spec.batches.candidates >= len(self.training):
            raise SpecError(
                f"train.batches.candidates: {spec.batches.candidates}, but there are {len(self.training)} training "
                "objects; lower it"
            )
        self.nearest: NDArray[np.int32] | None = None
        """(training objects, k): each one's neighbours among `training`, by place, for hard-negative batches."""

    @property
    def features(self) -> int:
        """Dimension of the view embeddings."""
        return int(self.views.shape[-1])

    def epoch(self, step: int) -> int:
        """The epoch of a step (from 0)."""
        return step // (len(self.training) // self.batch_size)

    def indices(self, step: int) -> tuple[int, NDArray[np.int64]]:
        """The epoch of a step (from 0) and the objects of its global batch, (N,) int64."""
        epoch, batch = batch_of(step, len(self.training), self.batch_size, self.seed)
        if self.nearest is not None:
            batch = with_neighbours(batch, self.spec.batches.group, self.nearest, self._training_keys, self.seed, epoch)
        return epoch, self.training[batch]

    def clouds(self, indices: NDArray[np.int64]) -> NDArray[np.float16]:
        """The stored points of some objects, (n, P, 3)."""
        return self.points[indices]

    def image(self, indices: NDArray[np.int64], views: NDArray[np.int64]) -> NDArray[np.float32]:
        """One view's embedding of each of some objects, (n, F), L2-normalised."""
        image = self.views[indices, views].astype(np.float32)
        image /= np.linalg.norm(image, axis=1, keepdims=True)
        return image

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The part of rank `rank` of `world` in the global batch of a step."""
        epoch, chosen = self.indices(step)
        cuts = cut(len(chosen), self.spec.accumulate, world)
        sizes = [sum(map(len, of_rank)) for of_rank in cuts]
        everyone = chosen[np.concatenate([place for of_rank in cuts for place in of_rank])]
        own = everyone[sum(sizes[:rank]) : sum(sizes[: rank + 1])]
        generators = [generator("sample", self.seed, epoch, self.keys[i]) for i in own]
        view = np.array([g.integers(self.views.shape[1]) for g in generators], dtype=np.int64)
        clouds = training_clouds(self.clouds(own), self.spec.points, self.spec.augment, generators)
        return Batch(
            self.image(own, view),
            with_channels(clouds, self.spec.encoder.in_channels),
            [self.keys[i] for i in everyone],
            [self.categories[i] for i in everyone],
            sizes,
            [len(place) for place in cuts[rank]],
        )
