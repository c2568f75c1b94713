"""The HCL loss (Robinson et al., arXiv 2010.04592): negatives weighted by how near they already are, and debiased.

It multiplies the weights of `pair_weights` by an importance of the logits themselves, exp(beta * logit), and subtracts
the expected false negatives. One direction, in at least float32, a block of anchors at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from captionless.errors import SpecError
from captionless.trainer import distributed
from captionless.trainer.losses.pair_weights import DenseWeights, PairWeights, weight_rows

_ROWS = 128  # anchors at a time: autograd holds a dozen matrices of them by all candidates


def hcl_loss(
    query: Tensor,
    key: Tensor,
    temperature: Tensor | float,
    beta: float = 1.0,
    tau_plus: float = 0.1,
    log_weight: Tensor | PairWeights | None = None,
) -> Tensor:
    """HCL with debiasing (Robinson et al.), one direction: a 0-d tensor, differentiable in query and key.

    query, key: (N, D), L2-normalised, row i of both a positive pair. With pos = exp(s_ii / temperature), N_ the
    number of negatives and w the importance exp(beta * s / temperature) brought to mean 1 over them:

        Ng = (sum_s w_is exp(s_is / temperature) - tau_plus N_ pos) / (1 - tau_plus), at least N_ exp(-1 / temperature)
        loss = mean_i -log( pos / (pos + Ng) ).

    The importance is not detached. beta = 0 and tau_plus = 0 give one direction of InfoNCE. `log_weight`, as
    `contrastive_loss` takes it, multiplies the importance (HN + HCL) and masks its -inf entries. In blocks of anchors,
    which are computed again for the gradient. SpecError unless 0 <= tau_plus < 1.
    """
    weights = DenseWeights(log_weight, len(query)) if isinstance(log_weight, Tensor) else log_weight
    scale = 1.0 / torch.as_tensor(temperature, dtype=torch.promote_types(query.dtype, torch.float32))
    return hcl_share(query, key, scale.to(query.device), beta, tau_plus, weights, [len(query)])


def hcl_share(
    query: Tensor,
    key: Tensor,
    scale: Tensor,
    beta: float,
    tau_plus: float,
    weights: PairWeights | None,
    sizes: Sequence[int],
) -> Tensor:
    """This rank's share of `hcl_loss`: 0-d, differentiable in `query`, `key` and `scale`; the shares sum to the loss.

    query, key: (n, D), this rank's rows of a global batch. scale: 0-d, 1 / temperature. sizes: rows held by each rank.
    """
    if not 0 <= tau_plus < 1:
        raise SpecError(f"tau_plus must be in [0, 1), not {tau_plus}")
    dtype = torch.promote_types(query.dtype, torch.float32)
    query, keys, scale = query.to(dtype), distributed.gather_differentiable(key.to(dtype), sizes), scale.to(dtype)
    first = distributed.own_rows(sizes).start
    total = query.new_zeros(())
    for start in range(0, len(query), _ROWS):
        rows = slice(start, min(start + _ROWS, len(query)))
        block = (query[rows], keys, scale, rows, first, beta, tau_plus, weights)
        total = total + checkpoint(_rows_loss, *block, use_reentrant=False)
    return total / len(keys)


def _rows_loss(
    query: Tensor,
    key: Tensor,
    scale: Tensor,
    rows: slice,
    first: int,
    beta: float,
    tau_plus: float,
    weights: PairWeights | None,
) -> Tensor:
    """The sum of `hcl_loss` over a rank's anchors `rows`, (n, D); `first` is the batch's place of its first."""
    start = first + rows.start
    logits = scale * (query @ key.t())
    own = torch.zeros_like(logits, dtype=torch.bool)
    own.diagonal(start)[: len(query)] = True
    log_weight = torch.zeros_like(logits) if weights is None else weight_rows(weights, rows, first).log().to(logits)
    positive = logits.diagonal(start)[: len(query)]
    masked = own | (log_weight == -torch.inf)
    count = (~masked).sum(1).to(logits.dtype)
    # A row of -inf only has NaN for its gradient: rows without negatives are computed unmasked, and cost 0.
    hidden = masked & (count > 0).unsqueeze(1)
    importance = (beta * logits + log_weight.masked_fill(masked, 0.0)).masked_fill(hidden, -torch.inf)
    log_count = count.clamp_min(1).log()
    reweighted = (logits + importance).logsumexp(1) - importance.logsumexp(1) + log_count
    floor = log_count - scale
    if tau_plus > 0:
        expected = math.log(tau_plus) + log_count + positive
        top = torch.stack([reweighted, expected, floor.expand_as(expected)]).amax(0).detach()
        debiased = ((reweighted - top).exp() - (expected - top).exp()) / (1 - tau_plus)
        above = debiased > (floor - top).exp()  # which is 0 in float32 where tau is small: the floor itself is not
        log_negative = torch.where(above, top + torch.where(above, debiased, 1.0).log(), floor)
    else:
        log_negative = torch.maximum(reweighted, floor)
    loss = torch.nn.functional.softplus(log_negative - positive)
    return torch.where(count > 0, loss, 0.0).sum()
