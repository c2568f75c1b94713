"""Dealing tiles out: every pair once, tiles of bounded size, and workers that finish together."""

from __future__ import annotations

import pytest

from benchmarks.similarity.shapenet import SHAPENET
from captionless.precompute.partition import EVEN, MAX_SIDE, cost, plan_tiles
from captionless.store.similarity_store import blocks
from captionless.store.tiles import Metric


def zipf(objects: int, exponent: float, categories: int = 55) -> dict[str, int]:
    shares = [1 / k**exponent for k in range(1, categories + 1)]
    return {f"{k:02d}": max(1, round(objects * s / sum(shares))) for k, s in enumerate(shares)}


@pytest.mark.parametrize("metric", ["i2i", "i2l"])
@pytest.mark.parametrize(
    ("sizes", "workers"),
    [(zipf(n, s), w) for n in (20_000, 52_000, 876_000) for s in (0.6, 1.0, 1.4) for w in (2, 64)]
    + [(SHAPENET, w) for w in (1, 3, 7, 16, 64)]
    + [({"one": 50_000}, 64), ({str(i): 30 for i in range(3000)}, 64)],
)
def test_workers_finish_together_whatever_the_sizes(sizes: dict[str, int], workers: int, metric: Metric) -> None:
    plan = plan_tiles(sizes, workers, metric)
    assert max(plan.costs) <= EVEN * sum(plan.costs) / workers
    assert plan.balance == pytest.approx(max(plan.costs) / (sum(plan.costs) / workers))
    assert max(plan.sides.values()) <= MAX_SIDE


@pytest.mark.parametrize("workers", [1, 2, 5, 64, 1000])
@pytest.mark.parametrize("sizes", [{"a": 100, "b": 33, "c": 1, "d": 2}, {"a": 1}, {}, SHAPENET])
def test_every_pair_is_assigned_once(sizes: dict[str, int], workers: int) -> None:
    plan = plan_tiles(sizes, workers, "i2l")
    assert len(plan.workers) == workers
    assert plan.costs == [sum(cost(b, "i2l") for b in own) for own in plan.workers]
    for category, n in sizes.items():
        expected = blocks(category, n, plan.sides[category])
        found = [b for b in plan.tiles if b.category == category]
        assert sorted(found, key=lambda b: (b.rows, b.columns)) == expected
        assert sum(b.pairs for b in found) == n * (n - 1) // 2
    assert sum(b.pairs for b in plan.tiles) == sum(n * (n - 1) // 2 for n in sizes.values())


def test_too_many_workers_for_the_work_still_share_it() -> None:
    plan = plan_tiles({"a": 200}, 64, "i2i")
    assert sum(1 for own in plan.workers if own) > 32
    assert max(plan.costs) < plan_tiles({"a": 200}, 8, "i2i").costs[0]


def test_a_cut_can_be_kept() -> None:
    kept = plan_tiles(SHAPENET, 64, "i2i")
    again = plan_tiles(SHAPENET, 3, "i2i", kept.sides)
    assert sorted(again.tiles, key=repr) == sorted(kept.tiles, key=repr)
    assert again.balance <= EVEN


def test_a_worker_gets_tiles_of_the_same_rows_together() -> None:
    """A row of tiles is a run that is cut where a worker's share ends; the tiles on the diagonal are dealt apart."""
    plan = plan_tiles({"a": 40 * MAX_SIDE}, 8, "i2i")
    rows = [len({b.rows for b in own}) for own in plan.workers]
    assert sum(rows) <= 40 + 8 + 40
