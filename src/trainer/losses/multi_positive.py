"""The contrastive loss of shapes that have several views each as positives, decoupled from one another.

With the views e_i1 .. e_iV of object i, its shape s_i, the weights w of eq. 5 and 1/tau = scale, the mean over objects
and their views, and over both directions, of

    view to shape   -scale e_iv.s_i + log( sum_j w_ij exp(scale e_iv.s_j) )
    shape to view   -scale e_iv.s_i + log( w_ii exp(scale e_iv.s_i) + sum_{j != i} w_ij mean_u exp(scale e_ju.s_i) ).

Each positive competes with the negatives alone. In one softmax with the other positives, which already are near, it
would have to displace these, and the negatives would get what is left of the gradient. So HOLA (arXiv 2606.01334)
separates the aggregation of positives from the competition of negatives. Negatives are averaged over their views: of
equal views the loss is eq. 5, whatever their number, and so the weights and the temperature mean what they mean there.

In at least float32, a block of anchors at a time, which autograd computes again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from captionless.trainer import distributed
from captionless.trainer.losses.pair_weights import PairWeights, weight_rows

_ELEMENTS = 1 << 22  # of a block's logits: 16 MiB of float32, of which autograd holds a few


def multi_positive_share(
    views: Tensor, shape: Tensor, scale: Tensor, weights: PairWeights | None, sizes: Sequence[int]
) -> Tensor:
    """This rank's share of the loss: 0-d, differentiable in `shape` and `scale`; the shares of all ranks sum to it.

    views: (n, V, D), constants, and shape: (n, D), this rank's rows of a global batch of N, L2-normalised. scale: 0-d,
    1/tau. weights: None is w = 1. sizes: rows held by each rank.
    """
    dtype = torch.promote_types(shape.dtype, torch.float32)
    views, shape, scale = views.detach().to(dtype), shape.to(dtype), scale.to(dtype)
    shapes, every_view = distributed.gather_differentiable(shape, sizes), distributed.gather(views, sizes)
    first, size = distributed.own_rows(sizes).start, max(1, _ELEMENTS // every_view[..., 0].numel())
    total = shape.new_zeros(())
    for start in range(0, len(shape), size):
        rows = slice(start, min(start + size, len(shape)))
        block = (views[rows], shape[rows], every_view, shapes, scale, rows, first, weights)
        total = total + checkpoint(_rows_loss, *block, use_reentrant=False)
    return total / (2 * len(shapes))


def _rows_loss(
    views: Tensor,
    shape: Tensor,
    every_view: Tensor,
    shapes: Tensor,
    scale: Tensor,
    rows: slice,
    first: int,
    weights: PairWeights | None,
) -> Tensor:
    """The sum over a rank's objects `rows`, (n, V, D) and (n, D), of both directions, each the mean over views; `first`
    is the batch's place of the rank's first object."""
    of_views = scale * (views @ shapes.t())  # (n, V, N)
    of_shape = scale * (shape @ every_view.flatten(0, 1).t()).view(len(shape), *every_view.shape[:2])  # (n, N, V)
    log_weight = of_views.new_zeros(len(shape), len(shapes))
    if weights is not None:
        log_weight = weight_rows(weights, rows, first).log().to(of_views)
    own = torch.zeros_like(log_weight, dtype=torch.bool)
    own.diagonal(first + rows.start)[: len(shape)] = True
    positive = of_views.diagonal(first + rows.start, 0, 2)[:, : len(shape)].t()
    to_shape = (of_views + log_weight.unsqueeze(1)).logsumexp(2) - positive

    masked = own | (log_weight == -torch.inf)
    count = (~masked).sum(1)
    # A row of -inf only has NaN for its gradient: rows without negatives are computed unmasked, and cost 0.
    hidden = masked & (count > 0).unsqueeze(1)
    of_others = of_shape.logsumexp(2) - math.log(views.shape[1]) + log_weight.masked_fill(masked, 0.0)
    negative = of_others.masked_fill(hidden, -torch.inf).logsumexp(1, keepdim=True)
    to_views = torch.logaddexp(positive + log_weight[own].unsqueeze(1), negative) - positive
    return to_shape.mean(1).sum() + torch.where(count > 0, to_views.mean(1), 0.0).sum()
