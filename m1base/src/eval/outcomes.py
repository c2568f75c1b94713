"""The outcome for every test object: the one-based rank of its right answer, an integer.

Every figure of a run is a mean over test objects of a function of such ranks, so intervals and comparisons of runs
(`bootstrap`, `comparison`) need nothing else, and no scores. Ranks are stored, not recomputed from embeddings: matrix
products differ in their last bits between machines, and a rank may depend on one.

    zero_shot                     rank of the true class among the classes
    gallery/image_to_shape, ...   rank of the object itself in the gallery, which is all test objects
    in_batch/image_to_shape, ...  rank of the object itself in its batch

`predicted` is the class that each object was taken for in `zero_shot`, from which follow the tables of the classes.

An object may have several queries, one for each of its views or pictures: (n, m) ranks, m for each object, padded with
0 if it has fewer. Or it has one query with several right answers, the pictures that show it: then these are the ranks
of all of them, best first.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError, one_line

Ints = NDArray[np.int64]
Path = tuple[str, ...]
_PRECISION = 1 << 24
_PREDICTED = "predicted"


@dataclass(frozen=True)
class Outcomes:
    """`labels` (n,), the true classes, and `ranks` (n, m) by what was ranked; objects in the test set's order.

    `test`: the digest of the test set, empty where it has none. `lists`: the names whose rows are the ranks of all
    right answers to one query, not of one answer to each of several.
    """

    labels: Ints
    ranks: Mapping[str, NDArray[np.integer[Any]]]
    test: str = ""
    lists: frozenset[str] = frozenset()
    predicted: NDArray[np.integer[Any]] | None = None
    """(n, m) of the zero-shot answers; None where it is not known."""

    def __post_init__(self) -> None:
        for name, rank in self.ranks.items():
            if rank.ndim != 2 or len(rank) != len(self.labels) or rank.min(initial=0) < 0 or not rank.any():
                raise DataError(
                    f"{name}: expected one-based ranks of {len(self.labels)} objects, found shape {rank.shape}"
                )
        if self.predicted is not None and len(self.predicted) != len(self.labels):
            raise DataError(f"predicted: expected those of {len(self.labels)} objects, found {len(self.predicted)}")


@dataclass(frozen=True)
class Answers:
    """The integers per object of a figure, which is the sum of `values` (n,) / `unit` over the sum of `asked` (n,).

    `asked`: the number of queries for an object. `by_class`: the figure is the mean over classes of these quotients;
    classes without queries are left out. `yes_or_no`: there is at most one query per object, and an answer is right, 1,
    or wrong, 0.
    """

    values: NDArray[np.integer[Any]]
    asked: NDArray[np.integer[Any]]
    unit: int = 1
    by_class: bool = False

    @property
    def yes_or_no(self) -> bool:
        return self.unit == 1 and not self.by_class and int(self.asked.max()) == 1

    @property
    def figure(self) -> float:
        """The figure of these objects, of one that is not by class."""
        return int(self.values.sum()) / (self.unit * int(self.asked.sum()))


def answers(outcomes: Outcomes, path: Path) -> Answers | None:
    """The integers behind the figure at `path` of a figure tree; None if it is not a mean over objects, or if these
    outcomes have no ranks for it.

    Precisions, of which `map` is the mean, are rounded to 2^-24: sums of integers are exact in any order.
    """
    ranked = "/".join(path[:-1])
    found = outcomes.ranks.get(ranked)
    name, _, k = path[-1].replace("top", "recall@").partition("@")
    if found is None or name not in ("class_mean", "recall", "map"):
        return None
    queries = found[:, :1] if ranked in outcomes.lists else found
    asked = smallest((queries > 0).sum(axis=1))
    if name == "map":
        place = np.arange(1, found.shape[1] + 1) if ranked in outcomes.lists else 1
        precision = np.divide(place, found, out=np.zeros(found.shape), where=found > 0)
        if ranked in outcomes.lists:
            precision = precision.sum(axis=1, keepdims=True) / np.maximum(1, (found > 0).sum(axis=1, keepdims=True))
        return Answers(smallest(np.rint(_PRECISION * precision).astype(np.int64).sum(axis=1)), asked, _PRECISION)
    first = 1 if name == "class_mean" else int(k)
    right = smallest(((queries > 0) & (queries <= first)).sum(axis=1))
    return Answers(right, asked, by_class=name == "class_mean")


def smallest(numbers: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Whole numbers from 0 up, in the smallest type that holds them."""
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))


def file_of(run: str) -> str:
    """What the file of a run's outcomes is called."""
    return f"{run}.outcomes.npz"


def dumps(outcomes: Outcomes) -> bytes:
    """An `.npz` file, of the smallest whole numbers that hold the ranks; equal outcomes are equal bytes."""
    buffer = io.BytesIO()
    arrays = {"labels": outcomes.labels, **{name.replace("/", "."): rank for name, rank in outcomes.ranks.items()}}
    if outcomes.predicted is not None:
        arrays[_PREDICTED] = outcomes.predicted
    small = {name: smallest(array) for name, array in arrays.items()}
    about = {"test": np.array(outcomes.test), "lists": np.array(sorted(outcomes.lists), dtype=np.str_)}
    np.savez_compressed(buffer, allow_pickle=False, **about, **small)
    return buffer.getvalue()


def loads(data: bytes, name: str) -> Outcomes:
    """What `dumps` wrote; DataError, with the file's `name`, for anything else."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        test, lists, labels = str(arrays.pop("test")), arrays.pop("lists"), arrays.pop("labels").astype(np.int64)
        predicted = arrays.pop(_PREDICTED, None)
        ranks = {key.replace(".", "/"): rank for key, rank in arrays.items()}
        return Outcomes(labels, ranks, test, frozenset(map(str, lists)), predicted)
    except Exception as error:  # of zipfile, zlib, numpy or ours: all say that the file is not what it was
        raise DataError(f"{name}: not a valid outcomes file ({one_line(error)}); rerun eval") from None


def to_json(outcomes: Outcomes) -> dict[str, Any]:
    """As part of a JSON document: objects are divided by commas, an object's ranks by spaces."""
    rows = {
        name: ", ".join(" ".join(str(r) for r in row if r) for row in rank.tolist())
        for name, rank in sorted(outcomes.ranks.items())
    }
    labels = ", ".join(map(str, outcomes.labels.tolist()))
    return {"test": outcomes.test, "lists": sorted(outcomes.lists), "labels": labels, "ranks": rows}


def from_json(document: Mapping[str, Any], name: str) -> Outcomes:
    """What `to_json` made; DataError, with the document's `name`, for anything else."""
    try:
        labels = np.array([int(label) for label in document["labels"].split(",")], dtype=np.int64)
        ranks = {}
        for ranked, text in document["ranks"].items():
            rows = [[int(rank) for rank in row.split()] for row in text.split(",")]
            ranks[ranked] = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
            for padded, row in zip(ranks[ranked], rows, strict=True):
                padded[: len(row)] = row
        return Outcomes(labels, ranks, document["test"], frozenset(document["lists"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{name}: outcomes: {one_line(error)}; rerun `captionless eval`") from None


def grouped(ranks: Ints, of: Ints, objects: int) -> Ints:
    """Ranks (q,) of queries that belong to the objects `of` (q,), object by object: (objects, m), padded with 0."""
    order = np.argsort(of, kind="stable")
    sizes = np.bincount(of, minlength=objects)
    place = np.arange(len(of)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    found = np.zeros((objects, int(sizes.max())), dtype=np.int64)
    found[of[order], place] = ranks[order]
    return found
