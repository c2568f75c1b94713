"""A tile of a similarity matrix as one file: what one worker makes at a time and a reader maps.

A category's n x n matrix is symmetric with a diagonal of 1, so its upper triangle is all there is to keep. It is cut
into tiles (see `tile_layout`), which hold the pairs of some rows and some columns that are not before them. A tile on
the diagonal keeps its own upper triangle only, so that all tiles together hold every pair once.

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
side, as the store's index lists them), `min`, `max` and `source` (digest of what the values were made from).

Objects that are not there any more have the step 0 in all their pairs: `copy_without` rewrites a tile so, and copies
all other steps as they are, since a value that was encoded again and again would drift.

A file's name begins like `<category>.<row>-<column>` and ends in 8 digits of the `source`: other values have another
file, and a worker that comes late cannot overwrite a newer one.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captionless.errors import DataError
from captionless.store import objects, ranged_reads
from captionless.store.atomic_writes import open_write
from captionless.store.disk_cache import CopiedFile, DiskCache
from captionless.store.file_names import file_stem
from captionless.store.published import StoreFormat

Metric: TypeAlias = Literal["i2i", "i2l"]
Live: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Of a block the rows and the columns, counted from its first ones, whose objects are there."""
Span: TypeAlias = tuple[int, int, int]
"""A row of a tile and its columns [start, stop), all counted from the block's first ones."""

FORMAT = StoreFormat("similarity", "the similarity stage", "similarity.json", 3, earlier=(2,))
SUFFIX = ".sim"
STEPS = 65535
_VERSION = 2  # of the tiles' own format, which is also an earlier store's
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
        """How many pairs of different objects it has room for."""
        height, width = self.shape
        return height * (height - 1) // 2 if self.diagonal else height * width

    @property
    def name(self) -> str:
        """The beginning of the tile's file name, and the name of its work item."""
        return f"{file_stem(self.category)}.{self.rows[0]}-{self.columns[0]}"

    def file(self, source: str) -> str:
        """The file below the store's folder of the tile whose values are made from `source`, a digest in hex."""
        return f"{self.name}-{source[:8]}{SUFFIX}"


@dataclass(frozen=True)
class Tile:
    """A stored tile: its block and file, the values that the steps 0 and 65535 stand for, the file's size and checksum,
    what it was made from, and the sum of its steps, None if it is not known."""

    block: TileBlock
    file: str
    low: float
    high: float
    bytes: int
    sha256: str
    source: str
    total: int | None

    @property
    def step(self) -> float:
        """How far two neighbouring steps are apart."""
        return (self.high - self.low) / STEPS

    @property
    def offset(self) -> int:
        """Where in the file the steps begin."""
        return self.bytes - _CHECKSUM - 2 * self.block.pairs

    def entry(self) -> dict[str, Any]:
        """The tile as a JSON document, which `of_entry` reads."""
        return {
            "rows": list(self.block.rows),
            "columns": list(self.block.columns),
            "file": self.file,
            "min": self.low,
            "max": self.high,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "source": self.source,
            "total": self.total,
        }

    @classmethod
    def of_entry(cls, category: str, entry: Mapping[str, Any], file: str | None = None) -> Tile:
        """The tile that `entry` describes, whose file is `file` if it does not say; KeyError or TypeError when it is
        none."""
        (top, bottom), (left, right) = entry["rows"], entry["columns"]
        total = entry.get("total")
        return cls(
            TileBlock(category, (int(top), int(bottom)), (int(left), int(right))),
            str(entry.get("file", file)),
            float(entry["min"]),
            float(entry["max"]),
            int(entry["bytes"]),
            str(entry["sha256"]),
            str(entry["source"]),
            None if total is None else int(total),
        )


def write_tile(
    url: str,
    block: TileBlock,
    sim: ArrayLike,
    metric: Metric,
    source: str,
    name: Callable[[int], str] | None = None,
    live: Live | None = None,
) -> Tile:
    """Store a tile under the folder `url`; a reader sees the whole file or none.

    Args:
        url: the store's folder.
        sim: (rows, columns) similarity, finite; of a tile on the diagonal only what is above it is read.
        source: digest of what `sim` was made from, in hex.
        name: the key of the object in a row of the category's matrix, for error messages.
        live: if some objects of the block are not there any more, those that `sim` has.

    Raises:
        DataError: another shape than the block's, or a value that is not finite.
    """
    matrix = np.asanyarray(sim)
    where = f'similarity of category "{block.category}"'
    expected = block.shape if live is None else (len(live[0]), len(live[1]))
    if matrix.shape != expected:
        raise DataError(f"{where}: the tile has shape {matrix.shape}; expected {expected}")
    low, high = _span(block, matrix, where, name, live)
    if live is not None:
        some, matrix = matrix, np.full(block.shape, low)  # which is stored as step 0
        matrix[np.ix_(*live)] = some
    header = {
        "version": _VERSION,
        "metric": metric,
        "holds": "similarity",
        "category": block.category,
        "rows": block.rows,
        "columns": block.columns,
        "min": low,
        "max": high,
        "source": source,
    }
    return _write(url, block, header, _steps(block, matrix, low, STEPS / (high - low) if high > low else 0.0))


def copy_without(url: str, tile: Tile, dead: Live, source: str) -> Tile:
    """Store a copy of a tile in which the pairs of some objects have the step 0, and all others the step that they had.

    dead: the rows and columns of the block, counted from its first ones, whose objects are not there any more. source:
    digest of what the copy is made from, in hex.

    Raises:
        DataError: the tile is missing or damaged.
    """
    header, steps = _read(url, tile)
    kept = steps.copy()
    rows, columns = dead
    height, width = tile.block.shape
    if tile.block.diagonal:
        first, second = np.triu_indices(height, 1)
        gone = np.zeros(height, bool)
        gone[rows] = True
        kept[gone[first] | gone[second]] = 0
    else:
        table = kept.reshape(height, width)
        table[rows] = 0
        table[:, columns] = 0
    return _write(url, tile.block, {**header, "source": source}, [kept])


def read_steps(url: str, tile: Tile, disk: DiskCache | None = None) -> NDArray[np.uint16]:
    """The steps of a tile under the folder `url`: mapped from a local file, read whole and checked from elsewhere, by
    way of a copy on `disk`.

    Raises:
        DataError: the file is missing, damaged or truncated, or not the one that `tile` describes.
    """
    target, pairs = objects.join(url, tile.file), tile.block.pairs
    if not objects.is_local(target):
        return _read(url, tile, disk)[1]
    try:
        _check_header(target, objects.read_bytes(target, 0, _FIRST_READ), objects.size(target) or 0, tile)
        if not pairs:
            return NO_STEPS
        # the base class reads without the memory map's bookkeeping
        return np.memmap(objects.local_path(target), "<u2", "r", tile.offset, (pairs,)).view(np.ndarray)
    except FileNotFoundError:
        raise FORMAT.missing(target) from None


def read_rows(url: str, tile: Tile, spans: Iterable[Span], disk: DiskCache | None = None) -> list[NDArray[np.uint16]]:
    """The steps of some spans of a tile by ranged reads, which cannot be compared with the file's checksum, and by way
    of a copy on `disk`, if that has room.

    Raises:
        DataError: the file is missing or truncated.
    """
    target, width = objects.join(url, tile.file), tile.block.shape[1]
    ranges = []
    for row, start, stop in spans:
        before = row * (2 * width - row - 1) // 2 - row - 1 if tile.block.diagonal else row * width
        ranges.append((tile.offset + 2 * (before + start), tile.offset + 2 * (before + stop)))
    try:
        found = ranged_reads.read_ranges(target, ranges) if disk is None else _copied(target, tile, ranges, disk)
    except FileNotFoundError:
        raise FORMAT.missing(target) from None
    if any(len(data) != stop - start for data, (start, stop) in zip(found, ranges, strict=True)):
        raise FORMAT.damaged(target, f"it ends before its {tile.bytes:,} bytes")
    return [np.frombuffer(data, "<u2") for data in found]


def _copied(target: str, tile: Tile, ranges: Iterable[tuple[int, int]], disk: DiskCache) -> list[bytes]:
    """`ranged_reads.read_ranges` of a tile's copy."""
    rooms = [(start, bytearray(stop - start)) for start, stop in ranges]
    file = CopiedFile(target, tile.sha256, tile.bytes)
    counts = disk.read_into(file, [(start, [memoryview(room)]) for start, room in rooms])
    return [bytes(room[:count]) for (_, room), count in zip(rooms, counts, strict=True)]


def check_tile(url: str, tile: Tile) -> int:
    """The sum of a stored tile's steps. DataError unless every byte of it is what was written."""
    return int(_read(url, tile)[1].sum(dtype=np.int64))


NO_STEPS: NDArray[np.uint16] = np.frombuffer(b"", "<u2")


def _values(block: TileBlock, matrix: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The pairs' values row by row, several rows at once where they are whole."""
    if block.diagonal:
        for i in range(len(matrix) - 1):
            yield matrix[i, i + 1 :]
    else:
        for i in range(0, len(matrix), _ROWS_AT_ONCE):
            yield matrix[i : i + _ROWS_AT_ONCE]


def _span(
    block: TileBlock, matrix: NDArray[Any], where: str, name: Callable[[int], str] | None, live: Live | None
) -> tuple[float, float]:
    """Least and greatest value; (1, 1) where there are no pairs."""
    low, high = math.inf, -math.inf
    for values in _values(block, matrix):
        if values.size:
            least, greatest = float(values.min()), float(values.max())  # NaN if one is
            if not math.isfinite(least + greatest):
                raise DataError(f"{where}: the value of {_first_wrong(block, matrix, name, live)} is not finite")
            low, high = min(low, least), max(high, greatest)
    return (low, high) if low <= high else (1.0, 1.0)


def _first_wrong(block: TileBlock, matrix: NDArray[Any], name: Callable[[int], str] | None, live: Live | None) -> str:
    wrong = ~np.isfinite(matrix)
    i, j = (int(place) for place in np.argwhere(np.triu(wrong, 1) if block.diagonal else wrong)[0])
    if live is not None:
        i, j = int(live[0][i]), int(live[1][j])
    first, second = block.rows[0] + i, block.columns[0] + j
    return f'"{name(first)}" and "{name(second)}"' if name else f"objects {first} and {second}"


def _steps(block: TileBlock, matrix: NDArray[Any], low: float, scale: float) -> Iterator[NDArray[np.uint16]]:
    for values in _values(block, matrix):
        steps = (values.astype(np.float64) - low) * scale
        yield np.clip(np.rint(steps), 0, STEPS).astype("<u2")


def _write(url: str, block: TileBlock, header: Mapping[str, Any], steps: Iterable[NDArray[np.uint16]]) -> Tile:
    """Store a tile of this header and these steps, in pieces."""
    text = json.dumps(header, ensure_ascii=False).encode("utf-8", "surrogatepass")
    text += b" " * (-(16 + len(text)) % _ALIGN)
    checksum, size, total = hashlib.sha256(), 0, 0
    file_name = block.file(header["source"])
    with open_write(objects.join(url, file_name)) as file:

        def put(data: bytes) -> None:
            nonlocal size
            checksum.update(data)
            size += file.write(data)

        put(_MAGIC + len(text).to_bytes(8, "little") + text)
        for piece in steps:
            total += int(piece.sum(dtype=np.int64))
            put(piece.tobytes())
        # of the whole file, with its own last bytes, as any tool prints it
        whole = checksum.copy()
        size += file.write(checksum.digest())
        whole.update(checksum.digest())
    return Tile(block, file_name, header["min"], header["max"], size, whole.hexdigest(), header["source"], total)


def _read(url: str, tile: Tile, disk: DiskCache | None = None) -> tuple[dict[str, Any], NDArray[np.uint16]]:
    """Header and steps of a stored tile, all of whose bytes are those that were written; of a copy if it is whole."""
    target = objects.join(url, tile.file)
    copy = CopiedFile(target, tile.sha256, tile.bytes)
    try:
        data = _copied(target, tile, [(0, tile.bytes)], disk)[0] if disk is not None and disk.fetch(copy) else b""
        if hashlib.sha256(data).hexdigest() != tile.sha256:
            if disk is not None and data:
                disk.forget(copy)
            data = objects.read_bytes(target)
    except FileNotFoundError:
        raise FORMAT.missing(target) from None
    header = _check_header(target, data[:_FIRST_READ], len(data), tile)
    if hashlib.sha256(data).hexdigest() != tile.sha256:
        raise FORMAT.altered(target)
    return header, np.frombuffer(data, "<u2", tile.block.pairs, tile.offset)


def _check_header(target: str, start: bytes, size: int, tile: Tile) -> dict[str, Any]:
    """The header of a stored tile, of which the first bytes were read; DataError unless it is `tile`'s."""
    if size != tile.bytes:
        raise FORMAT.damaged(target, f"{size:,} bytes, expected {tile.bytes:,}")
    if start[:8] != _MAGIC:
        raise FORMAT.damaged(target, "wrong magic number")
    if 16 + int.from_bytes(start[8:16], "little") != tile.offset:
        raise FORMAT.damaged(target, "wrong header length")
    if tile.offset > len(start):
        start = objects.read_bytes(target, 0, tile.offset)
    try:
        header: dict[str, Any] = json.loads(start[16 : tile.offset].decode("utf-8", "surrogatepass"))
        rest = {"file": tile.file, "bytes": size, "sha256": tile.sha256, "total": tile.total}
        found = Tile.of_entry(header["category"], {**header, **rest})
    except (ValueError, KeyError, TypeError) as error:
        raise FORMAT.damaged(target, f"header: {error}") from error
    if found != tile:
        raise DataError(f"{target}: not the file that the store's index describes; rerun the similarity stage")
    return header
