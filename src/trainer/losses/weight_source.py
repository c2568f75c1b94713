"""The source of a batch's weights (`train.weights`): none, the category, one stored similarity, or two averaged.

Similarity is looked up with the objects of the batch, ahead of the step that needs it, where waiting for storage holds
up nobody; only from its rows on is it the step's work.

`train.sharpen` amplifies the spread of each similarity within categories before it becomes weights; the `category`
control has none.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from captionless.errors import SpecError
from captionless.spec.weights import Weights
from captionless.store.disk_cache import DiskCache
from captionless.store.similarity_store import open_similarity
from captionless.telemetry import catalog, registry
from captionless.trainer import distributed
from captionless.trainer.losses.false_negatives import FalseNegatives
from captionless.trainer.losses.hn_similarity import category_similarity, sharpened_similarity
from captionless.trainer.losses.hn_weights import HNWeights, PositiveWeight
from captionless.trainer.training_job import TrainingJob

_SHARE = 4
"""Of a rank's memory similarity takes one part in so many at most, and training objects the rest: a batch needs all of
its objects, but of the tiles few rows."""


class WeightSource:
    """Weights of any batch of a job's objects; reads the similarity stores that the job's weights need.

    memory: bytes of the job's memory that these may take, a `_SHARE` at most; none if they are local. disk: copies
    of tiles in storage.
    """

    def __init__(self, job: TrainingJob, device: torch.device, disk: DiskCache | None = None) -> None:
        missing = [metric for metric in job.weights.metrics if metric not in job.similarity]
        if missing:
            raise SpecError(
                f"train.weights: {job.weights.value} requires the similarity {missing[0]}; run its stage first"
            )
        self.weights, self.device = job.weights, device
        self.positive: PositiveWeight = job.train.positive_weight
        metrics = job.weights.metrics
        share = job.memory // _SHARE // max(1, len(metrics))
        self.stores = [open_similarity(job.similarity[metric], share, disk) for metric in metrics]
        self._reading = threading.Lock()  # batches are read by several threads, and stores are made for one
        self.memory = sum(store.most_memory for store in self.stores)
        self.sharpen = 1.0 if self.weights is Weights.category else job.train.sharpen
        about_means = self.weights is Weights.category or self.sharpen != 1
        self.means = [store.category_mean() for store in self.stores] if about_means else []

    def look_up(self, keys: Sequence[str], categories: Sequence[str], rows: slice) -> list[NDArray[np.float32]]:
        """What the weights of the anchors `rows` in a batch of objects `keys` follow from: (n, N) float32 for each
        similarity, none if all weights are 1. It reads storage, and may be called by any thread.

        Raises:
            DataError: an object without similarity, or a tile that is missing or damaged.
        """
        if self.weights is Weights.uniform:
            return []
        with self._reading:
            sims = [store.lookup(keys) for store in self.stores]
            held = sum(store.tiles.memory for store in self.stores)
            registry.set_value(catalog.TRAIN_DATA_MEMORY, held, holds="similarity")
        if self.weights is Weights.category:
            sims = [category_similarity(sims[0], categories, self.means[0])]
        elif self.sharpen != 1:
            sims = [
                sharpened_similarity(sim, categories, means, self.sharpen)
                for sim, means in zip(sims, self.means, strict=True)
            ]
        return [np.ascontiguousarray(sim[rows]) for sim in sims]

    def __call__(
        self,
        similarity: Sequence[NDArray[np.float32]],
        keys: Sequence[str],
        sizes: Sequence[int],
        hidden: FalseNegatives | None = None,
    ) -> HNWeights | None:
        """The weights of this rank's anchors in a global batch of objects `keys`, from what `look_up` has found; None
        when all are 1.

        sizes: rows held by each rank. hidden: pairs that are masked.
        """
        if self.weights is Weights.uniform:
            if len(set(keys)) == len(keys) and hidden is None:
                return None
            ones = torch.ones(sizes[distributed.rank()], len(keys), device=self.device)
            return HNWeights([ones], keys, sizes=sizes, hidden=hidden)
        rows = [torch.from_numpy(sim).to(self.device) for sim in similarity]
        return HNWeights(rows, keys, self.positive, sizes, hidden)
