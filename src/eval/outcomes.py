"""What became of every test object: the rank, from 1, at which its right answer came, in whole numbers.

Every figure of a run is a mean over test objects of something that follows from such a rank, so intervals and
comparisons of runs (`bootstrap`, `compare`) need nothing else, and no score. Ranks are stored, not computed again from
embeddings: products of matrices differ in their last bits from machine to machine, and a rank may hang on one.

    zero_shot                     rank of the true class among the classes
    gallery/image_to_shape, ...   rank of the very object in the gallery, which is all test objects
    in_batch/image_to_shape, ...  rank of the very object in its batch

An object may answer several times (a query from each of its views): (n, m) ranks, m for each object.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError, one_line

Ints = NDArray[np.int64]
Path = tuple[str, ...]
_RECIPROCAL = 1 << 24


@dataclass(frozen=True)
class Outcomes:
    """`labels` (n,), the true classes, and `ranks` (n, m) by what was ranked; objects in the test set's order.

    `test`: the digest of the test set, empty where it has none.
    """

    labels: Ints
    ranks: Mapping[str, Ints]
    test: str = ""

    def __post_init__(self) -> None:
        for name, rank in self.ranks.items():
            if rank.ndim != 2 or len(rank) != len(self.labels) or 0 in rank.shape or rank.min() < 1:
                raise DataError(
                    f"{name}: expected ranks from 1 up of {len(self.labels)} objects, found shape {rank.shape}"
                )


@dataclass(frozen=True)
class Answers:
    """One figure's whole numbers: it is the mean over objects of `values` (n,) / `unit`.

    `by_class`: the mean over classes of the means of their objects; classes without object are left out.
    `yes_or_no`: every object has one answer, which is right (1) or wrong (0).
    """

    values: Ints
    unit: int
    by_class: bool = False

    @property
    def yes_or_no(self) -> bool:
        return self.unit == 1 and not self.by_class


def answers(outcomes: Outcomes, path: Path) -> Answers | None:
    """The whole numbers behind the figure at `path` of a figure tree; None for one that is no mean over objects, or
    that these outcomes have no ranks for.

    Reciprocal ranks, of which `map` is the mean where one item is relevant, are rounded to 2^-24: sums of whole numbers
    are exact in any order.
    """
    found = outcomes.ranks.get("/".join(path[:-1]))
    name, _, k = path[-1].replace("top", "recall@").partition("@")
    if found is None:
        return None
    views = found.shape[1]
    if name == "class_mean":
        return Answers((found == 1).sum(axis=1), views, by_class=True)
    if name == "recall":
        return Answers((found <= int(k)).sum(axis=1), views)
    if name == "map":
        return Answers(np.rint(_RECIPROCAL / found).astype(np.int64).sum(axis=1), views * _RECIPROCAL)
    return None


def file_of(run: str) -> str:
    """What the file of a run's outcomes is called."""
    return f"{run}.outcomes.npz"


def dumps(outcomes: Outcomes) -> bytes:
    """An `.npz` file, of the smallest whole numbers that hold the ranks; equal outcomes are equal bytes."""
    buffer = io.BytesIO()
    arrays = {"labels": outcomes.labels, **{name.replace("/", "."): rank for name, rank in outcomes.ranks.items()}}
    small = {name: array.astype(np.min_scalar_type(int(array.max()))) for name, array in arrays.items()}
    np.savez_compressed(buffer, allow_pickle=False, test=np.array(outcomes.test), **small)
    return buffer.getvalue()


def loads(data: bytes, name: str) -> Outcomes:
    """What `dumps` wrote; DataError, with the file's `name`, for anything else."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        test, labels = str(arrays.pop("test")), arrays.pop("labels").astype(np.int64)
        ranks = {key.replace(".", "/"): rank.astype(np.int64) for key, rank in arrays.items()}
        return Outcomes(labels, ranks, test)
    except Exception as error:  # of zipfile, zlib, numpy or ours: all say that the file is not what it was
        raise DataError(f"{name}: not the outcomes of a run ({one_line(error)}); run the eval stage again") from None
