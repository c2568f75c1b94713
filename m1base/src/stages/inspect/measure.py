"""Similarities of an object, of its category and of every category, and what they weigh as negatives (eq. 6).

A negative weighs its similarity over the mean similarity of all negatives of its anchor, so that a weight depends on
the batch. Two batches show the two effects apart:

    alone    every stored object of the anchor's category: what the spread within it does
    mixed    every stored object. Training batches are drawn from them and have their mix on average: pairs across
             categories have alpha, so that a negative of the anchor's category weighs sim / alpha times one of another

Of a category of more than MOST_ANCHORS objects that many are the anchors, drawn by a fixed seed; each is taken with all
other objects of the category. Up to that number every pair is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captionless.errors import DataError
from captionless.runtime import signals
from captionless.store.similarity_store import SimilarityStore
from captionless.telemetry.progress import Progress
from captionless.trainer.losses.hn_similarity import negative_weights, sharpened

MOST_ANCHORS = 100
SEED = 0
EACH = 5
"""How many of the nearest and of the farthest objects are shown."""

SIMILARITY = "similarity"
ALONE = "weight alone"
MIXED = "weight mixed"
RATIO = "similarity / alpha"
OTHER = "weight mixed of other categories"

_BINS = 24
_COLUMNS_AT_ONCE = 1024


def negatives(similarity: ArrayLike, others: int, alpha: float) -> dict[str, NDArray[np.float64]]:
    """The weights of negatives (eq. 6) in both batches.

    similarity: (anchors, n - 1), to every other object of the anchors' category. others: objects of other categories;
    each has similarity `alpha`. Returns float64 SIMILARITY, ALONE, MIXED and RATIO, each (anchors, n - 1), and OTHER,
    (anchors,): what each of the others weighs; (0,) where there are none.
    """
    sim = np.asarray(similarity, dtype=np.float64)
    count, own = sim.shape[1], sim.sum(axis=1, keepdims=True)
    every = own + others * alpha
    return {
        SIMILARITY: sim,
        ALONE: negative_weights(sim, own, count),
        MIXED: negative_weights(sim, every, count + others),
        RATIO: sim / alpha,
        OTHER: negative_weights(alpha, every[:, 0], count + others) if others else np.empty(0),
    }


@dataclass(frozen=True)
class Distribution:
    """Least value, 5 %, median, 95 % and greatest value, and how many values are in each of equal bins between."""

    quantiles: tuple[float, float, float, float, float]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Distribution | None:
        """None of no values."""
        if not values.size:
            return None
        low, p5, median, p95, high = (float(q) for q in np.quantile(values, (0, 0.05, 0.5, 0.95, 1)))
        counts, _ = np.histogram(values, _BINS, (low, high) if high > low else (low - 0.5, high + 0.5))
        return cls((low, p5, median, p95, high), tuple(int(c) for c in counts))

    @property
    def bars(self) -> str:
        """The histogram as one line of block characters, a bar for each bin that holds a value."""
        most = max(self.counts)
        return "".join(" ▁▂▃▄▅▆▇█"[-(-8 * count // most)] for count in self.counts)


@dataclass(frozen=True)
class SimilarityRows:
    """Similarities of anchors to all other objects of their category.

    similarity: (anchors, n - 1) float32; the anchors are some or all of the category's `objects`. mean: over all pairs
    of the category; 1 if nothing is sharpened, since it is not used then.
    """

    category: str
    objects: int
    similarity: NDArray[np.float32]
    mean: float

    @property
    def pairs(self) -> int:
        return self.objects * (self.objects - 1) // 2

    def sharpened(self, exponent: float) -> ArrayLike:
        """The similarity with `train.sharpen` = exponent; 1 leaves it."""
        if exponent == 1:
            return self.similarity
        return sharpened(self.similarity, self.mean, exponent)


@dataclass(frozen=True)
class Found:
    """What `measure` found of the object `key`: `own` are its similarities to `mates`, the others of its category."""

    url: str
    metric: str
    alpha: float
    sharpen: float
    key: str
    mates: Sequence[str]
    own: SimilarityRows
    categories: Sequence[SimilarityRows]

    @property
    def objects(self) -> int:
        """All stored objects."""
        return sum(rows.objects for rows in self.categories)

    @property
    def category(self) -> str:
        return self.own.category

    @property
    def exponents(self) -> tuple[float, ...]:
        """What is shown side by side: 1, and the sharpening where there is one."""
        return (1.0,) if self.sharpen == 1 else (1.0, self.sharpen)

    def negatives(self, rows: SimilarityRows, exponent: float) -> dict[str, NDArray[np.float64]]:
        """`negatives` of some rows, sharpened unless the exponent is 1."""
        return negatives(rows.sharpened(exponent), self.objects - rows.objects, self.alpha)

    def nearest_and_farthest(self) -> tuple[list[int], list[int]]:
        """Positions in `mates`, the most similar and the least similar one first; none is in both."""
        order = np.argsort(-self.own.similarity[0], kind="stable").tolist()
        return order[:EACH], order[EACH:][::-1][:EACH]


def measure(store: SimilarityStore, key: str, sharpen: float) -> Found:
    """Reads the similarities of `key`, and those of every category's anchors.

    Raises:
        DataError: an object that is not stored, named with the nearest one that is; a similarity that is not positive.
    """
    store.lookup([key])
    keys = {category: store.keys(category) for category in store.categories}
    means = store.category_mean() if sharpen != 1 else {}
    found = []
    with Progress("inspect", sum(map(len, keys.values()))) as progress:
        for name, own in keys.items():
            found.append(SimilarityRows(name, len(own), _rows(store, _anchors(own), own), means.get(name, 1.0)))
            progress.advance(len(own))
            signals.check()
    category = next(name for name, own in keys.items() if key in own)
    row, mates = row_of(store, key, category, means)
    return Found(store.url, store.metric, store.cross_category_sim, sharpen, key, mates, row, found)


def row_of(
    store: SimilarityStore, key: str, category: str, means: Mapping[str, float] | None = None
) -> tuple[SimilarityRows, list[str]]:
    """One object's similarities to the others of its category, (1, n - 1), and these objects in their order.

    means: of `store.category_mean`, where it is to be sharpened.

    Raises:
        DataError: a similarity that is not positive.
    """
    keys = store.keys(category)
    row = SimilarityRows(category, len(keys), _rows(store, [key], keys), (means or {}).get(category, 1.0))
    return row, [k for k in keys if k != key]


def _anchors(keys: Sequence[str]) -> list[str]:
    """MOST_ANCHORS of the keys, or all if there are no more."""
    if len(keys) <= MOST_ANCHORS:
        return list(keys)
    drawn = np.random.default_rng(SEED).choice(len(keys), MOST_ANCHORS, replace=False)
    return [keys[i] for i in sorted(drawn)]


def _rows(store: SimilarityStore, anchors: Sequence[str], keys: Sequence[str]) -> NDArray[np.float32]:
    """(anchors, keys - 1): each anchor's similarity to the keys but itself, in their order."""
    sim = np.empty((len(anchors), len(keys)), np.float32)
    for start in range(0, len(keys), _COLUMNS_AT_ONCE):  # a lookup is square: the whole category may not fit
        part = keys[start : start + _COLUMNS_AT_ONCE]
        sim[:, start : start + len(part)] = store.lookup([*anchors, *part])[: len(anchors), len(anchors) :]
    itself = np.asarray(anchors, dtype=object)[:, None] == np.asarray(keys, dtype=object)[None, :]
    others: NDArray[np.float32] = sim[~itself].reshape(len(anchors), len(keys) - 1)
    wrong = np.argwhere(~(others > 0))
    if len(wrong):
        i, s = wrong[0]
        raise DataError(
            f'{store.url}: a similarity of object "{anchors[i]}" is {others[i, s]}; expected a positive value; '
            "rerun similarity"
        )
    return others
