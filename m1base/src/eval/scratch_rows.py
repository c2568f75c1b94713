"""Rows of numbers that are too many to hold, in a file without a name, which is gone when nobody reads it any more.

They are read by `pread`, not mapped: mapped pages would count as this process' memory while they are cached, and the
system may drop what it has cached of a file.
"""

from __future__ import annotations

import errno
import os
import tempfile

import numpy as np
from numpy.typing import NDArray

from captionless.errors import Retryable


class ScratchRows:
    """(n, D) float64 numbers, written a block at a time and read by any thread.

    Raises:
        Retryable: the folder of temporary files is full.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._row = shape[1] * np.dtype(np.float64).itemsize
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, closed with these rows

    def write(self, start: int, rows: NDArray[np.float64]) -> None:
        """The rows from `start` on."""
        data = _bytes(np.ascontiguousarray(rows, np.float64))
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(self._file.fileno(), data[done:], start * self._row + done)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            folder = tempfile.gettempdir()
            raise Retryable(f"{folder}: no space left for {self.shape[0] * self._row:,} bytes; set TMPDIR") from error

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(self.shape[0])
            found = np.empty((max(0, stop - start), self.shape[1]))
            self._read(start, _bytes(found))
            return found[::step]
        found = np.empty((len(rows), self.shape[1]))
        for place, row in enumerate(np.asarray(rows).tolist()):
            self._read(row, _bytes(found[place]))
        return found

    def _read(self, start: int, into: memoryview) -> None:
        done = 0
        while done < len(into):
            count = os.preadv(self._file.fileno(), [into[done:]], start * self._row + done)
            if not count:
                raise EOFError(f"row {start + done // self._row} was not written")
            done += count


def _bytes(rows: NDArray[np.float64]) -> memoryview:
    return rows.reshape(-1).view(np.uint8).data
