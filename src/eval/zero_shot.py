"""Zero-shot classification: the class whose text is nearest to the embedding.

Several texts for a class (a template list) become one: each is normalised, they are
averaged, and the mean is normalised again (method.md, as CLIP and ULIP do).

The rank of the true class is 1 + the number of other classes that score at least as
high: ties go against the method. The predicted class follows from the same rule (on
a tie for the first place, one of the wrong classes), so the diagonal of the confusion
matrix and `top1` can never disagree.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captionless.errors import DataError
from captionless.eval.cosine import TIE, positive_ks, same_width, unit_rows

_ROWS = 4096  # scores held at a time: 4096 x C float64


def class_vectors(class_texts: ArrayLike) -> NDArray[np.float64]:
    """One unit vector per class, (C, D) float64, of text embeddings (C, D) or (C, T, D)."""
    texts: NDArray[np.float64] = unit_rows(class_texts, "class_texts", ndim=(2, 3))
    if texts.ndim == 3:
        texts = unit_rows(texts.mean(axis=1), "class_texts averaged over templates")
    return texts


def evaluate(
    embeddings: ArrayLike, class_texts: ArrayLike, labels: ArrayLike, ks: tuple[int, ...] = (1, 5)
) -> dict[str, Any]:
    """Accuracy of `embeddings` (n, D) against `class_texts` (C, D) or (C, T, D) for `labels` (n,).

    Returns `top{k}` for each of `ks` (with k >= C it is 1, every class being listed),
    `class_mean` (mean of the classes that have samples), `per_class` ((C,) float64, NaN
    for a class without sample), `support` ((C,) int64, samples per class) and
    `confusion` ((C, C) int64, row = true class, column = predicted class).
    """
    ks = positive_ks(ks)
    shapes = unit_rows(embeddings, "embeddings")
    texts = class_vectors(class_texts)
    same_width(shapes, texts, "embeddings and class_texts")
    classes = len(texts)
    truth = _labels(labels, len(shapes), classes)

    rank = np.empty(len(shapes), dtype=np.int64)
    predicted = np.empty(len(shapes), dtype=np.int64)
    for start in range(0, len(shapes), _ROWS):
        part = slice(start, start + _ROWS)
        scores = shapes[part] @ texts.T
        row = np.arange(len(scores))
        true_score = scores[row, truth[part]].copy()
        scores[row, truth[part]] = -np.inf
        rank[part] = 1 + np.count_nonzero(scores >= true_score[:, None] - TIE, axis=1)
        predicted[part] = np.where(rank[part] == 1, truth[part], scores.argmax(axis=1))

    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    support = confusion.sum(axis=1)
    per_class = np.full(classes, np.nan)
    np.divide(np.diagonal(confusion), support, out=per_class, where=support > 0)
    figures: dict[str, Any] = {f"top{k}": float(np.mean(rank <= k)) for k in ks}
    figures["class_mean"] = float(per_class[support > 0].mean())
    return figures | {"per_class": per_class, "support": support, "confusion": confusion}


def chance(classes: int, ks: tuple[int, ...] = (1, 5)) -> dict[str, float]:
    """What a ranking of `classes` classes at random reaches: `top{k}` and `class_mean`."""
    if classes < 1:
        raise DataError(f"classes: expected at least 1, found {classes}")
    return {f"top{k}": min(k, classes) / classes for k in positive_ks(ks)} | {"class_mean": 1 / classes}


def _labels(labels: ArrayLike, count: int, classes: int) -> NDArray[np.int64]:
    truth = np.asarray(labels)
    if truth.shape != (count,) or truth.dtype.kind not in "iu":
        raise DataError(f"labels: expected {count} whole numbers, found shape {truth.shape} of {truth.dtype}")
    outside = (truth < 0) | (truth >= classes)
    if outside.any():
        row = int(np.argmax(outside))
        raise DataError(f"labels: row {row} is {truth[row]}, but there are classes 0 to {classes - 1}")
    return truth.astype(np.int64)
