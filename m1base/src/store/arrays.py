"""An array as an object of its own, a `.npy` file: written in pieces, and read by the rows that are wanted."""

from __future__ import annotations

import io
import math
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.store import objects
from captionless.store.atomic_writes import open_write
from captionless.store.hashing_file import HashingFile

_PIECE = 16 << 20  # bytes written together
_HEADER = 4096  # bytes; numpy's are shorter


def write_array(url: str, array: NDArray[Any]) -> str:
    """Stores an array without a second copy of it in memory; the sha256 (hex) of the file."""
    held = np.ascontiguousarray(array)
    data = held.reshape(-1).view(np.uint8)
    with open_write(url) as raw:
        file = HashingFile(raw)
        for piece in chain([_header(held)], (data[at : at + _PIECE].tobytes() for at in range(0, len(data), _PIECE))):
            file.write(piece)
    return file.hash.hexdigest()


class StoredArray:
    """A stored array of two axes or more, opened by reading its header.

    DataError, which names it, when it is missing, damaged or truncated.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            start = objects.read_bytes(url, 0, _HEADER)
        except FileNotFoundError:
            raise DataError(f"{url}: missing; rerun the stage that writes it") from None
        try:
            self.shape, self.dtype, self._offset = _read_header(start)
        except ValueError as error:
            raise DataError(f"{url}: not a .npy array of rows ({error}); delete it and rerun") from error
        self._row = math.prod(self.shape[1:]) * self.dtype.itemsize

    def __len__(self) -> int:
        return int(self.shape[0])

    def read(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """The rows [start, stop), all by default."""
        first, last, _ = slice(start, stop).indices(len(self))
        found = np.empty((last - first, *self.shape[1:]), self.dtype)
        into, piece = found.reshape(-1).view(np.uint8), max(1, _PIECE // self._row) * self._row
        for at in range(0, into.size, piece):
            wanted = into[at : at + piece]
            begin = self._offset + first * self._row + at
            data = objects.read_bytes(self.url, begin, begin + wanted.size)
            if len(data) != wanted.size:
                raise DataError(f"{self.url}: truncated; delete it and rerun the stage that writes it")
            wanted[:] = np.frombuffer(data, np.uint8)
        return found


def _header(array: NDArray[Any]) -> bytes:
    """The bytes that precede the array's in its file."""
    sink = io.BytesIO()
    np.lib.format.write_array_header_1_0(sink, np.lib.format.header_data_from_array_1_0(array))
    return sink.getvalue()


def _read_header(start: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type and where the rows begin, by a file's first bytes. ValueError when they are not of such a file."""
    file = io.BytesIO(start)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an unknown version")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if fortran or dtype.hasobject or len(shape) < 2:
        raise ValueError(f"shape {shape} of {dtype}, Fortran order: {fortran}")
    return shape, dtype, file.tell()
