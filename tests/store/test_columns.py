"""Columns behave as the lists that they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from captionless.store.columns import Named, Strings

VALUES = ["chair", "a/b", "", "стул", '"\\', "😀", "chair"]
COLUMNS = [
    Strings.of(VALUES),
    Strings(pa.array(["left out", *VALUES, "too"], pa.large_string())[1:-1]),
    Named.of(pa.array(VALUES)),
    Named.of(pa.chunked_array([VALUES[:2], VALUES[2:]]).dictionary_encode()),
]


@pytest.mark.parametrize("column", COLUMNS, ids=["strings", "a slice", "named", "named in chunks"])
def test_a_column_is_a_sequence_of_its_values(column: Any) -> None:
    assert list(column) == VALUES
    assert column == VALUES
    assert column != VALUES[:-1]
    assert column != [*VALUES[:-1], "table"]
    assert len(column) == len(VALUES)
    assert [column[i] for i in (0, -1, np.int64(3))] == ["chair", "chair", "стул"]
    assert list(column[1:4]) == VALUES[1:4]
    assert list(column[::-2]) == VALUES[::-2]
    assert column.some([5, 5, 0]) == ["😀", "😀", "chair"]
    assert column.some(np.array([], np.int64)) == []
    assert list(column.taken([6, 1])) == ["chair", "a/b"]
    assert column.index("chair") == 0
    assert column.index("chair", 1) == 6
    assert "стул" in column
    assert "sofa" not in column
    assert 3 not in column
    with pytest.raises(IndexError):
        column[len(VALUES)]
    for missing in (("sofa",), ("chair", 1, 6)):
        with pytest.raises(ValueError):
            column.index(*missing)


def test_more_values_than_are_made_together() -> None:
    values = [f"{i:05d}" for i in range(40_000)]
    assert list(Strings.of(values)) == values
    assert list(Named(values, np.arange(40_000, dtype=np.int32)[::-1])) == values[::-1]


def test_names_are_sorted_and_those_that_occur() -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([2, 0, 2]), pa.array(["b", "unused", "a"]))
    named = Named.of(column)
    assert named.names == ["a", "b"]
    assert [rows.tolist() for rows in named.rows] == [[0, 2], [1]]
    assert named == Named(["a", "b"], np.array([0, 1, 0], np.int32))
    empty = Named.of(pa.array([], pa.string()))
    assert (empty.names, list(empty), empty.rows) == ([], [], [])
