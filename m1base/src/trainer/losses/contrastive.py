"""The contrastive loss, eq. 5 of arXiv 2406.02202: InfoNCE, or hard-negative weighted (HN).

The mean over anchors i, and over both directions, of

    -logit_ii + log( sum_s w_is exp(logit_is) ),

where InfoNCE has w = 1 and HN takes w from the similarities of the frozen CLIP model (`hn_weights`). The numerator of
eq. 5's second term is read as exp(image_i . shape_i / tau). Computed in tiles, in at least float32 (`tiled`).

A log-weight matrix is (N, N), row i serving anchor i in both directions: the mean weight over the row's unmasked
negatives is 1, a masked negative is -inf, and the diagonal is the positive's own log-weight.
"""

from __future__ import annotations

from torch import Tensor

from captionless.trainer.losses.pair_weights import DenseWeights, PairWeights
from captionless.trainer.losses.tiled import contrastive_share


def contrastive_loss(
    image: Tensor, shape: Tensor, scale: Tensor, log_weight: Tensor | PairWeights | None = None
) -> Tensor:
    """Eq. 5, both directions averaged: a 0-d tensor, differentiable in `image`, `shape` and `scale`.

    image, shape: (N, D), row i of both is object i, L2-normalised by the caller. scale: 0-d, 1/tau. log_weight:
    (N, N) log-weights, row i for anchor i in both directions, or weights that come in blocks, such as
    `HNWeights`, which need no (N, N) matrix; None is InfoNCE. On one process; ranks share `contrastive_share`.
    """
    if image.shape != shape.shape:
        raise ValueError(f"image and shape must pair up, not {tuple(image.shape)} and {tuple(shape.shape)}")
    weights = DenseWeights(log_weight, len(image)) if isinstance(log_weight, Tensor) else log_weight
    return contrastive_share(image, shape, scale, weights, [len(image)])
