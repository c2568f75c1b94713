"""Weights of a batch's pairs, in the form in which the losses sum them: blocks of anchors, and a factor per anchor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class PairWeights(Protocol):
    """Weights of a batch's pairs: anchor i weighs candidate s by `sum_m factors[m, i] * S_m[i, s]`."""

    factors: Tensor
    """(M, N), of all anchors of the global batch."""

    def rows(self, rows: slice) -> Sequence[tuple[Tensor, Tensor]]:
        """For each m, of this rank's anchors `rows`: S_m[i, s] and S_m[s, i], (len(rows), N) each, 0 where masked.

        One tensor twice where S_m is symmetric: then both directions share a sum.
        """


def weight_rows(weights: PairWeights, rows: slice, first: int = 0) -> Tensor:
    """(len(rows), N): the weights themselves, of a rank's anchors `rows`, whose first is the batch's place `first`."""
    blocks = [of_rows for of_rows, _ in weights.rows(rows)]
    at = first + rows.start
    factors = weights.factors[:, at : at + len(blocks[0]), None]
    return torch.stack([block * factor.to(block) for block, factor in zip(blocks, factors, strict=True)]).sum(0)


class DenseWeights:
    """Any (N, N) log-weights as `PairWeights`, without the symmetry that saves an exponential."""

    def __init__(self, log_weight: Tensor, n: int) -> None:
        if log_weight.shape != (n, n):
            raise ValueError(f"log_weight must be {(n, n)}, not {tuple(log_weight.shape)}")
        self._log_weight = log_weight.detach()
        self.factors = log_weight.new_ones(1, n, dtype=torch.float64)

    def rows(self, rows: slice) -> list[tuple[Tensor, Tensor]]:
        return [(self._log_weight[rows].exp(), self._log_weight[:, rows].t().exp())]
