"""What `benchmarks/scale` measures at the size of a large data set holds at a small one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scale import requests
from benchmarks.scale.growth import growth_table

MOST_REQUESTS = 10


def test_a_worker_with_nothing_to_do_asks_for_little_but_its_own_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.scale.listing.CATEGORIES", 3)
    found = requests.reruns(900, 2)
    assert {name: others for name, (_, others) in found.items() if others > MOST_REQUESTS and name != "list"} == {}
    assert all(own for name, (own, _) in found.items() if name != "list")


def test_a_data_set_that_changes_is_as_if_it_had_been_made_at_once(tmp_path: Path) -> None:
    found = growth_table(tmp_path, 60, 5, real=False)
    assert "**" not in found
    assert ", 0 of the 5 keys" in found
    for line in ("5 more | list | 5 | 60 | 0", " | pack | 5 | 60 | 0", " | embed | 0 | 60 | 5"):
        assert line in found
