"""The contrastive losses: InfoNCE, hard-negative weighted (HN), and HCL, one computation with a log-weight source.

Every loss is a mean over anchors i of

    -logit_ii + log( sum_s exp(logit_is + log w_is) ),

in at least float32, the weight entering as an additive bias before the one `logsumexp`. Plain InfoNCE has log w = 0;
HN takes w from the similarities of the frozen CLIP model (eq. 6 of arXiv 2406.02202) and averages both directions
(eq. 5; its second term's numerator read as exp(image_i . shape_i / tau)); HCL (Robinson et al., arXiv 2010.04592)
takes w from the logits themselves, beta * logit, and adds one term that removes the expected false negatives.

A log-weight matrix is (N, N), row i serving anchor i in both directions: the mean weight over the row's unmasked
negatives is 1, a masked negative is -inf, and the diagonal is the positive's own log-weight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from captionless.errors import DataError, SpecError
from captionless.trainer import distributed

PositiveWeight = Literal["one", "formula"]


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
    if positive_weight not in ("one", "formula"):
        raise SpecError(f'positive_weight must be "one" or "formula", not "{positive_weight}"')
    n = sim.shape[0]
    sim = sim.to(torch.promote_types(sim.dtype, torch.float32))
    masked = torch.eye(n, dtype=torch.bool, device=sim.device) if ids is None else _same(ids, n, sim.device)
    used = ~masked
    if positive_weight == "formula":
        used = used | torch.eye(n, dtype=torch.bool, device=sim.device)
    wrong = used & ~((sim > 0) & sim.isfinite())
    if bool(wrong.any()):
        i, s = (int(x) for x in wrong.nonzero()[0])
        raise DataError(f"similarity of batch places {i} and {s} is {float(sim[i, s])}: it must be positive and finite")
    log_sim = sim.log()
    negatives = log_sim.masked_fill(masked, -torch.inf)
    count = (~masked).sum(1, keepdim=True).to(sim.dtype)
    normaliser = negatives.logsumexp(1, keepdim=True) - count.log()
    normaliser = normaliser.masked_fill(count == 0, 0.0)
    log_w = negatives - normaliser
    diagonal = torch.zeros_like(log_sim[:, 0])
    if positive_weight == "formula":
        diagonal = (log_sim.diagonal() - normaliser[:, 0]).masked_fill(count[:, 0] == 0, 0.0)
    return log_w.diagonal_scatter(diagonal)


def average_log_weights(*log_w: Tensor) -> Tensor:
    """AVG: the log of the mean of several weight matrices (the weights are averaged, not the similarities)."""
    return torch.stack(log_w).logsumexp(0) - math.log(len(log_w))


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


def contrastive_loss(image: Tensor, shape: Tensor, scale: Tensor, log_weight: Tensor | None = None) -> Tensor:
    """Eq. 5, both directions averaged: a 0-d tensor, differentiable in `image`, `shape` and `scale`.

    image, shape: (N, D), row i of both is object i, L2-normalised by the caller. scale: 0-d, 1/tau. log_weight:
    (N, N) log-weights, row i for anchor i in both directions; None is InfoNCE.
    """
    return contrastive_share(image, shape, image, shape, scale, log_weight, first=0)


def contrastive_share(
    image: Tensor,
    shape: Tensor,
    all_images: Tensor,
    all_shapes: Tensor,
    scale: Tensor,
    log_weight: Tensor | None,
    first: int,
) -> Tensor:
    """A rank's share of `contrastive_loss`: the anchors it holds against all N candidates, divided by N.

    image, shape: (n, D), the rank's rows, which are rows first .. first + n - 1 of the global (N, D) all_images and
    all_shapes. log_weight: (n, N), the anchors' rows. The shares of all ranks sum to the loss of the global batch.
    """
    if image.shape != shape.shape or all_images.shape != all_shapes.shape:
        raise ValueError(f"image and shape must pair up, not {tuple(image.shape)} and {tuple(shape.shape)}")
    expected = (image.shape[0], all_images.shape[0])
    if log_weight is not None and log_weight.shape != expected:
        raise ValueError(f"log_weight must be {expected}, not {tuple(log_weight.shape)}")
    total = image.new_zeros((), dtype=torch.promote_types(image.dtype, torch.float32))
    for anchors, candidates in ((image, all_shapes), (shape, all_images)):
        logits = _logits(anchors, candidates, scale)
        positive = logits.diagonal(offset=first)[: image.shape[0]]
        biased = logits if log_weight is None else logits + log_weight.to(logits.dtype)
        total = total + (biased.logsumexp(1) - positive).sum()
    return total / (2 * all_images.shape[0])


def gathered_contrastive_share(
    image: Tensor, shape: Tensor, scale: Tensor, log_weight: Tensor | None, sizes: Sequence[int]
) -> Tensor:
    """`contrastive_share` of this rank, its candidates gathered from all ranks.

    image, shape: (sizes[rank], D); log_weight: (sizes[rank], N). On one process it is `contrastive_loss`. Gradients
    with respect to a rank's own rows are those of the one-process loss on the global batch.
    """
    all_images, all_shapes = distributed.gather(image, sizes), distributed.gather(shape, sizes)
    first = sum(sizes[: distributed.rank()])
    return contrastive_share(image, shape, all_images, all_shapes, scale, log_weight, first)


def hcl_loss(
    query: Tensor,
    key: Tensor,
    temperature: Tensor | float,
    beta: float = 1.0,
    tau_plus: float = 0.1,
    log_weight: Tensor | None = None,
) -> Tensor:
    """HCL with debiasing (Robinson et al.), one direction: a 0-d tensor, differentiable in query and key.

    query, key: (N, D), L2-normalised, row i of both a positive pair. With pos = exp(s_ii / temperature), N_ the
    number of negatives and w the importance exp(beta * s / temperature) brought to mean 1 over them:

        Ng = (sum_s w_is exp(s_is / temperature) - tau_plus N_ pos) / (1 - tau_plus), at least N_ exp(-1 / temperature)
        loss = mean_i -log( pos / (pos + Ng) ).

    The importance is not detached. beta = 0 and tau_plus = 0 give one direction of InfoNCE. `log_weight`, (N, N) as
    `log_weights` makes it, multiplies the importance (HN + HCL) and masks its -inf entries. SpecError unless
    0 <= tau_plus < 1.
    """
    if not 0 <= tau_plus < 1:
        raise SpecError(f"tau_plus must be in [0, 1), not {tau_plus}")
    dtype = torch.promote_types(query.dtype, torch.float32)
    inverse = 1.0 / torch.as_tensor(temperature, dtype=dtype, device=query.device)
    logits = _logits(query, key, inverse)
    positive = logits.diagonal()
    eye = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    if log_weight is None:
        log_weight = torch.zeros_like(logits)
    masked = eye | (log_weight == -torch.inf)
    count = (~masked).sum(1).to(logits.dtype)
    # A row of -inf only has NaN for its gradient: rows without negatives are computed unmasked, and cost 0.
    hidden = masked & (count > 0).unsqueeze(1)
    importance = (beta * logits + log_weight.to(logits.dtype).masked_fill(masked, 0.0)).masked_fill(hidden, -torch.inf)
    log_count = count.clamp_min(1).log()
    reweighted = (logits + importance).logsumexp(1) - importance.logsumexp(1) + log_count
    floor = log_count - inverse
    if tau_plus > 0:
        expected = math.log(tau_plus) + log_count + positive
        top = torch.stack([reweighted, expected, floor.expand_as(expected)]).amax(0).detach()
        debiased = ((reweighted - top).exp() - (expected - top).exp()) / (1 - tau_plus)
        log_negative = top + torch.maximum(debiased, (floor - top).exp()).log()
    else:
        log_negative = torch.maximum(reweighted, floor)
    loss = torch.nn.functional.softplus(log_negative - positive)
    return torch.where(count > 0, loss, 0.0).mean()


def _logits(anchors: Tensor, candidates: Tensor, scale: Tensor) -> Tensor:
    """scale * anchors @ candidates.T in at least float32."""
    dtype = torch.promote_types(anchors.dtype, torch.float32)
    return scale.to(dtype) * (anchors.to(dtype) @ candidates.to(dtype).t())


def _same(ids: Tensor | Sequence[object], n: int, device: torch.device) -> Tensor:
    """(N, N) boolean: whether two places of the batch hold the same object."""
    if isinstance(ids, Tensor):
        code = ids.to(device)
    else:
        names = [str(i) for i in ids]
        place = {name: k for k, name in enumerate(names)}
        code = torch.tensor([place[name] for name in names], dtype=torch.int64, device=device)
    if code.shape != (n,):
        raise ValueError(f"ids must be {n} identities, not {tuple(code.shape)}")
    return code.unsqueeze(1) == code.unsqueeze(0)
