"""Accuracy of class scores, whether from texts (`zero_shot`) or a head trained on labels.

The rank of the true class is 1 + the number of other classes that score at least as high: ties go against the method.
The predicted class follows from the same rule (on a tie for the first place, one of the wrong classes), so the diagonal
of the confusion matrix and `top1` can never disagree.

A trained classifier's figures, `results.json` of `captionless classify`, schema 1 (`figures` and `provenance` as in
`results`, `timing` and `host` are not part of what is compared):

    figures     a pure function of the model and the clouds: floats to 6 decimals
      classes, chance                    the classes in the order of the head; the accuracy of guessing
      objects     split -> how many
      splits      split -> figure tree
    provenance  dataset, protocol, checkpoint, seed, points, versions ...

A split's figure tree is {overall_accuracy, class_mean_accuracy, top5, per_class, objects_per_class, confusion}. Overall
accuracy is the share of objects whose class is found, class-mean accuracy the mean over classes of that share. A class
without object is null in `per_class` and left out of the mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captionless.errors import DataError
from captionless.eval.cosine import TIE, numbers, positive_ks

_SHARES = ("overall_accuracy", "class_mean_accuracy", "top5")
_ROWS = 1 << 16  # counted at a time
HEADINGS = ("split", "clouds", "overall accuracy", "class-mean accuracy", "top-5")


def ranks(scores: NDArray[np.float64], truth: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rank of the true class, from 1, and the predicted class, both (n,), of finite scores (n, C); changes these."""
    row = np.arange(len(scores))
    own = scores[row, truth].copy()
    scores[row, truth] = -np.inf
    rank = 1 + np.count_nonzero(scores >= own[:, None] - TIE, axis=1)
    return rank, np.where(rank == 1, truth, scores.argmax(axis=1))


def confusion(truth: NDArray[np.int64], predicted: NDArray[np.integer[Any]], classes: int) -> NDArray[np.int64]:
    """(C, C) how often each true class (row) was taken for each class (column).

    truth: (n,). predicted: (n,), or (n, m) of m answers for each object.
    """
    answers = predicted.reshape(len(truth), -1)
    found = np.zeros(classes * classes, dtype=np.int64)
    for start in range(0, len(truth), _ROWS):
        part = slice(start, start + _ROWS)
        found += np.bincount((classes * truth[part, None] + answers[part]).ravel(), minlength=len(found))
    return found.reshape(classes, classes)


def summary(
    rank: NDArray[np.integer[Any]],
    predicted: NDArray[np.integer[Any]],
    truth: NDArray[np.int64],
    classes: int,
    ks: tuple[int, ...],
) -> dict[str, Any]:
    """`top{k}` for each of `ks`, `class_mean`, `per_class`, `support` and `confusion`, see `evaluate`.

    rank, predicted: (n,), or (n, m) of m answers for each object.
    """
    matrix = confusion(truth, predicted, classes)
    support = matrix.sum(axis=1)
    per_class = np.full(classes, np.nan)
    np.divide(np.diagonal(matrix), support, out=per_class, where=support > 0)
    figures: dict[str, Any] = {f"top{k}": float(np.mean(rank <= k)) for k in ks}
    figures["class_mean"] = float(per_class[support > 0].mean())
    return figures | {"per_class": per_class, "support": support, "confusion": matrix}


def evaluate(scores: ArrayLike, labels: ArrayLike, ks: tuple[int, ...] = (1, 5)) -> dict[str, Any]:
    """Accuracy of `scores` (n, C), the highest being the class that is meant, for `labels` (n,).

    Returns `top{k}` for each of `ks` (with k >= C it is 1, every class being listed), `class_mean` (mean of the classes
    that have objects), `per_class` ((C,) float64, NaN for a class without object), `support` ((C,) int64, objects per
    class) and `confusion` ((C, C) int64, row = true class, column = predicted class). DataError on scores that are not
    finite.
    """
    ks = positive_ks(ks)
    wanted = numbers(scores, "scores").astype(np.float64)
    if not np.isfinite(wanted).all():
        row = int(np.argmax(~np.isfinite(wanted).all(axis=1)))
        raise DataError(f"scores: row {row} has NaN or infinity")
    truth = checked_labels(labels, len(wanted), wanted.shape[1])
    return summary(*ranks(wanted, truth), truth, wanted.shape[1], ks)


def checked_labels(labels: ArrayLike, count: int, classes: int) -> NDArray[np.int64]:
    """`labels` (n,) as int64; DataError unless there are `count` of them, in 0 .. classes - 1."""
    truth = np.asarray(labels)
    if truth.shape != (count,) or truth.dtype.kind not in "iu":
        raise DataError(f"labels: expected {count} integers, found shape {truth.shape} of {truth.dtype}")
    outside = (truth < 0) | (truth >= classes)
    if outside.any():
        row = int(np.argmax(outside))
        raise DataError(f"labels: row {row} is {truth[row]}, but there are classes 0 to {classes - 1}")
    return truth.astype(np.int64)


def chance(classes: int, ks: tuple[int, ...] = (1, 5)) -> dict[str, float]:
    """What a ranking of `classes` classes at random reaches: `top{k}` and `class_mean`."""
    if classes < 1:
        raise DataError(f"classes: expected at least 1, found {classes}")
    return {f"top{k}": min(k, classes) / classes for k in positive_ks(ks)} | {"class_mean": 1 / classes}


def split_figures(scores: ArrayLike, labels: ArrayLike, classes: Sequence[str]) -> dict[str, Any]:
    """The figure tree of a split whose objects the classifier gives `scores` (n, C)."""
    found = evaluate(scores, labels)
    return {
        "overall_accuracy": found["top1"],
        "class_mean_accuracy": found["class_mean"],
        "top5": found["top5"],
        "per_class": {
            name: share if count else None
            for name, share, count in zip(classes, found["per_class"].tolist(), found["support"], strict=True)
        },
        "objects_per_class": dict(zip(classes, found["support"].tolist(), strict=True)),
        "confusion": found["confusion"].tolist(),
    }


def figures(classes: Sequence[str], objects: Mapping[str, int], splits: Mapping[str, Any]) -> dict[str, Any]:
    """The `figures` of a classifier's results: how many objects each split has, and the trees of those measured."""
    guess = chance(len(classes))
    named = {"overall_accuracy": guess["top1"], "class_mean_accuracy": guess["class_mean"], "top5": guess["top5"]}
    return {"classes": list(classes), "chance": named, "objects": dict(objects), "splits": dict(splits)}


def rows(found: Mapping[str, Any]) -> list[list[str]]:
    """A classifier's `figures` as the cells under `HEADINGS`: chance, then each split that was measured."""
    lines = []
    for name, tree in {"chance": found["chance"], **found["splits"]}.items():
        count = f"{found['objects'][name]:,}" if name in found["splits"] else ""
        lines.append([name, count, *(_percent(tree[key]) for key in _SHARES)])
    return lines


def table(found: Mapping[str, Any]) -> str:
    """A classifier's `figures` in Markdown: the splits, then the classes one by one."""
    splits = found["splits"]
    lines = [list(HEADINGS), ["---", *["---:"] * (len(HEADINGS) - 1)], *rows(found), []]
    lines.append(["class", *(heading for name in splits for heading in ("clouds", name))])
    lines.append(["---", *["---:"] * 2 * len(splits)])
    for name in found["classes"]:
        cells = ((str(tree["objects_per_class"][name]), _percent(tree["per_class"][name])) for tree in splits.values())
        lines.append([name, *(cell for pair in cells for cell in pair)])
    return "".join(f"| {' | '.join(line)} |\n" if line else "\n" for line in lines)


def percentages(found: Mapping[str, Any]) -> dict[str, float]:
    """The shares of a classifier's `figures` in percent, `<split>/<figure>`."""
    return {f"{name}/{key}": round(100 * tree[key], 1) for name, tree in found["splits"].items() for key in _SHARES}


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
