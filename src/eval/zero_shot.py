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
from captionless.eval.cosine import positive_ks, same_width, unit_rows

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

    Returns what `classification.evaluate` does, and `rank` (n,), see `classification.ranks`.
    """
    ks = positive_ks(ks)
    shapes = unit_rows(embeddings, "embeddings")
    texts = class_vectors(class_texts)
    same_width(shapes, texts, "embeddings and class_texts")
    truth = classification.checked_labels(labels, len(shapes), len(texts))

    rank = np.empty(len(shapes), dtype=np.int64)
    predicted = np.empty(len(shapes), dtype=np.int64)
    for start in range(0, len(shapes), _ROWS):
        part = slice(start, start + _ROWS)
        rank[part], predicted[part] = classification.ranks(shapes[part] @ texts.T, truth[part])
    return classification.summary(rank, predicted, truth, len(texts), ks) | {"rank": rank}
