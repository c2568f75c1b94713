"""Zero-shot classification: the class whose text is nearest to the embedding.

Several texts for a class (a template list) become one: each is normalised, they are
averaged, and the mean is normalised again (docs/method.md, as CLIP and ULIP do).

For what counts as correct see `classification`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captionless.eval import classification
from captionless.eval.cosine import numbers, positive_ks, same_width, unit_rows

_ROWS = 4096  # scores held at a time: 4096 x C float64


def class_vectors(class_texts: ArrayLike) -> NDArray[np.float64]:
    """One unit vector per class, (C, D) float64, of text embeddings (C, D) or (C, T, D)."""
    texts: NDArray[np.float64] = unit_rows(class_texts, "class_texts", ndim=(2, 3))
    if texts.ndim == 3:
        texts = unit_rows(texts.mean(axis=1), "class_texts averaged over templates")
    return texts


class Tally:
    """Classification of m embeddings of each of n objects, which come some objects at a time.

    rank, predicted: (n, m) the one-based rank of the true class, and the class taken for it, see `classification`; the
    smallest whole numbers that hold them.
    """

    def __init__(self, class_texts: ArrayLike, labels: ArrayLike, objects: int, each: int = 1) -> None:
        self._texts = class_vectors(class_texts)
        self.labels = classification.checked_labels(labels, objects, len(self._texts))
        self.rank = np.zeros((objects, each), np.min_scalar_type(len(self._texts)))
        self.predicted = np.zeros_like(self.rank)

    def add(self, start: int, embeddings: ArrayLike) -> None:
        """The embeddings, (b, m, D) or of one each (b, D), of the objects from `start` on."""
        unit = unit_rows(embeddings, "embeddings", ndim=(2, 3), first=start)
        same_width(unit, self._texts, "embeddings and class_texts")
        part, each = slice(start, start + len(unit)), self.rank.shape[1]
        truth = np.repeat(self.labels[part], each)
        found = classification.ranks(unit.reshape(len(truth), -1) @ self._texts.T, truth)
        self.rank[part], self.predicted[part] = (one.reshape(-1, each) for one in found)

    def summary(self, ks: tuple[int, ...]) -> dict[str, Any]:
        """What `classification.summary` says of all."""
        return classification.summary(self.rank, self.predicted, self.labels, len(self._texts), ks)


def evaluate(
    embeddings: ArrayLike, class_texts: ArrayLike, labels: ArrayLike, ks: tuple[int, ...] = (1, 5)
) -> dict[str, Any]:
    """Accuracy of `embeddings` (n, D) against `class_texts` (C, D) or (C, T, D) for `labels` (n,).

    Returns what `classification.evaluate` does, and `rank` and `predicted` (n,), see `classification.ranks`.
    """
    ks = positive_ks(ks)
    shapes = numbers(embeddings, "embeddings")
    tally = Tally(class_texts, labels, len(shapes))
    for start in range(0, len(shapes), _ROWS):
        tally.add(start, shapes[start : start + _ROWS])
    return tally.summary(ks) | {"rank": tally.rank[:, 0], "predicted": tally.predicted[:, 0]}
