"""A tile of a similarity matrix as one file: what one worker makes at a time and a reader maps.

A category's n x n matrix is symmetric with a diagonal of 1, so its upper triangle is all there is to keep. It is cut
into blocks of `side` objects; a tile holds the pairs of a row block and a column block that is not before it. A tile
on the diagonal keeps its own upper triangle only, so that all tiles together hold every pair once.

Values are kept as 16-bit steps between the tile's least and greatest value. That costs at most half a step,
(max - min) / 131,070, a hundredth of what float16 would lose in the same bytes.

A tile's file, little-endian throughout:

    offset  bytes        what
    0       8            the magic number b"captsim2"
    8       8            H, the length of the header, uint64
    16      H            the header: JSON in UTF-8, padded with spaces so that 16 + H is a multiple of 64
    16 + H  2 per pair   the steps, row by row, uint16
    the end 32           sha256 of all bytes before it

The header holds `version` (2), `metric` ("i2i" or "i2l"), `holds` ("similarity": values are f(.) or g(.) of method's
equations 2 and 4, not the raw means), `category`, `rows` and `columns` (first and one past the last object of either
side, as the category's index lists them), `min`, `max` and `source` (digest of what the values were made from).
"""

from __future__ import annotations

import hashlib
import json
import math
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captionless.errors import DataError
from captionless.store import objects
from captionless.store.atomic_writes import open_write
from captionless.store.published import StoreFormat

Metric: TypeAlias = Literal["i2i", "i2l"]

VERSION = 2
FORMAT = StoreFormat("similarity", "the similarity stage", "similarity.json", VERSION)
STEPS = 65535
_MAGIC = b"captsim2"
_CHECKSUM = 32
_ALIGN = 64
_FIRST_READ = 4096  # bytes; holds the whole header but for very long names
_ROWS_AT_ONCE = 256  # quantised and written together


@dataclass(frozen=True)
class TileBlock:
    """Which pairs of a category a tile holds: the objects `rows` against the objects `columns`, both half-open ranges.

    Equal ranges are a tile on the diagonal, which holds its own upper triangle.
    """

    category: str
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Objects on either side."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    @property
    def diagonal(self) -> bool:
        return self.rows == self.columns

    @property
    def pairs(self) -> int:
        """How many pairs of different objects it holds."""
        height, width = self.shape
        return height * (height - 1) // 2 if self.diagonal else height * width

    @property
    def file(self) -> str:
        """The tile's file below the store's folder."""
        return f"{category_stem(self.category)}.{self.rows[0]}-{self.columns[0]}.sim"


@dataclass(frozen=True)
class Tile:
    """A stored tile: its block, the values that the steps 0 and 65535 stand for, and its file's size and checksum."""

    block: TileBlock
    low: float
    high: float
    bytes: int
    sha256: str
    source: str

    @property
    def step(self) -> float:
        """How far two neighbouring steps are apart."""
        return (self.high - self.low) / STEPS

    def entry(self) -> dict[str, Any]:
        """The tile as a JSON document, which `of_entry` reads."""
        return {
            "rows": list(self.block.rows),
            "columns": list(self.block.columns),
            "min": self.low,
            "max": self.high,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "source": self.source,
        }

    @classmethod
    def of_entry(cls, category: str, entry: Mapping[str, Any]) -> Tile:
        """The tile that `entry` describes; KeyError or TypeError when it is none."""
        (top, bottom), (left, right) = entry["rows"], entry["columns"]
        block = TileBlock(category, (int(top), int(bottom)), (int(left), int(right)))
        low, high = float(entry["min"]), float(entry["max"])
        return cls(block, low, high, int(entry["bytes"]), str(entry["sha256"]), str(entry["source"]))


def category_stem(category: str) -> str:
    """The beginning of a category's file names: its name, percent-encoded."""
    return urllib.parse.quote(category, safe=" ")


def write_tile(
    url: str, block: TileBlock, sim: ArrayLike, metric: Metric, source: str, names: Sequence[str] | None = None
) -> Tile:
    """Store a tile under the folder `url`; a reader sees the whole file or none.

    Args:
        url: the store's folder.
        sim: (rows, columns) similarity, finite; of a tile on the diagonal only what is above it is read.
        source: digest of what `sim` was made from.
        names: keys of all the category's objects, for error messages.

    Raises:
        DataError: another shape than the block's, or a value that is not finite.
    """
    matrix = np.asanyarray(sim)
    where = f'similarity of category "{block.category}"'
    if matrix.shape != block.shape:
        raise DataError(f"{where}: the tile has shape {matrix.shape}; expected {block.shape}")
    low, high = _span(block, matrix, where, names)
    header = json.dumps(
        {
            "version": VERSION,
            "metric": metric,
            "holds": "similarity",
            "category": block.category,
            "rows": block.rows,
            "columns": block.columns,
            "min": low,
            "max": high,
            "source": source,
        },
        ensure_ascii=False,
    ).encode()
    header += b" " * (-(16 + len(header)) % _ALIGN)
    checksum, size = hashlib.sha256(), 0
    with open_write(objects.join(url, block.file)) as file:
        for part in _parts(header, block, matrix, low, STEPS / (high - low) if high > low else 0.0):
            checksum.update(part)
            size += file.write(part)
        # of the whole file, with its own last bytes, as any tool prints it
        whole = checksum.copy()
        size += file.write(checksum.digest())
        whole.update(checksum.digest())
    return Tile(block, low, high, size, whole.hexdigest(), source)


def _values(block: TileBlock, matrix: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The pairs' values row by row, several rows at once where they are whole."""
    if block.diagonal:
        for i in range(len(matrix) - 1):
            yield matrix[i, i + 1 :]
    else:
        for i in range(0, len(matrix), _ROWS_AT_ONCE):
            yield matrix[i : i + _ROWS_AT_ONCE]


def _span(block: TileBlock, matrix: NDArray[Any], where: str, names: Sequence[str] | None) -> tuple[float, float]:
    """Least and greatest value; (1, 1) where there are no pairs."""
    low, high = math.inf, -math.inf
    for values in _values(block, matrix):
        least, greatest = float(values.min()), float(values.max())  # NaN if one is
        if not math.isfinite(least + greatest):
            raise DataError(f"{where}: the value of {_first_wrong(block, matrix, names)} is not finite")
        low, high = min(low, least), max(high, greatest)
    return (low, high) if block.pairs else (1.0, 1.0)


def _first_wrong(block: TileBlock, matrix: NDArray[Any], names: Sequence[str] | None) -> str:
    wrong = ~np.isfinite(matrix)
    i, j = np.argwhere(np.triu(wrong, 1) if block.diagonal else wrong)[0]
    first, second = block.rows[0] + int(i), block.columns[0] + int(j)
    return f'"{names[first]}" and "{names[second]}"' if names else f"objects {first} and {second}"


def _parts(header: bytes, block: TileBlock, matrix: NDArray[Any], low: float, scale: float) -> Iterator[bytes]:
    yield _MAGIC + len(header).to_bytes(8, "little") + header
    for values in _values(block, matrix):
        steps = (values.astype(np.float64) - low) * scale
        yield np.clip(np.rint(steps), 0, STEPS).astype("<u2").tobytes()


def read_steps(url: str, tile: Tile) -> NDArray[np.uint16]:
    """The steps of a tile under the folder `url`: mapped from a local file, read whole and checked from elsewhere.

    Raises:
        DataError: the file is missing, damaged or truncated, or not the one that `tile` describes.
    """
    target, pairs = objects.join(url, tile.block.file), tile.block.pairs
    try:
        if objects.is_local(target):
            path = objects.local_path(target)
            offset = _data_offset(target, objects.read_bytes(target, 0, _FIRST_READ), objects.size(target) or 0, tile)
            # the base class reads without the memory map's bookkeeping
            return np.memmap(path, "<u2", "r", offset, (pairs,)).view(np.ndarray) if pairs else _nothing()
        data = objects.read_bytes(target)
    except FileNotFoundError:
        raise FORMAT.missing(target) from None
    offset = _data_offset(target, data[:_FIRST_READ], len(data), tile)
    if hashlib.sha256(data).hexdigest() != tile.sha256:
        raise FORMAT.altered(target)
    return np.frombuffer(data, "<u2", pairs, offset)


def check_tile(url: str, tile: Tile) -> None:
    """DataError unless every byte of the stored tile is what was written."""
    target = objects.join(url, tile.block.file)
    try:
        if objects.sha256(target) != tile.sha256:
            raise FORMAT.altered(target)
    except FileNotFoundError:
        raise FORMAT.missing(target) from None


def _nothing() -> NDArray[np.uint16]:
    return np.frombuffer(b"", "<u2")


def _data_offset(target: str, start: bytes, size: int, tile: Tile) -> int:
    """Where the steps begin, after the header has been found to be the tile's."""
    if size != tile.bytes:
        raise FORMAT.damaged(target, f"{size:,} bytes, expected {tile.bytes:,}")
    if start[:8] != _MAGIC:
        raise FORMAT.damaged(target, "wrong magic number")
    offset = 16 + int.from_bytes(start[8:16], "little")
    if offset + 2 * tile.block.pairs + _CHECKSUM != size:
        raise FORMAT.damaged(target, "wrong header length")
    if offset > len(start):
        start = objects.read_bytes(target, 0, offset)
    try:
        header = json.loads(start[16:offset])
        found = Tile.of_entry(header["category"], {**header, "bytes": size, "sha256": tile.sha256})
    except (ValueError, KeyError, TypeError) as error:
        raise FORMAT.damaged(target, f"header: {error}") from error
    if found != tile:
        raise DataError(f"{target}: not the file that the store's index describes; rerun the similarity stage")
    return offset
