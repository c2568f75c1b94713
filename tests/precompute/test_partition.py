"""Dealing tiles out: every pair once, tiles of bounded size, and workers that finish together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from benchmarks.similarity.shapenet import SHAPENET
from captionless.precompute import partition
from captionless.precompute.growth import Growth, pairs
from captionless.precompute.partition import EVEN, MAX_SIDE, MIN_WIDTH, plan_tiles
from captionless.store.tile_layout import ColumnBlock, square_blocks, tiles_of
from captionless.store.tiles import Metric, Tile, TileBlock


def zipf(objects: int, exponent: float, categories: int = 55) -> dict[str, int]:
    shares = [1 / k**exponent for k in range(1, categories + 1)]
    return {f"{k:02d}": max(1, round(objects * s / sum(shares))) for k, s in enumerate(shares)}


def fresh(sizes: Mapping[str, int]) -> dict[str, Growth]:
    return {category: Growth.from_scratch(n) for category, n in sizes.items()}


def stored(category: str, n: int, more: int, side: int = MAX_SIDE, emptied: tuple[int, ...] = ()) -> Growth:
    """Of n objects that are stored in blocks of `side` some are gone, and `more` have come."""
    tiles = [Tile(b, b.file("0" * 8), 0, 1, 0, "", "", 0) for b in tiles_of(category, square_blocks(n, side))]
    indices = np.arange(n + more)
    indices[list(emptied)] = -1
    return Growth(indices, n, tiles, np.array(emptied, np.int64))


@pytest.mark.parametrize("metric", ["i2i", "i2l"])
@pytest.mark.parametrize(
    ("sizes", "workers"),
    [(zipf(n, s), w) for n in (20_000, 52_000, 876_000) for s in (0.6, 1.0, 1.4) for w in (2, 64)]
    + [(SHAPENET, w) for w in (1, 3, 7, 16, 64)]
    + [({"one": 50_000}, 64), ({str(i): 30 for i in range(3000)}, 64)],
)
def test_workers_finish_together_whatever_the_sizes(sizes: dict[str, int], workers: int, metric: Metric) -> None:
    plan = plan_tiles(fresh(sizes), workers, metric)
    assert max(plan.costs) <= EVEN * sum(plan.costs) / workers
    assert plan.balance == pytest.approx(max(plan.costs) / (sum(plan.costs) / workers))
    assert max(b.stop - b.start for blocks in plan.blocks.values() for b in blocks) <= MAX_SIDE


@pytest.mark.parametrize("workers", [1, 2, 5, 64, 1000])
@pytest.mark.parametrize("sizes", [{"a": 100, "b": 33, "c": 1, "d": 2}, {"a": 1}, {}, SHAPENET])
def test_every_pair_is_assigned_once(sizes: dict[str, int], workers: int) -> None:
    plan = plan_tiles(fresh(sizes), workers, "i2l")
    assert len(plan.workers) == workers
    assert plan.costs == [sum(tile.cost("i2l") for tile in own) for own in plan.workers]
    for category, n in sizes.items():
        expected = tiles_of(category, plan.blocks[category])
        found = [t.block for t in plan.tiles if t.block.category == category]
        assert sorted(found, key=lambda b: (b.columns, b.rows)) == expected
        assert sum(b.pairs for b in found) == pairs(n)
        assert plan.blocks[category] == square_blocks(n, plan.blocks[category][0].stop)
    assert sum(t.pairs for t in plan.tiles) == sum(map(pairs, sizes.values()))


def test_too_many_workers_for_the_work_still_share_it() -> None:
    plan = plan_tiles(fresh({"a": 200}), 64, "i2i")
    assert sum(1 for own in plan.workers if own) > 32
    assert max(plan.costs) < plan_tiles(fresh({"a": 200}), 8, "i2i").costs[0]


def test_what_is_stored_is_not_cut_again() -> None:
    categories = {c: stored(c, n, 0, 500) for c, n in SHAPENET.items()}
    plan = plan_tiles(categories, 3, "i2i")
    assert sorted((t.stored for t in plan.tiles if t.stored), key=repr) == sorted(
        (t for growth in categories.values() for t in growth.tiles), key=repr
    )
    assert not any(t.is_copied or t.stored is None for t in plan.tiles)
    assert not any(plan.blocks.values())
    assert plan.balance <= EVEN


@pytest.mark.parametrize("workers", [1, 3, 64])
@pytest.mark.parametrize(("n", "more"), [(20_000, 1), (20_000, 1000), (20_000, 30_000), (1, 1), (1, 500), (300, 30)])
def test_new_objects_have_tiles_of_their_own(n: int, more: int, workers: int) -> None:
    plan = plan_tiles({"a": stored("a", n, more)}, workers, "i2i")
    new = [t for t in plan.tiles if t.stored is None]
    assert sum(t.pairs for t in new) == pairs(n + more) - pairs(n)
    edges = [n, *(b.stop for b in plan.blocks["a"])]
    assert edges == [*(b.start for b in plan.blocks["a"]), n + more]
    assert sorted((t.block for t in new), key=lambda b: (b.columns, b.rows)) == tiles_of("a", plan.blocks["a"])
    for tile in new:
        assert max(tile.block.shape) <= MAX_SIDE
    # as many as the new columns need, not as there are workers or blocks before
    widths = {b.stop - b.start for b in plan.blocks["a"]}
    assert min(widths) >= min(more, MIN_WIDTH // 2)
    if more <= MIN_WIDTH:
        assert len(new) == -(-n // MAX_SIDE) + (more > 1)
    if more == 30_000:
        assert plan.balance <= 1.1


def test_a_hundred_appends_add_ten_tiles_each() -> None:
    n, blocks = 20_000, square_blocks(20_000, MAX_SIDE)
    for _ in range(100):
        growth = Growth(np.arange(n + 10), n, [Tile(b, "", 0, 1, 0, "", "", 0) for b in tiles_of("a", blocks)])
        blocks += plan_tiles({"a": growth}, 8, "i2i").blocks["a"]
        n += 10
    assert len(tiles_of("a", blocks)) <= 55 + 100 * 12


def test_tiles_of_objects_that_are_gone_are_copied_and_cost_little() -> None:
    plan = plan_tiles({"a": stored("a", 100, 5, 25, emptied=(30, 31))}, 2, "i2i")
    copied = {t.block for t in plan.tiles if t.is_copied}
    assert copied == {t.block for t in plan.tiles if t.stored and (25, 50) in (t.block.rows, t.block.columns)}
    assert sum(t.pairs for t in plan.tiles) == pairs(103)
    assert sum(t.pairs for t in plan.tiles if t.stored is None) == pairs(103) - pairs(98)
    whole = TileBlock("a", (25, 50), (25, 50))
    tile = next(t for t in plan.tiles if t.block == whole)
    assert (tile.pairs, tile.objects) == (pairs(23), 23)


def test_a_worker_gets_tiles_of_the_same_rows_together() -> None:
    """A row of tiles is a run that is cut where a worker's share ends; the tiles on the diagonal are dealt apart."""
    plan = plan_tiles(fresh({"a": 40 * MAX_SIDE}), 8, "i2i")
    rows = [len({t.block.rows for t in own}) for own in plan.workers]
    assert sum(rows) <= 40 + 8 + 40


def test_the_plan_depends_on_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    categories = {"b": stored("b", 900, 40, 300, (5,)), "a": Growth.from_scratch(500), "c": stored("c", 3, 0)}
    plans = [plan_tiles(dict(order), 5, "i2l") for order in (categories.items(), reversed(categories.items()))]
    assert plans[0].workers == plans[1].workers
    monkeypatch.setattr(partition, "MAX_SIDE", 100)
    assert {b.cut for b in plan_tiles(categories, 5, "i2l").blocks["b"]} == {100}
    assert plan_tiles(categories, 5, "i2l").blocks["c"] == list[ColumnBlock]()
