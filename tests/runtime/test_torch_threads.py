"""Slices depend on the work: eight of much, fewer of little, and every item in one of them."""

from __future__ import annotations

import pytest
import torch

from captionless.runtime.torch_threads import map_slices, slices

MIN_ELEMENTS = 1 << 16


@pytest.mark.parametrize(
    ("count", "elements", "sizes"),
    [
        (16, 0, [16]),
        (16, 2 * MIN_ELEMENTS - 1, [16]),
        (16, 2 * MIN_ELEMENTS, [8, 8]),
        (10, 3 * MIN_ELEMENTS, [3, 3, 4]),
        (16, 100 * MIN_ELEMENTS, [2] * 8),
        (3, 100 * MIN_ELEMENTS, [1, 1, 1]),
        (1, 100 * MIN_ELEMENTS, [1]),
        (0, 0, []),
    ],
    ids=["no work", "just too little", "two", "uneven", "most", "few items", "one item", "no items"],
)
def test_slices(count: int, elements: int, sizes: list[int]) -> None:
    found = slices(count, elements)
    assert [part.stop - part.start for part in found] == sizes
    assert [i for part in found for i in range(part.start, part.stop)] == list(range(count))


@pytest.mark.parametrize("threads", [1, 2], ids=["1 thread", "2 threads"])
def test_all_is_done_once_and_threads_are_given_back(threads: int) -> None:
    before, done = torch.get_num_threads(), torch.zeros(11, dtype=torch.int64)
    torch.set_num_threads(threads)
    try:
        map_slices(lambda part: done[part].add_(1), len(done), 8 * MIN_ELEMENTS)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert done.tolist() == [1] * 11
