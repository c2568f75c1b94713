"""How each class fared: accuracy class by class, and which class was taken for which.

A confusion matrix has a cell for every pair of classes: 1,156 classes are 1.3 million for each run, 14 MB of JSON. So
in `results.json` these tables stand within each run's figures (`per_class`, `support`, `confusion`) only while they are
small; larger ones are two Parquet files beside it that `results.json` names under `files`:

    per_class     run, class, objects, accuracy (null for a class without objects)
    confusion     run, true, predicted, count: the cells that are not 0

`run` is "clip_mean", "clip_single", or a run's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.eval import classification
from captionless.eval.outcomes import Outcomes

INLINE = 100_000
"""Cells of all confusion matrices together that `results.json` holds itself, a megabyte; more go beside it."""

NAMES = ("per_class", "confusion")


@dataclass(frozen=True)
class ClassTable:
    """support: (C,) int64, the answers for objects of each class. cells: (k, 3) int64, sorted: true class, predicted
    class, and how often, which is not 0."""

    support: NDArray[np.int64]
    cells: NDArray[np.int64]

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """(C,) the share of each class's answers that are right, NaN where there are none."""
        right = np.zeros(len(self.support), np.int64)
        own = self.cells[self.cells[:, 0] == self.cells[:, 1]]
        right[own[:, 0]] = own[:, 2]
        found = np.full(len(self.support), np.nan)
        np.divide(right, self.support, out=found, where=self.support > 0)
        return found

    def errors_of(self, true: int) -> list[tuple[int, int]]:
        """The other classes that objects of a class were taken for and how often, the most frequent first."""
        start, stop = np.searchsorted(self.cells[:, 0], (true, true + 1))
        own = [(wrong, count) for _, wrong, count in self.cells[start:stop].tolist() if wrong != true]
        return sorted(own, key=lambda one: (-one[1], one[0]))

    def confusion(self) -> NDArray[np.int64]:
        """(C, C), row = true class, column = predicted class."""
        found = np.zeros((len(self.support), len(self.support)), np.int64)
        found[self.cells[:, 0], self.cells[:, 1]] = self.cells[:, 2]
        return found

    def inline(self, classes: Sequence[str]) -> dict[str, Any]:
        """As part of a figure tree's `zero_shot`."""
        return {
            "per_class": dict(zip(classes, self.accuracy.tolist(), strict=True)),
            "support": self.support.tolist(),
            "confusion": self.confusion().tolist(),
        }


def of_outcomes(outcomes: Outcomes, classes: int) -> ClassTable:
    """The table of a run; DataError when its outcomes do not say what each object was taken for."""
    if outcomes.predicted is None:
        raise DataError("outcomes: written by a version that kept no predicted classes; rerun eval")
    return _of_matrix(classification.confusion(outcomes.labels, outcomes.predicted, classes))


def of_tree(tree: Mapping[str, Any]) -> ClassTable | None:
    """The table that stands within a figure tree; None where it is beside the results."""
    found = tree["zero_shot"].get("confusion")
    return None if found is None else _of_matrix(np.array(found, dtype=np.int64))


def are_small(classes: int, runs: int) -> bool:
    """Whether the tables of so many runs, the references counted, stand within the results."""
    return classes * classes * runs <= INLINE


def parquet(
    tables: Mapping[str, ClassTable], classes: Sequence[str]
) -> dict[str, tuple[pa.Schema, Iterator[pa.Table]]]:
    """By `NAMES`, the schema and the rows, run by run, of the tables of runs by their names."""
    kind = pa.dictionary(pa.int32(), pa.string())
    names = pa.array(classes, pa.string())

    def named(codes: NDArray[np.int64]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), names)

    def runs(run: str, rows: int) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows), pa.int32()), pa.array([run]))

    of_classes = pa.schema({"run": kind, "class": kind, "objects": pa.int64(), "accuracy": pa.float64()})
    of_cells = pa.schema({"run": kind, "true": kind, "predicted": kind, "count": pa.int64()})

    def per_class() -> Iterator[pa.Table]:
        for run, table in tables.items():
            accuracy = pa.array(table.accuracy, mask=np.isnan(table.accuracy))
            columns = [runs(run, len(classes)), named(np.arange(len(classes))), pa.array(table.support), accuracy]
            yield pa.table(columns, of_classes)

    def confusion() -> Iterator[pa.Table]:
        for run, table in tables.items():
            true, predicted, count = table.cells.T
            yield pa.table([runs(run, len(true)), named(true), named(predicted), pa.array(count)], of_cells)

    return {"per_class": (of_classes, per_class()), "confusion": (of_cells, confusion())}


def _of_matrix(matrix: NDArray[np.int64]) -> ClassTable:
    true, predicted = np.nonzero(matrix)
    return ClassTable(matrix.sum(axis=1), np.stack([true, predicted, matrix[true, predicted]], axis=1))
