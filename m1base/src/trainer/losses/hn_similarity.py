"""Eq. 6 of the HN loss in plain numpy, and what similarities become before it: sharpened, or their category's constant.

    w[i, s] = n_i * sim[i, s] / sum_k sim[i, k]    over the n_i negatives k of anchor i

Without torch, so that `similarity inspect` shows weights as training has them without importing it. The weights of a
training batch are those of `hn_weights`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike


def negative_weights(sim: ArrayLike, total: ArrayLike, count: int) -> np.ndarray:
    """Eq. 6: the weights of negatives with the similarities `sim`, of anchors with `count` negatives.

    total: the sum of an anchor's similarities to all its negatives. `sim` and `total` broadcast.
    """
    return np.asarray(count * np.asarray(sim) / total)


def category_similarity(sim: ArrayLike, categories: Sequence[str], means: Mapping[str, float]) -> np.ndarray:
    """The category-only control: (N, N) `sim` with each in-category entry replaced by its category's mean.

    `means`: mean off-diagonal similarity of each category. Weights made from it depend on the label only, not on
    structure; cross-category entries (alpha) and the diagonal do not change. Returns a new float32 array.
    """
    out = np.array(sim, dtype=np.float32)
    same = _other_places_of_category(categories)
    mean = np.array([means.get(c, np.nan) for c in categories], dtype=np.float32)
    out[same] = np.broadcast_to(mean[:, None], out.shape)[same]
    return out


def sharpened_similarity(
    sim: ArrayLike, categories: Sequence[str], means: Mapping[str, float], sharpen: float
) -> np.ndarray:
    """`sim` (N, N) with a larger spread within categories: sim' = m_c * (sim / m_c) ** sharpen inside category c.

    `means`: m_c, mean off-diagonal similarity of each category. Eq. 6's weights vary little within a category, while
    sim / alpha dominates across categories; the power acts about the mean, so that the weight of a category of small
    spread relative to the others hardly changes. Cross-category entries (alpha) and the diagonal do not change. Not
    part of the papers. Returns a new float32 array.
    """
    out = np.array(sim, dtype=np.float64)
    same = _other_places_of_category(categories)
    mean = np.array([means.get(c, np.nan) for c in categories])
    out[same] = sharpened(out[same], np.broadcast_to(mean[:, None], out.shape)[same], sharpen)
    return out.astype(np.float32)


def sharpened(sim: ArrayLike, mean: ArrayLike, sharpen: float) -> np.ndarray:
    """mean * (sim / mean) ** sharpen, elementwise, in float64; NaN for a negative `sim`, which `hn_weights` reports."""
    mean = np.asarray(mean, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(mean * (np.asarray(sim, dtype=np.float64) / mean) ** sharpen)


def _other_places_of_category(categories: Sequence[str]) -> np.ndarray:
    """(N, N) boolean: whether two different places of the batch are of the same category."""
    _, code = np.unique(np.asarray(categories), return_inverse=True)
    same = np.asarray(code[:, None] == code[None, :])
    np.fill_diagonal(same, False)
    return same
