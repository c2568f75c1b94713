"""The contrastive losses: InfoNCE, hard-negative weighted (HN), and HCL, over one kind of weight source.

Every loss is a mean over anchors i of

    -logit_ii + log( sum_s w_is exp(logit_is) ),

in at least float32 and in blocks of anchors (`blocked`). Plain InfoNCE has w = 1; HN takes w from the similarities of
the frozen CLIP model (eq. 6 of arXiv 2406.02202) and averages both directions (eq. 5; its second term's numerator read
as exp(image_i . shape_i / tau)); HCL (Robinson et al., arXiv 2010.04592) multiplies w by an importance of the logits
themselves, exp(beta * logit), and adds one term that removes the expected false negatives.

A log-weight matrix is (N, N), row i serving anchor i in both directions: the mean weight over the row's unmasked
negatives is 1, a masked negative is -inf, and the diagonal is the positive's own log-weight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from captionless.errors import SpecError
from captionless.trainer import distributed
from captionless.trainer.losses.pair_weights import PositiveWeight, SimilarityWeights
from captionless.trainer.losses.tiled import PairWeights, blocked_share, weight_rows

_HCL_ROWS = 128  # anchors at a time: autograd holds a dozen matrices of them by all candidates


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
    found = SimilarityWeights([own], ids, positive_weight).matrix(slice(None)).log_()
    if positive_weight == "one":
        found.diagonal().zero_()
    return found


def category_similarity(sim: ArrayLike, categories: Sequence[str], means: Mapping[str, float]) -> np.ndarray:
    """The category-only control: (N, N) `sim` with each in-category entry replaced by its category's mean.

    `means`: mean off-diagonal similarity of each category. Weights made from it know the label and nothing of the
    structure; cross-category entries (alpha) and the diagonal stay as they are. Returns a new float32 array.
    """
    out = np.array(sim, dtype=np.float32)
    same = _other_places_of_category(categories)
    mean = np.array([means.get(c, np.nan) for c in categories], dtype=np.float32)
    out[same] = np.broadcast_to(mean[:, None], out.shape)[same]
    return out


def sharpened_similarity(
    sim: ArrayLike, categories: Sequence[str], means: Mapping[str, float], sharpen: float
) -> np.ndarray:
    """`sim` (N, N) with its spread within categories grown: sim' = m_c * (sim / m_c) ** sharpen inside category c.

    `means`: m_c, mean off-diagonal similarity of each category. Eq. 6's weights span little within a category, while
    sim / alpha dominates across; the power acts about the mean, so that a category of small spread weighs against the
    others about as before. Cross-category entries (alpha) and the diagonal stay as they are. Not of the papers. Returns
    a new float32 array.
    """
    out = np.array(sim, dtype=np.float64)
    same = _other_places_of_category(categories)
    mean = np.array([means.get(c, np.nan) for c in categories])
    out[same] = sharpened(out[same], np.broadcast_to(mean[:, None], out.shape)[same], sharpen)
    return out.astype(np.float32)


def sharpened(sim: ArrayLike, mean: ArrayLike, sharpen: float) -> np.ndarray:
    """mean * (sim / mean) ** sharpen, elementwise, in float64; NaN for a negative `sim`, which `log_weights` tells."""
    mean = np.asarray(mean, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(mean * (np.asarray(sim, dtype=np.float64) / mean) ** sharpen)


def _other_places_of_category(categories: Sequence[str]) -> np.ndarray:
    """(N, N) boolean: whether two different places of the batch are of the same category."""
    _, code = np.unique(np.asarray(categories), return_inverse=True)
    same = np.asarray(code[:, None] == code[None, :])
    np.fill_diagonal(same, False)
    return same


def contrastive_loss(
    image: Tensor, shape: Tensor, scale: Tensor, log_weight: Tensor | PairWeights | None = None
) -> Tensor:
    """Eq. 5, both directions averaged: a 0-d tensor, differentiable in `image`, `shape` and `scale`.

    image, shape: (N, D), row i of both is object i, L2-normalised by the caller. scale: 0-d, 1/tau. log_weight:
    (N, N) log-weights, row i for anchor i in both directions, or weights that come in blocks, such as
    `SimilarityWeights`, which need no (N, N) matrix; None is InfoNCE. On one process; ranks share `blocked_share`.
    """
    if image.shape != shape.shape:
        raise ValueError(f"image and shape must pair up, not {tuple(image.shape)} and {tuple(shape.shape)}")
    weights = _Dense(log_weight, len(image)) if isinstance(log_weight, Tensor) else log_weight
    return blocked_share(image, shape, scale, weights, [len(image)])


class _Dense:
    """Any (N, N) log-weights as `PairWeights`, without the symmetry that saves an exponential."""

    def __init__(self, log_weight: Tensor, n: int) -> None:
        if log_weight.shape != (n, n):
            raise ValueError(f"log_weight must be {(n, n)}, not {tuple(log_weight.shape)}")
        self._log_weight = log_weight.detach()
        self.factors = log_weight.new_ones(1, n, dtype=torch.float64)

    def rows(self, rows: slice) -> list[tuple[Tensor, Tensor]]:
        return [(self._log_weight[rows].exp(), self._log_weight[:, rows].t().exp())]


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
    weights = _Dense(log_weight, len(query)) if isinstance(log_weight, Tensor) else log_weight
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
    for start in range(0, len(query), _HCL_ROWS):
        rows = slice(start, min(start + _HCL_ROWS, len(query)))
        block = (query[rows], keys, scale, rows, first, beta, tau_plus, weights)
        total = total + checkpoint(_hcl_rows, *block, use_reentrant=False)
    return total / len(keys)


def _hcl_rows(
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
