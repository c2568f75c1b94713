"""The hard-negative (HN) weights of a batch, eq. 6 of arXiv 2406.02202: from similarity to weight.

    w[i, s] = factor[i] * sim[i, s],    factor[i] = n_i / sum_k sim[i, k]    over the n_i unmasked negatives k

so that the weights of an anchor's negatives are 1 in the mean. The positive's weight, 1 or what eq. 6 gives it, is on
the diagonal; another place of the batch that holds the anchor's own object is masked, and so is what is taken for a
false negative (`false_negatives`), which need not be symmetric. AVG, the mean of several metrics'
weights, is a sum of such terms.

`HNWeights` is what training uses: the symmetric similarities and a factor per anchor are all that it holds of a batch,
and the losses go through them in blocks (`pair_weights`). `log_weights` is the same as one dense matrix. What becomes
of similarities before (`train.sharpen`, the category control), and eq. 6 in plain numpy, are in `hn_similarity`; which
similarities a training reads, in `weight_source`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from captionless.errors import DataError, SpecError
from captionless.runtime.torch_threads import torch_pool
from captionless.trainer import distributed
from captionless.trainer.losses.false_negatives import FalseNegatives
from captionless.trainer.losses.pair_weights import weight_rows

PositiveWeight = Literal["one", "formula"]

_BLOCK, _BLOCK_OF_GPU = 1 << 19, 1 << 25  # similarities that a core, or a GPU, masks, checks and sums at a time
_ENTROPY_OF = 512  # anchors


def log_weights(
    sim: Tensor, ids: Tensor | Sequence[object] | None = None, positive_weight: PositiveWeight = "one"
) -> Tensor:
    """Eq. 6 as log w: w[i, s] = n_i * sim[i, s] / sum_k sim[i, k], over the n_i unmasked negatives k != i.

    sim: (N, N) similarities, > 0 off the diagonal. ids: N object identities; another place of the batch that holds
    the anchor's own object is masked to -inf. The diagonal is 0 for "one" (the released code) and eq. 6 at s = i for
    "formula"; 0 too for an anchor without negatives. Returns (N, N) in sim's dtype, at least float32. DataError on a
    similarity that is not positive and finite, SpecError on another `positive_weight`.
    """
    if sim.ndim != 2 or sim.shape[0] != sim.shape[1]:
        raise ValueError(f"sim must be (N, N), not {tuple(sim.shape)}")
    own = sim.to(torch.promote_types(sim.dtype, torch.float32), copy=True)
    found = HNWeights([own], ids, positive_weight).matrix(slice(None)).log_()
    if positive_weight == "one":
        found.diagonal().zero_()
    return found


class HNWeights:
    """The weights of a rank's anchors against the whole batch: see `PairWeights`.

    sims: for each metric to average over, (n, N) float32 or float64, the similarity of this rank's n anchors to all N
    objects of the batch, symmetric; they are kept, and changed in place. ids: the identities of the N objects, None
    when no two are the same. positive_weight: the diagonal is 1 for "one" (the released code) and eq. 6 at s = i for
    "formula"; 1 too for an anchor without negatives. sizes: rows held by each rank; None on one process. hidden: pairs
    that are masked as well.

    DataError on a similarity that is not positive and finite, SpecError on another `positive_weight`.
    """

    factors: Tensor
    """(M, N) float64, of all anchors of the batch; those of M metrics' mean are divided by M."""

    def __init__(
        self,
        sims: Sequence[Tensor],
        ids: Tensor | Sequence[object] | None = None,
        positive_weight: PositiveWeight = "one",
        sizes: Sequence[int] | None = None,
        hidden: FalseNegatives | None = None,
    ) -> None:
        if positive_weight not in ("one", "formula"):
            raise SpecError(f'positive_weight must be "one" or "formula", not "{positive_weight}"')
        sizes = [len(sims[0])] if sizes is None else sizes
        first = distributed.own_rows(sizes).start
        codes = None if ids is None else _codes(ids, sims[0].shape[1], sims[0].device)
        of_rows = None if hidden is None else hidden.of_rows
        own = torch.stack([_weighable(sim, codes, positive_weight, first, of_rows) for sim in sims], 1) / len(sims)
        self.factors = distributed.gather(own, sizes).t()
        self._sims, self._first, self._hidden = list(sims), first, hidden

    def rows(self, rows: slice) -> list[tuple[Tensor, Tensor]]:
        """See `PairWeights`."""
        found = [sim[rows] for sim in self._sims]
        if self._hidden is None:
            return list(zip(found, found, strict=True))
        of_rows, of_columns = self._hidden.of_rows[rows], self._hidden.of_columns[rows]
        return [(sim.masked_fill(of_rows, 0), sim.masked_fill(of_columns, 0)) for sim in found]

    def matrix(self, rows: slice) -> Tensor:
        """(len(rows), N): the weights themselves, of this rank's anchors `rows`, 0 where masked."""
        return weight_rows(self, slice(*rows.indices(len(self._sims[0]))), self._first)

    def entropy(self) -> float:
        """How evenly this rank's anchors distribute their weight over their negatives: the number of anchors if all do
        so evenly, 0 if each has all its weight on one.

        The sum over rows of the entropy of the row's weights divided by the log of their number; rows with fewer than
        two negatives count as 1. In large batches the first anchors represent all: the value is only displayed.
        """
        n = len(self._sims[0])
        weight = self.matrix(slice(0, _ENTROPY_OF)).double()
        weight.diagonal(self._first)[: len(weight)] = 0
        count = (weight > 0).sum(1)
        share = weight[count > 1] / weight[count > 1].sum(1, keepdim=True)
        rows = torch.special.entr(share).sum(1) / count[count > 1].double().log()
        return float(rows.sum() + (count <= 1).sum()) * n / max(len(weight), 1)


def _weighable(
    sim: Tensor, codes: Tensor | None, positive_weight: PositiveWeight, first: int, hidden: Tensor | None
) -> Tensor:
    """Mask (n, N) `sim` and set its diagonal, in place; returns the anchors' factors, (n,) float64."""
    size = max(1, (_BLOCK if sim.device.type == "cpu" else _BLOCK_OF_GPU) // sim.shape[1])

    def block(at: int) -> Tensor:
        of_rows = None if hidden is None else hidden[at : at + size]
        return _weighable_rows(sim[at : at + size], codes, positive_weight, first + at, of_rows)

    with torch_pool(sim.device) as pool:
        return torch.cat([*pool.map(block, range(0, len(sim), size))])


def _weighable_rows(
    block: Tensor, codes: Tensor | None, positive_weight: PositiveWeight, at: int, hidden: Tensor | None
) -> Tensor:
    """`_weighable` of the anchors at places `at` and on: over their rows twice, once for the least and the greatest.
    What is hidden of them stays in `block`, which serves both directions, and counts in neither sum nor number."""
    n = block.shape[1]
    positive = block.diagonal(at)[: len(block)]
    formula = positive.clone()
    same, others = None, torch.full_like(formula, n - 1, dtype=torch.float64)
    if codes is not None:
        same = codes[at : at + len(block), None] == codes
        others = n - same.sum(1).double()
        block.masked_fill_(same, 1)  # what does not count passes for a similarity while these are looked at
    positive.copy_(formula if positive_weight == "formula" else torch.ones_like(formula))
    least, greatest = block.aminmax()
    if not (least > 0 and greatest < torch.inf):  # which is so of NaN
        i, s = (int(x) for x in (~((block > 0) & block.isfinite())).nonzero()[0])
        raise DataError(
            f"similarity of batch positions {at + i} and {s} is {float(block[i, s])}; expected positive and finite"
        )
    positive.zero_()
    if same is not None:
        block.masked_fill_(same, 0)
    counted = block
    if hidden is not None:
        others, counted = others - hidden.sum(1), block.masked_fill(hidden, 0)
    factor = torch.where(others > 0, others / counted.sum(1).double(), 1.0)
    wanted = formula if positive_weight == "formula" else factor.reciprocal().to(block)
    positive.copy_(torch.where(others > 0, wanted, 1.0))
    return factor


def _codes(ids: Tensor | Sequence[object], n: int, device: torch.device) -> Tensor | None:
    """(n,) int64, equal where two places of the batch hold the same object; None when no two do."""
    if isinstance(ids, Tensor):
        codes = torch.unique(ids.to(device), return_inverse=True)[1]
    else:
        place = {name: k for k, name in enumerate(str(i) for i in ids)}
        codes = torch.tensor([place[str(i)] for i in ids], dtype=torch.int64, device=device)
    if codes.shape != (n,):
        raise ValueError(f"ids must be {n} identities, not {tuple(codes.shape)}")
    return None if len(codes.unique()) == n else codes
