"""A tile's file: what is written is what is read, to half a step, whatever the block; and damage is reported."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.store import objects
from captionless.store.tiles import Tile, TileBlock, check_tile, copy_without, read_rows, read_steps, write_tile

SOURCE, OTHER = "abcdef0123456789", "fedcba0123456789"
DIAGONAL = TileBlock("arm chair/with %", (40, 70), (40, 70))
BESIDE = TileBlock("arm chair/with %", (40, 70), (70, 1200))


def values(block: TileBlock, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.55, 0.93, block.shape).astype(np.float32)


def pairs(block: TileBlock, sim: np.ndarray) -> np.ndarray:
    return sim[np.triu_indices(len(sim), 1)] if block.diagonal else sim.ravel()


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}://{tmp_path}/store"


@pytest.mark.parametrize(
    "block",
    [DIAGONAL, BESIDE, TileBlock("a", (0, 1), (1, 2)), TileBlock("a", (3, 5), (3, 5))],
    ids=["diagonal", "off diagonal", "one pair", "small diagonal"],
)
def test_half_a_step_is_all_that_storing_costs(url: str, block: TileBlock) -> None:
    sim = values(block)
    tile = write_tile(url, block, sim, "i2l", SOURCE)
    steps = read_steps(url, tile)
    assert steps.dtype == np.uint16
    true = pairs(block, sim).astype(np.float64)
    assert len(steps) == block.pairs == len(true)
    assert (tile.low, tile.high) == (true.min(), true.max())
    assert np.abs(tile.low + tile.step * steps - true).max() <= (true.max() - true.min()) / 131_070 * (1 + 1e-9)
    assert check_tile(url, tile) == tile.total == steps.sum(dtype=int)
    assert Tile.of_entry(block.category, json.loads(json.dumps(tile.entry()))) == tile


def test_the_file_tells_what_it_is(tmp_path: Path) -> None:
    tile = write_tile(str(tmp_path), DIAGONAL, values(DIAGONAL), "i2l", SOURCE)
    raw = (tmp_path / tile.file).read_bytes()
    assert re.fullmatch(r"arm-chair-with-[0-9a-f]{16}\.40-40-abcdef01\.sim", tile.file)
    size = int.from_bytes(raw[8:16], "little")
    assert tile.offset == 16 + size
    header = json.loads(raw[16 : 16 + size])
    assert (16 + size) % 64 == 0
    assert header == {
        "version": 2, "metric": "i2l", "holds": "similarity", "category": "arm chair/with %",
        "rows": [40, 70], "columns": [40, 70], "min": tile.low, "max": tile.high, "source": SOURCE,
    }  # fmt: skip
    assert len(raw) == tile.bytes == 16 + size + 30 * 29 + 32
    assert hashlib.sha256(raw[:-32]).digest() == raw[-32:]
    assert hashlib.sha256(raw).hexdigest() == tile.sha256


def test_equal_values_are_equal_bytes_and_a_constant_is_exact(tmp_path: Path) -> None:
    sim = np.full(BESIDE.shape, 0.75, np.float32)
    first = write_tile(str(tmp_path / "a"), BESIDE, sim, "i2i", SOURCE)
    assert write_tile(str(tmp_path / "b"), BESIDE, sim, "i2i", SOURCE) == first
    assert first.step == 0
    assert first.low == 0.75


def test_of_a_diagonal_tile_only_what_is_above_the_diagonal_is_read(tmp_path: Path) -> None:
    sim = values(DIAGONAL)
    first = write_tile(str(tmp_path), DIAGONAL, sim, "i2i", SOURCE)
    sim[np.tril_indices(len(sim))] = np.nan
    assert write_tile(str(tmp_path), DIAGONAL, sim, "i2i", SOURCE) == first


def test_what_cannot_be_stored(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'"arm chair/with %": .*\(2, 2\).*\(30, 30\)'):
        write_tile(str(tmp_path), DIAGONAL, np.ones((2, 2)), "i2i", SOURCE)
    names = [f"object-{i}" for i in range(1200)]
    for value in (np.nan, np.inf, -np.inf):
        for block, row, column in ((DIAGONAL, 7, 9), (BESIDE, 29, 1129)):
            sim = values(block)
            sim[row, column] = value
            named = f'"object-{40 + row}" and "object-{block.columns[0] + column}"'
            with pytest.raises(DataError, match=named):
                write_tile(str(tmp_path), block, sim, "i2i", SOURCE, names.__getitem__)
            with pytest.raises(DataError, match=rf"\b{40 + row} and {block.columns[0] + column}\b"):
                write_tile(str(tmp_path), block, sim, "i2i", SOURCE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("block", [DIAGONAL, BESIDE], ids=["diagonal", "off diagonal"])
def test_objects_that_are_gone_have_the_step_0_and_all_others_keep_theirs(url: str, block: TileBlock) -> None:
    sim = values(block)
    whole = write_tile(url, block, sim, "i2l", SOURCE)
    rows = np.array([0, 3, 29])
    columns = rows if block.diagonal else np.array([7, 1129])
    gone = np.zeros(block.shape, bool)
    gone[rows] = gone[:, columns] = True
    without = copy_without(url, whole, (rows, columns), OTHER)
    assert (without.low, without.high, without.source) == (whole.low, whole.high, OTHER)
    before, after = read_steps(url, whole), read_steps(url, without)
    np.testing.assert_array_equal(after, np.where(pairs(block, gone), 0, before))
    assert check_tile(url, without) == without.total == after.sum(dtype=int)
    # a tile that never had them spans the others' values only
    live = tuple(np.delete(np.arange(n), dead) for n, dead in zip(block.shape, (rows, columns), strict=True))
    made = write_tile(url, block, sim[np.ix_(*live)], "i2l", "0" * 16, live=live)
    there = sim[np.ix_(*live)]
    there = there[np.triu_indices(len(there), 1)] if block.diagonal else there
    assert (made.low, made.high) == (there.min(), there.max())
    found = made.low + made.step * read_steps(url, made)
    true = np.where(pairs(block, gone), made.low, pairs(block, sim))
    assert np.abs(found - true).max() <= made.step / 2 * (1 + 1e-9)
    nothing = (np.zeros(0, np.int64), live[1]) if not block.diagonal else (np.zeros(0, np.int64),) * 2
    empty = write_tile(url, block, np.zeros([len(n) for n in nothing]), "i2l", "1" * 16, live=nothing)
    assert not read_steps(url, empty).any()


@pytest.mark.parametrize("block", [DIAGONAL, BESIDE], ids=["diagonal", "off diagonal"])
def test_single_rows(url: str, block: TileBlock) -> None:
    tile = write_tile(url, block, values(block), "i2l", SOURCE)
    table = np.zeros(block.shape, np.uint16)
    table[np.triu(np.ones(block.shape, bool), 1) if block.diagonal else np.ones(block.shape, bool)] = read_steps(
        url, tile
    )
    spans = [(0, 1, 30), (3, 10, 11), (28, 29, 30)] if block.diagonal else [(0, 0, 1130), (29, 5, 6), (3, 1100, 1130)]
    for (row, start, stop), found in zip(spans, read_rows(url, tile, spans), strict=True):
        np.testing.assert_array_equal(found, table[row, start:stop])
    objects.write_bytes(objects.join(url, tile.file), objects.read_bytes(objects.join(url, tile.file))[:-100])
    with pytest.raises(DataError, match=r"\.sim"):
        read_rows(url, tile, [(28, 29, 30) if block.diagonal else (29, 0, 1130)])
    objects.remove(objects.join(url, tile.file))
    with pytest.raises(DataError, match=r"\.sim"):
        read_rows(url, tile, [(0, 1, 2)])


def test_damage_is_an_error(url: str) -> None:
    tile = write_tile(url, BESIDE, values(BESIDE), "i2i", SOURCE)
    target = objects.join(url, tile.file)
    whole = objects.read_bytes(target)
    for wrong in (whole[:-10], whole[:40], b"", whole + b"x", b"x" * len(whole), whole[:16] + b"x" * (len(whole) - 16)):
        objects.write_bytes(target, wrong)
        with pytest.raises(DataError, match=r"40-70-abcdef01\.sim"):
            read_steps(url, tile)
        with pytest.raises(DataError, match=r"40-70-abcdef01\.sim"):
            check_tile(url, tile)
    flipped = bytearray(whole)
    flipped[-100] ^= 4
    objects.write_bytes(target, bytes(flipped))
    with pytest.raises(DataError, match="checksum"):
        check_tile(url, tile)
    if not objects.is_local(url):  # a local file is mapped, not read
        with pytest.raises(DataError, match="checksum"):
            read_steps(url, tile)
    later = write_tile(url, BESIDE, values(BESIDE, 1), "i2i", SOURCE)  # of the same name
    assert later.bytes == tile.bytes
    with pytest.raises(DataError, match=r"40-70-abcdef01\.sim"):
        read_steps(url, tile)
    objects.remove(target)
    for read in (read_steps, check_tile):
        with pytest.raises(DataError, match=r"40-70-abcdef01\.sim"):
            read(url, tile)


def test_a_header_longer_than_the_first_read(url: str) -> None:
    block = TileBlock("short", (0, 3), (0, 3))
    tile = write_tile(url, block, values(block), "i2i", SOURCE * 400)
    assert len(read_steps(url, tile)) == 3
