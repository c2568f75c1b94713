"""How the matrix of a category is cut into tiles, such that it can grow.

Every object of a category has a slot, its row and column, and keeps it. The columns are cut into blocks, and the tiles
of a block hold the pairs of its columns and all rows before them: strips of `cut` rows, and the block's own triangle.

    columns   0 ..... a  a ..... b  b c
    rows      +----------+----------+---+
    0 ... a   | triangle | strip    |   |    New objects get slots at the end, so they add blocks of columns and change
              +----------+----------+   |    no tile. A block that adds a few objects to thousands has strips of `cut`
    a ... b              | triangle |   |    rows, not a tile for each of the blocks before it.
              +----------+----------+---+

A block of a single object has no triangle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from captionless.errors import DataError
from captionless.store.tiles import TileBlock


@dataclass(frozen=True)
class ColumnBlock:
    """The columns [start, stop); the rows before them are cut into strips of `cut` rows, the last may have fewer."""

    start: int
    stop: int
    cut: int

    @property
    def strips(self) -> int:
        """How many tiles there are beside the triangle."""
        return -(-self.start // self.cut)

    def tiles(self, category: str) -> list[TileBlock]:
        """The block's tiles by row."""
        columns = (self.start, self.stop)
        rows = ((row, min(row + self.cut, self.start)) for row in range(0, self.start, self.cut))
        strips = [TileBlock(category, each, columns) for each in rows]
        return [*strips, TileBlock(category, columns, columns)] if self.stop - self.start > 1 else strips


def square_blocks(n: int, side: int) -> list[ColumnBlock]:
    """Blocks of `side` columns, whose strips have as many rows."""
    return [ColumnBlock(start, min(start + side, n), side if start else min(side, n)) for start in range(0, n, side)]


def layout_of(where: str, n: int, tiles: Sequence[TileBlock]) -> list[ColumnBlock]:
    """The blocks of the tiles, by column and row, of a category of n slots.

    Raises:
        DataError: the tiles do not make up the matrix; `where` begins the message.
    """
    found = [ColumnBlock(0, 1, 1)] if n and (not tiles or tiles[0].columns[0] == 1) else []
    for (start, stop), own in groupby(tiles, key=lambda tile: tile.columns):
        first = next(own).rows
        found.append(ColumnBlock(start, stop, first[1] - first[0] if start else stop))
    edges = [0, *(block.stop for block in found)]
    covered = [tile for block in found for tile in block.tiles("")]
    if (
        edges != [*(block.start for block in found), n]
        or any(block.stop <= block.start or block.cut < 1 for block in found)
        or [(t.rows, t.columns) for t in covered] != [(t.rows, t.columns) for t in tiles]
    ):
        raise DataError(f"{where} do not cover its matrix")
    return found


def tiles_of(category: str, blocks: Iterable[ColumnBlock]) -> list[TileBlock]:
    """The tiles of some blocks, block by block and by row."""
    return [tile for block in blocks for tile in block.tiles(category)]
