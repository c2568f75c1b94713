"""A tile's file: what is written is what is read, to half a step, whatever the block; and damage is reported."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.store import objects
from captionless.store.tiles import Tile, TileBlock, check_tile, read_steps, write_tile

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
    tile = write_tile(url, block, sim, "i2l", "abc")
    steps = read_steps(url, tile)
    assert steps.dtype == np.uint16
    true = pairs(block, sim).astype(np.float64)
    assert len(steps) == block.pairs == len(true)
    assert (tile.low, tile.high) == (true.min(), true.max())
    assert np.abs(tile.low + tile.step * steps - true).max() <= (true.max() - true.min()) / 131_070 * (1 + 1e-9)
    check_tile(url, tile)
    assert Tile.of_entry(block.category, json.loads(json.dumps(tile.entry()))) == tile


def test_the_file_tells_what_it_is(tmp_path: Path) -> None:
    tile = write_tile(str(tmp_path), DIAGONAL, values(DIAGONAL), "i2l", "abc")
    raw = (tmp_path / "arm chair%2Fwith %25.40-40.sim").read_bytes()
    size = int.from_bytes(raw[8:16], "little")
    header = json.loads(raw[16 : 16 + size])
    assert (16 + size) % 64 == 0
    assert header == {
        "version": 2, "metric": "i2l", "holds": "similarity", "category": "arm chair/with %",
        "rows": [40, 70], "columns": [40, 70], "min": tile.low, "max": tile.high, "source": "abc",
    }  # fmt: skip
    assert len(raw) == tile.bytes == 16 + size + 30 * 29 + 32
    assert hashlib.sha256(raw[:-32]).digest() == raw[-32:]
    assert hashlib.sha256(raw).hexdigest() == tile.sha256


def test_equal_values_are_equal_bytes_and_a_constant_is_exact(tmp_path: Path) -> None:
    sim = np.full(BESIDE.shape, 0.75, np.float32)
    first = write_tile(str(tmp_path / "a"), BESIDE, sim, "i2i", "abc")
    assert write_tile(str(tmp_path / "b"), BESIDE, sim, "i2i", "abc") == first
    assert first.step == 0
    assert first.low == 0.75


def test_of_a_diagonal_tile_only_what_is_above_the_diagonal_is_read(tmp_path: Path) -> None:
    sim = values(DIAGONAL)
    first = write_tile(str(tmp_path), DIAGONAL, sim, "i2i", "abc")
    sim[np.tril_indices(len(sim))] = np.nan
    assert write_tile(str(tmp_path), DIAGONAL, sim, "i2i", "abc") == first


def test_what_cannot_be_stored(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'"arm chair/with %": .*\(2, 2\).*\(30, 30\)'):
        write_tile(str(tmp_path), DIAGONAL, np.ones((2, 2)), "i2i", "abc")
    names = [f"object-{i}" for i in range(1200)]
    for value in (np.nan, np.inf, -np.inf):
        for block, row, column in ((DIAGONAL, 7, 9), (BESIDE, 29, 1129)):
            sim = values(block)
            sim[row, column] = value
            named = f'"object-{40 + row}" and "object-{block.columns[0] + column}"'
            with pytest.raises(DataError, match=named):
                write_tile(str(tmp_path), block, sim, "i2i", "abc", names)
            with pytest.raises(DataError, match=rf"\b{40 + row} and {block.columns[0] + column}\b"):
                write_tile(str(tmp_path), block, sim, "i2i", "abc")
    assert list(tmp_path.iterdir()) == []


def test_damage_is_an_error(url: str) -> None:
    tile = write_tile(url, BESIDE, values(BESIDE), "i2i", "abc")
    target = objects.join(url, BESIDE.file)
    whole = objects.read_bytes(target)
    for wrong in (whole[:-10], whole[:40], b"", whole + b"x", b"x" * len(whole), whole[:16] + b"x" * (len(whole) - 16)):
        objects.write_bytes(target, wrong)
        with pytest.raises(DataError, match=r"40-70\.sim"):
            read_steps(url, tile)
        with pytest.raises(DataError, match="checksum"):
            check_tile(url, tile)
    flipped = bytearray(whole)
    flipped[-100] ^= 4
    objects.write_bytes(target, bytes(flipped))
    with pytest.raises(DataError, match="checksum"):
        check_tile(url, tile)
    if not objects.is_local(url):  # a local file is mapped, not read
        with pytest.raises(DataError, match="checksum"):
            read_steps(url, tile)
    later = write_tile(url, BESIDE, values(BESIDE, 1), "i2i", "abd")
    assert later.bytes == tile.bytes
    with pytest.raises(DataError, match=r"40-70\.sim"):
        read_steps(url, tile)
    objects.remove(target)
    for read in (read_steps, check_tile):
        with pytest.raises(DataError, match=r"40-70\.sim"):
            read(url, tile)


def test_a_header_longer_than_the_first_read(url: str) -> None:
    block = TileBlock("short", (0, 3), (0, 3))
    tile = write_tile(url, block, values(block), "i2i", "abc" * 2000)
    assert len(read_steps(url, tile)) == 3
