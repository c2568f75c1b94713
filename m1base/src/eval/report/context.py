"""What a report shows besides the figures: pictures, curves, examples; all of it optional.

Example objects are drawn by a hash of their keys, one category after the other, and never
by their results: a gallery of selected hits would say nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from captionless.errors import DataError
from captionless.eval.class_tables import ClassTable
from captionless.eval.cosine import TIE, Rows, unit_blocks, unit_rows
from captionless.store.columns import Named


@dataclass(frozen=True)
class History:
    """Training curve of one run: `scale` is the inverse temperature at the same steps, empty if unknown."""

    mode: str
    seed: int
    steps: Sequence[int]
    loss: Sequence[float]
    scale: Sequence[float] = ()


@dataclass(frozen=True)
class RetrievalHit:
    """One place of a ranking: the query's own object, another of its class, or a miss."""

    key: str
    similarity: float
    outcome: Literal["hit", "same class", "miss"]


@dataclass(frozen=True)
class RetrievalQuery:
    """One query, the first places of its ranking, and the rank of the right object.

    `picture` is the query's own image file; if it is missing, the object's thumbnail is shown.
    """

    key: str
    rank: int
    hits: Sequence[RetrievalHit]
    picture: bytes | None = None


@dataclass(frozen=True)
class Example:
    """An object in words: its own texts, and landmarks of its category."""

    key: str
    texts: Sequence[str] = ()
    landmarks: Sequence[str] = ()


@dataclass(frozen=True)
class Neighbour:
    """Another object and how similar it is; `weight` as a negative, where known."""

    key: str
    similarity: float
    weight: float | None = None


@dataclass(frozen=True)
class NeighbourLists:
    """The nearest and farthest objects of one object's category, by `metric`.

    `others` is what any object of another category weighs as its negative, where weights are known.
    """

    key: str
    metric: str
    nearest: Sequence[Neighbour]
    farthest: Sequence[Neighbour]
    others: float | None = None


@dataclass(frozen=True)
class EmbeddingMap:
    """Embeddings (n, D) to be drawn in two dimensions, with the objects' keys and categories.

    `shown` are the positions of those that get a mark, None for all; the axes are those of all.
    """

    embeddings: Rows
    keys: Sequence[str]
    categories: Sequence[str]
    shown: Sequence[int] | None = None


@dataclass(frozen=True)
class ReportContext:
    """Everything the report shows that is not in `results.json`; what is empty is left out.

    `chosen` is the (mode, seed) whose classes are shown in detail, by default the first run of
    the results; `queries` and `embedding_map` should be of the same run. `thumbnails` holds
    image files (WebP, PNG or JPEG) by object key, `categories` the category of what is shown by object key. `tables`
    are the class tables by the name of the run, where the results do not hold them.
    """

    title: str = "captionless: evaluation"
    summary: str = ""
    chosen: tuple[str, int] | None = None
    thumbnails: Mapping[str, bytes] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)
    histories: Sequence[History] = ()
    queries: Sequence[RetrievalQuery] = ()
    neighbours: Sequence[NeighbourLists] = ()
    examples: Sequence[Example] = ()
    embedding_map: EmbeddingMap | None = None
    tables: Mapping[str, ClassTable] = field(default_factory=dict)


def drawn(keys: Sequence[str], categories: Sequence[str], count: int, seed: int = 0) -> list[int]:
    """Positions of `count` of `keys`, drawn by a stable hash, their `categories` taking turns."""
    digests = (hashlib.sha256(f"report:{seed}:{key}".encode()).digest()[:8] for key in keys)
    order = np.argsort(np.fromiter(map(int.from_bytes, digests), np.uint64, len(keys)), kind="stable")
    codes = Named.of(categories).codes[order]
    together = np.argsort(codes, kind="stable")  # category by category, in the order that was drawn
    sizes = np.bincount(codes)
    turn = np.empty(len(codes), np.int64)
    turn[together] = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first = np.full(len(sizes), len(codes))
    np.minimum.at(first, codes, np.arange(len(codes)))
    chosen: list[int] = order[np.lexsort((first[codes], turn))[:count]].tolist()
    return chosen


def retrieval_queries(
    chosen: Sequence[int],
    images: ArrayLike,
    shapes: Rows,
    keys: Sequence[str],
    categories: Sequence[str],
    top: int = 5,
) -> list[RetrievalQuery]:
    """Rankings of the `chosen` objects: their image embeddings (k, D) against all shape embeddings (n, D).

    Ties rank the right object last, as in the figures.
    """
    asked = unit_rows(images, "images")
    if len(asked) != len(chosen) or not len(shapes) == len(keys) == len(categories):
        raise DataError(
            f"report: numbers of images ({len(asked)} for {len(chosen)} objects), shapes ({len(shapes)}), keys "
            f"({len(keys)}) and categories ({len(categories)}) differ"
        )
    blocks = [unit @ asked.T for unit in unit_blocks(shapes, "shapes")]
    queries = []
    for own, scores in zip(chosen, np.concatenate(blocks).T, strict=True):
        ordering = scores.copy()
        ordering[own] -= 2 * TIE
        order = np.argsort(-ordering, kind="stable")
        hits = [RetrievalHit(keys[j], float(scores[j]), _outcome(j, own, categories)) for j in order[:top].tolist()]
        queries.append(RetrievalQuery(keys[own], int(np.flatnonzero(order == own)[0]) + 1, hits))
    return queries


def neighbours_of(
    key: str,
    similarity: ArrayLike,
    keys: Sequence[str],
    metric: str,
    each: int = 4,
    weights: ArrayLike | None = None,
    others: float | None = None,
) -> NeighbourLists:
    """The `each` nearest and farthest of `keys` by `similarity` (n,) to `key`, which itself is left out.

    weights: (n,), of each as a negative; others: that of any object of another category.
    """
    values = np.asarray(similarity, dtype=np.float64)
    if values.shape != (len(keys),):
        raise DataError(f"report: expected {len(keys)} similarities to {key}, found shape {values.shape}")
    weight = None if weights is None else np.asarray(weights, dtype=np.float64)
    order = [int(j) for j in np.argsort(-values, kind="stable") if keys[j] != key]
    found = [Neighbour(keys[j], float(values[j]), None if weight is None else float(weight[j])) for j in order]
    nearest = found[:each]
    return NeighbourLists(key, metric, nearest, found[len(nearest) :][::-1][:each], others)


def _outcome(found: int, wanted: int, categories: Sequence[str]) -> Literal["hit", "same class", "miss"]:
    if found == wanted:
        return "hit"
    return "same class" if categories[found] == categories[wanted] else "miss"
