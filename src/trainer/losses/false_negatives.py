"""False negatives of a hard-negative batch (`train.batches.falseNegatives`): what is masked, by the frozen embeddings.

A group's objects are near one another, and some are so near that to push them apart would be wrong. OpenShape (Liu et
al., arXiv 2305.10764) drops candidate j of anchor i's group where

    h_Tj . h_Ii + margin > h_Ti . h_Ii

with h_I the frozen embedding of the picture of the step, and h_T that of a text about the object. Without captions, the
description of an object is the mean of its stored views, normalised. The mask M[i, j] belongs to anchor i and need not
be symmetric: it takes j out of the negatives of i's image and of i's shape, and says nothing of those of j, just as
row i of the weights serves i in both directions. In float64, pair by pair, so that ranks mask the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captionless.trainer import distributed

_PAIRS = 1 << 13  # compared at a time: 64 MiB of embeddings 512 wide


class FalseNegatives(NamedTuple):
    """The masks of a rank's n anchors among the N objects of a batch, (n, N) bool: of_rows has M[i, s] and of_columns
    M[s, i] for anchor i. pairs: how many are masked in the whole batch."""

    of_rows: Tensor
    of_columns: Tensor
    pairs: int


def false_negatives(
    image: Tensor, means: Tensor, groups: NDArray[np.int64], keys: Sequence[str], margin: float, sizes: Sequence[int]
) -> FalseNegatives | None:
    """The masks of a rank's anchors; None, on all ranks, where no pair of the batch is masked.

    image: (n, F), or (n, V, F), whose mean counts, of this rank's anchors, and means: (n, F), L2-normalised. groups,
    keys: of the N objects. Pairs that hold the same object are left to what masks these in any batch. sizes: rows held
    by each rank.
    """
    own = distributed.own_rows(sizes)
    if image.ndim == 3:
        image = torch.nn.functional.normalize(image.mean(1), dim=-1)
    both = distributed.gather(torch.stack([image.detach(), means.to(image)], 1), sizes).double()
    pictures, described = both[:, 0], both[:, 1]
    least = (pictures * described).sum(1) - margin
    objects = np.unique(keys, return_inverse=True)[1]
    together = (groups[own, None] == groups) & (objects[own, None] != objects)
    masks = torch.zeros(2, *together.shape, dtype=torch.bool, device=image.device)
    anchors, others = (torch.from_numpy(places).to(image.device) for places in together.nonzero())
    for i, s in zip(torch.split(anchors, _PAIRS), torch.split(others, _PAIRS), strict=True):
        at = i + own.start
        masks[0, i, s] = (pictures[at] * described[s]).sum(1) > least[at]
        masks[1, i, s] = (pictures[s] * described[at]).sum(1) > least[s]
    count = int(distributed.all_reduce_sum(masks[0].sum().double()))
    return FalseNegatives(masks[0], masks[1], count) if count else None
