"""What one encoder reaches on the unseen objects, and two references without training: CLIP itself, and chance.

Bounded memory: the views of all objects are never held. They come in blocks, of which only what the figures need is
kept: one view of each object as it is stored, and ranks in whole numbers as small as they can be; the reference's own
embeddings, in float64, are in a temporary file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captionless.errors import DataError
from captionless.eval import classification, retrieval
from captionless.eval.cosine import MadeRows, Rows, numbers, unit_rows
from captionless.eval.outcomes import Outcomes, smallest
from captionless.eval.protocol import TestSplit
from captionless.eval.scratch_rows import ScratchRows
from captionless.eval.trees import Tree, rounded
from captionless.eval.zero_shot import Tally

_AT_ONCE = 4096  # embeddings classified together


class Measured(NamedTuple):
    """A figure tree, and the outcomes that its figures are of."""

    figures: Tree
    outcomes: Outcomes


def evaluate_run(shapes: ArrayLike, test: TestSplit) -> Measured:
    """The figures of an encoder whose embeddings of the test objects are `shapes` (n, D).

    In retrieval every object is a query, the gallery is all test objects, and only the object
    itself is relevant: others of its class are misses.
    """
    embedded = numbers(shapes, "embeddings")
    if len(embedded) != len(test.keys):
        raise DataError(f"embeddings: expected {len(test.keys)} objects, found {len(embedded)}")
    tally = Tally(test.class_texts, test.labels, len(embedded))
    for start in range(0, len(embedded), _AT_ONCE):
        tally.add(start, embedded[start : start + _AT_ONCE])
    return _measured(tally, ((_floats(stored), embedded) for stored in test.images()), test)


def clip_ceiling(test: TestSplit) -> dict[str, Measured]:
    """What the CLIP model reaches from the same objects' views: `clip_mean` and `clip_single`.

    Zero-shot: the normalised mean of an object's views (`clip_mean`), or every view on its
    own (`clip_single`). Retrieval: the chosen view against, in the shape's place, the mean of
    the object's other views (`clip_mean`) or the opposite view (`clip_single`), so that
    a query never meets itself.
    """
    objects, count, width = test.seen.shape
    mean = Tally(test.class_texts, test.labels, objects)
    single = Tally(test.class_texts, test.labels, objects, count)
    total = ScratchRows((objects, width))
    for part, views in test.blocks():
        unit = unit_rows(views, "views", ndim=(3,), first=part.start)
        single.add(part.start, unit)
        mean.add(part.start, unit.mean(axis=1))
        total.write(part.start, unit.sum(axis=1))
    if count == 1:
        return {"clip_mean": _measured(mean, (), test), "clip_single": _measured(single, (), test)}

    def others(stored: NDArray[Any]) -> MadeRows:
        return MadeRows(total.shape, lambda rows: total[rows] - unit_rows(stored[rows], "views"))

    found = {"clip_mean": _measured(mean, ((_unit(stored), others(stored)) for stored in test.images()), test)}
    opposite = (test.seen.one_of_each((chosen + count // 2) % count) for chosen in test.choices)
    pairs = ((_unit(stored), _unit(other)) for stored, other in zip(test.images(), opposite, strict=True))
    return found | {"clip_single": _measured(single, pairs, test)}


def chance(test: TestSplit) -> Tree:
    """Expected figures of random rankings under the same protocol."""
    settings, n = test.settings, len(test.keys)
    both = retrieval.chance(np.arange(n), n, settings.gallery_ks)
    pooled = retrieval.in_batch_chance(n, settings.batch, settings.in_batch_ks)
    return rounded(
        {
            "zero_shot": classification.chance(len(test.classes), settings.zero_shot_ks),
            "gallery": {"image_to_shape": both, "shape_to_image": both},
            "in_batch": {"image_to_shape": pooled, "shape_to_image": pooled},
        }
    )


def _unit(stored: NDArray[Any]) -> MadeRows:
    """Rows of length 1 in float64, of rows as they are stored."""
    return MadeRows((len(stored), stored.shape[1]), lambda rows: unit_rows(stored[rows], "views"))


def _floats(stored: NDArray[Any]) -> Rows:
    """The same numbers in a type to calculate with."""
    if stored.dtype != np.float16:
        return stored
    return MadeRows((len(stored), stored.shape[1]), lambda rows: stored[rows].astype(np.float32))


def _measured(tally: Tally, pairs: Iterable[tuple[Rows, Rows]], test: TestSplit) -> Measured:
    """Zero-shot of what was tallied, and retrieval between `pairs` of images and shapes, if there are any."""
    found = tally.summary(test.settings.zero_shot_ks)
    shares: Tree = {name: value for name, value in found.items() if isinstance(value, float)}
    tree, ranks = _retrieval(pairs, test)
    labels = np.asarray(test.labels, dtype=np.int64)
    kept = Outcomes(labels, {"zero_shot": tally.rank} | ranks, test.digest, predicted=tally.predicted)
    return Measured(rounded({"zero_shot": shares} | tree), kept)


def _retrieval(pairs: Iterable[tuple[Rows, Rows]], test: TestSplit) -> tuple[Tree, dict[str, NDArray[Any]]]:
    """Mean figures over `pairs` of image and shape embeddings, both (n, D), object by object."""
    settings, own = test.settings, np.arange(len(test.keys))
    ranked: dict[str, list[NDArray[Any]]] = {}
    pooled: dict[str, list[NDArray[Any]]] = {}
    for pair in pairs:
        for direction, (asked, given) in (("image_to_shape", pair), ("shape_to_image", pair[::-1])):
            ranked.setdefault(direction, []).append(smallest(retrieval.gallery_ranks(asked, given, own)))
            batches = retrieval.in_batch_ranks(asked, given, settings.batch, settings.batch_seed)
            pooled.setdefault(direction, []).append(smallest(batches))
    tree: Tree = {}
    if ranked:
        tree = {
            "gallery": {
                direction: _mean([retrieval.gallery_figures(rank, settings.gallery_ks) for rank in of])
                for direction, of in ranked.items()
            },
            "in_batch": {
                direction: _mean([retrieval.in_batch_figures(rank, settings.in_batch_ks) for rank in of])
                for direction, of in pooled.items()
            },
        }
    ranks = {f"gallery/{direction}": np.concatenate(of, axis=1) for direction, of in ranked.items()}
    return tree, ranks | {f"in_batch/{direction}": np.stack(of, axis=1) for direction, of in pooled.items()}


def _mean(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([figures[name] for figures in found])) for name in found[0]}
