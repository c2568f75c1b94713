"""Rows put aside on disk come back by bucket, in order."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from captionless.store.spill import Spill

SCHEMA = pa.schema({"n": pa.int64(), "text": pa.string()})


def rows(first: int, count: int) -> pa.Table:
    numbers = range(first, first + count)
    return pa.table({"n": pa.array(numbers, pa.int64()), "text": [f"row {n}" for n in numbers]}, schema=SCHEMA)


def test_rows_come_back_by_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dealt = np.random.default_rng(0).integers(-1, 5, 20_000)
    with Spill(SCHEMA, 6) as spill:
        for first in range(0, 20_000, 1000):
            spill.deal(rows(first, 1000), dealt[first : first + 1000])
        for bucket in range(5):
            found = spill.read(bucket)
            assert found["n"].to_pylist() == np.flatnonzero(dealt == bucket).tolist()
            assert found["text"][-1].as_py() == f"row {found['n'][-1].as_py()}"
        assert len(spill.read(5)) == 0
        assert sum(len(b) for b in spill.batches(3)) == (dealt == 3).sum(), "it can be read again"
        assert os.listdir(tmp_path)
    assert os.listdir(tmp_path) == []
