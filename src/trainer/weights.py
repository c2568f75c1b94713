"""Where a batch's log-weights come from: nothing, the category, one stored similarity, or two averaged.

`train.sharpen` raises the spread of each similarity within categories before it becomes weights; the `category`
control has none to raise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captionless.errors import SpecError
from captionless.spec import Weights
from captionless.store.similarity import open_similarity
from captionless.trainer.job import Job
from captionless.trainer.loss import (
    PositiveWeight,
    average_log_weights,
    category_similarity,
    log_weights,
    sharpened_similarity,
)


class WeightSource:
    """Log-weights of any batch of a job's objects; reads the similarity stores that the job's weights need."""

    def __init__(self, job: Job) -> None:
        missing = [metric for metric in job.weights.metrics if metric not in job.similarity]
        if missing:
            raise SpecError(f"weights {job.weights.value} need the similarity {missing[0]}; run its stage first")
        self.weights = job.weights
        self.positive: PositiveWeight = job.train.positive_weight
        self.stores = [open_similarity(job.similarity[metric]) for metric in job.weights.metrics]
        self.sharpen = 1.0 if self.weights is Weights.category else job.train.sharpen
        about_means = self.weights is Weights.category or self.sharpen != 1
        self.means = [store.category_mean() for store in self.stores] if about_means else []

    def __call__(self, keys: Sequence[str], categories: Sequence[str]) -> Tensor:
        """(N, N) float32 log-weights of the global batch of objects `keys`."""
        if self.weights is Weights.uniform:
            return log_weights(torch.ones(len(keys), len(keys)), keys)
        sims = [store.lookup(keys) for store in self.stores]
        if self.weights is Weights.category:
            sims = [category_similarity(sims[0], categories, self.means[0])]
        elif self.sharpen != 1:
            sims = [
                sharpened_similarity(sim, categories, means, self.sharpen)
                for sim, means in zip(sims, self.means, strict=True)
            ]
        each = [log_weights(torch.from_numpy(sim), keys, self.positive) for sim in sims]
        return each[0] if len(each) == 1 else average_log_weights(*each)


def entropy(log_weight: Tensor) -> float:
    """How evenly anchors spread their weight over their negatives: mean over rows, 1 when evenly, 0 when on one.

    log_weight: (N, N) as `log_weights` makes it. The entropy of each row's weights over the log of their number;
    rows with fewer than two negatives count as 1.
    """
    eye = torch.eye(len(log_weight), dtype=torch.bool, device=log_weight.device)
    share = log_weight.masked_fill(eye, -torch.inf).double()
    count = (share > -torch.inf).sum(1)
    share = share[count > 1].softmax(1)
    rows = torch.special.entr(share).sum(1) / count[count > 1].double().log()
    return float((rows.sum() + (count <= 1).sum()) / len(log_weight))
