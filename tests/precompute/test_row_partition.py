"""Dealing blocks of rows: every row once, workers finish together, blocks fit."""

from __future__ import annotations

import pytest

from benchmarks.similarity.shapenet import SHAPENET
from captionless.precompute.row_partition import COST_OF_AN_OBJECT, MIN_ROWS, RowBlock, keep_rows, plan_rows
from tests.precompute.test_partition import zipf

SIZES = [SHAPENET, zipf(52_000, 1.4), {"dataset": 52_000}, {"dataset": 876_000}, {str(i): 30 for i in range(3000)}]


@pytest.mark.parametrize("most", [2048, 8192])
@pytest.mark.parametrize("workers", [1, 2, 7, 64])
@pytest.mark.parametrize("sizes", SIZES)
def test_workers_finish_together_whatever_the_sizes(sizes: dict[str, int], workers: int, most: int) -> None:
    plan = plan_rows(sizes, workers, most)
    costs = [sum((b.stop - b.start + COST_OF_AN_OBJECT) * b.of for b in own) for own in plan.workers]
    assert max(costs) <= 1.06 * sum(costs) / workers
    assert plan.balance == pytest.approx(max(costs) * workers / sum(costs))
    assert max(b.stop - b.start for b in plan.blocks) <= most


@pytest.mark.parametrize("workers", [1, 2, 5, 64, 1000])
@pytest.mark.parametrize("sizes", [{"a": 100, "b": 33, "c": 1, "d": 2}, {"a": 1}, SHAPENET])
def test_every_row_is_assigned_once(sizes: dict[str, int], workers: int) -> None:
    plan = plan_rows(sizes, workers, 2048)
    assert len(plan.workers) == workers
    for group, n in sizes.items():
        blocks = [b for b in plan.blocks if b.group == group]
        assert [row for b in blocks for row in range(b.start, b.stop)] == list(range(n))
        assert {b.of for b in blocks} == {n}


def test_a_cut_can_be_kept() -> None:
    kept = plan_rows(SHAPENET, 64, 2048)
    again = keep_rows(SHAPENET, 3, kept.sides)
    assert again.blocks == kept.blocks
    assert again.balance <= 1.06


@pytest.mark.parametrize("workers", [1, 3, 8, 64])
def test_no_cut_of_a_single_group_leaves_the_busiest_worker_less_to_do(workers: int) -> None:
    n, most = 5000, 900

    def busiest(side: int) -> int:
        costs = sorted(((min(side, n - start) + COST_OF_AN_OBJECT) * n for start in range(0, n, side)), reverse=True)
        loads = [0] * workers
        for cost in costs:
            loads[loads.index(min(loads))] += cost
        return max(loads)

    plan = plan_rows({"dataset": n}, workers, most)
    assert max(plan.costs) <= 1.05 * min(busiest(side) for side in range(MIN_ROWS, most + 1))


def test_nothing_is_cut_without_need() -> None:
    assert plan_rows({"a": 1000, "b": 10}, 1, 2048).blocks == [RowBlock("a", 0, 1000, 1000), RowBlock("b", 0, 10, 10)]
    assert len(plan_rows({"dataset": 52_000}, 64, 8192).blocks) == 64


def test_the_costliest_is_assigned_first() -> None:
    plan = plan_rows({"a": 10, "b": 10, "c": 20}, 2, 2048)
    assert [[b.group for b in own] for own in plan.workers] == [["c"], ["a", "b"]]
