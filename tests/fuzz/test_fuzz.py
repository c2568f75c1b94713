"""Damaged meshes of every format: a mesh or a DataError comes out, in little time and memory; and the inputs reach
nearly all of the readers. What broke on the way is a test of its own beside the reader's."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.fuzz.campaign import MEMORY, SECONDS, fuzzed
from tests.fuzz.conftest import ROW
from tests.fuzz.formats import FORMATS

INPUTS = int(os.environ.get("CAPTIONLESS_TEST_FUZZ_INPUTS", "5000"))
"""Of each format; the shares are not asked for where there are few."""
FIRST = int(os.environ.get("CAPTIONLESS_TEST_FUZZ_FIRST", "0"))


@pytest.mark.fuzz
@pytest.mark.parametrize("name", FORMATS)
def test_nothing_but_meshes_and_data_errors_come_out(name: str, record_property: Any) -> None:
    found = fuzzed(name, INPUTS, FIRST)
    unreached = found.unreached(FORMATS[name].counted)
    there = sum(map(len, found.reached.values())) + sum(map(len, unreached.values()))
    share = 1 - sum(map(len, unreached.values())) / there
    record_property(
        ROW,
        [
            name, found.inputs, found.read, found.refused, f"{found.past / found.inputs:.0%}", f"{share:.1%}",
            len(found.wrong), f"{found.slowest:.1f}", round(found.memory / 1e6),
        ],
    )  # fmt: skip
    assert found.wrong == {}
    assert found.read + found.refused == found.inputs
    assert found.slowest < SECONDS
    assert found.memory < 2 * MEMORY
    if found.inputs >= 1000:
        assert found.past >= 0.3 * found.inputs
        assert share >= 0.9, unreached
