"""Cutting a matrix that grows: every pair in one tile, and few tiles for what is added."""

from __future__ import annotations

import random

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.store.tile_layout import ColumnBlock, layout_of, square_blocks, tiles_of
from captionless.store.tiles import TileBlock


def grown(seed: int) -> list[ColumnBlock]:
    drawn, blocks, n = random.Random(seed), list[ColumnBlock](), 0
    for _ in range(drawn.randint(1, 8)):
        more = drawn.choice([1, 1, 2, 5, 30])
        blocks.append(ColumnBlock(n, n + more, drawn.randint(1, 20) if n else more))
        n += more
    return blocks


@pytest.mark.parametrize("seed", range(30))
def test_every_pair_is_in_one_tile(seed: int) -> None:
    blocks = grown(seed)
    n = blocks[-1].stop
    count = np.zeros((n, n), int)
    tiles = tiles_of("a", blocks)
    for tile in tiles:
        part = count[slice(*tile.rows), slice(*tile.columns)]
        part += np.triu(np.ones_like(part), 1) if tile.diagonal else 1
        assert tile.pairs > 0
    np.testing.assert_array_equal(count, np.triu(np.ones((n, n), int), 1))
    assert sum(block.strips + (block.stop - block.start > 1) for block in blocks) == len(tiles)
    found = layout_of("", n, tiles)
    assert [(b.start, b.stop) for b in found] == [(b.start, b.stop) for b in blocks]
    assert tiles_of("a", found) == tiles


@pytest.mark.parametrize("n", [0, 1, 2, 39, 40, 41])
def test_square_blocks(n: int) -> None:
    blocks = square_blocks(n, 20)
    assert [b.stop - b.start for b in blocks] == [min(20, n - a) for a in range(0, n, 20)]
    assert layout_of("", n, tiles_of("a", blocks)) == blocks


def test_a_hundred_appends_to_twenty_thousand_objects_add_a_thousand_tiles() -> None:
    blocks = square_blocks(20_000, 2048)
    before = len(tiles_of("a", blocks))
    for append in range(100):
        start = 20_000 + 10 * append
        blocks.append(ColumnBlock(start, start + 10, 2048))
    assert len(tiles_of("a", blocks)) - before == sum(-(-(20_000 + 10 * a) // 2048) + 1 for a in range(100)) <= 1200


@pytest.mark.parametrize("seed", range(10))
def test_tiles_that_do_not_make_up_the_matrix_are_refused(seed: int) -> None:
    blocks = grown(seed)
    tiles = tiles_of("a", blocks)
    n = blocks[-1].stop
    wrong = [tiles[:i] + tiles[i + 1 :] for i in range(len(tiles))] + [[*tiles, TileBlock("a", (0, 1), (n, n + 1))]]
    wrong += [[*tiles, tiles[-1]]] if tiles else []
    for some in wrong:
        with pytest.raises(DataError, match="do not cover"):
            layout_of("", n, some)
    for other in (n + 1, n - 1) if n > 2 else ():
        with pytest.raises(DataError, match="do not cover"):
            layout_of("", other, tiles)
