"""Rows in a temporary file are those that were written, however they are asked for, and leave nothing behind."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from captionless.errors import Retryable
from captionless.eval.scratch_rows import ScratchRows


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_rows_are_those_that_were_written(folder: Path) -> None:
    expected = np.random.default_rng(0).normal(size=(1000, 7))
    rows = ScratchRows(expected.shape)
    for start in (500, 0):  # in any order
        rows.write(start, expected[start : start + 500])
    for wanted in (slice(None), slice(3, 500), slice(990, 2000), slice(5, 5), slice(0, 100, 3)):
        np.testing.assert_array_equal(rows[wanted], expected[wanted])
    chosen = np.random.default_rng(1).integers(0, 1000, 300)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: rows[chosen], range(20)):
            np.testing.assert_array_equal(found, expected[chosen])
    assert not list(folder.iterdir())


def test_rows_that_were_not_written_are_an_error(folder: Path) -> None:
    rows = ScratchRows((10, 4))
    rows.write(0, np.ones((5, 4)))
    with pytest.raises(EOFError, match="row 5"):
        rows[3:8]


def test_a_full_folder_says_what_to_do(folder: Path) -> None:
    rows = ScratchRows((10, 4))
    rows._file = open("/dev/full", "wb")  # noqa: SIM115
    with pytest.raises(Retryable, match="320 bytes; set TMPDIR"):
        rows.write(0, np.ones((10, 4)))
