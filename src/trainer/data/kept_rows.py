"""Rows of objects that are kept in memory: of one process, or of all ranks of a node, and then also after they ended.

    0 .. 4096     the identity of what is kept (32 bytes), how many places were ever taken, how many of these are free
    4096 ..       (objects,) int32: 1 + the place of each object; 0: it is not kept
                  (room,) int32: the free places
                  an array of `room` rows for each layout

A place is taken before its rows are written, and an object is said to be there after they are: a killed process leaves
places that nobody has, which the first one to open the memory after it frees.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PAGE = 4096


class KeptRows:
    """Room for the rows of `room` of so many objects, for any number of threads and processes.

    layouts: shape and type of an object's row in each array. identity: 32 bytes that say what data the objects are.
    path: of the memory that is shared; None: it is this process's own, as it is where it cannot be opened.

    Attributes:
        arrays: (room, *shape) of each layout.
        places: (objects,) int32: 1 + the place of each object's rows in these; 0: they are not kept.
    """

    def __init__(
        self,
        objects: int,
        room: int,
        layouts: Sequence[tuple[tuple[int, ...], np.dtype[Any]]],
        identity: bytes,
        path: str | None = None,
    ) -> None:
        self.room, self._lock = room, Lock()
        ends = [_PAGE + 4 * (objects + room)]
        starts = []
        for shape, dtype in layouts:
            starts.append(-(-ends[-1] // _PAGE) * _PAGE)
            ends.append(starts[-1] + room * int(np.prod(shape)) * dtype.itemsize)
        self._file = self._opened(path) if room else -1
        about = identity + np.array([objects, room, ends[-1]], np.int64).tobytes()
        memory: Any
        if self._file >= 0:
            memory = self._joined(about, ends[-1])
        else:
            memory = mmap.mmap(-1, ends[-1])
        self._memory = memory
        self._counts = np.frombuffer(memory, np.int64, 2, 256)  # places ever taken, and how many of these are free
        self.places = np.frombuffer(memory, np.int32, objects, _PAGE)
        self._free = np.frombuffer(memory, np.int32, room, _PAGE + 4 * objects)
        self.arrays = [
            np.frombuffer(memory, dtype, room * int(np.prod(shape)), start).reshape(room, *shape)
            for (shape, dtype), start in zip(layouts, starts, strict=True)
        ]
        if self._file >= 0:
            self._recover()

    @property
    def used(self) -> int:
        """How many places are taken."""
        return int(self._counts[0] - self._counts[1])

    def take(self, wanted: int) -> NDArray[np.int64]:
        """Places for the rows of so many objects, or of fewer if there is no room for all."""
        with self._locked():
            ever, free = self._counts.tolist()
            again = min(wanted, free)
            new = min(wanted - again, self.room - ever)
            found = np.concatenate([self._free[free - again : free], np.arange(ever, ever + new)]).astype(np.int64)
            self._counts[:] = ever + new, free - again
            return found

    def keep(self, objects: NDArray[np.int64], places: NDArray[np.int64]) -> None:
        """The rows of these objects are written at these places, which were taken for them."""
        with self._locked():  # a barrier as well: rows come before what says where they are
            is_new = np.zeros(len(objects), bool)
            is_new[np.unique(objects, return_index=True)[1]] = True
            is_new &= self.places[objects] == 0  # else another has read the same meanwhile
            self.places[objects[is_new]] = places[is_new] + 1
            self._give_back(places[~is_new])

    def give_back(self, places: NDArray[np.int64]) -> None:
        """Nothing is kept at these places, which were taken."""
        with self._locked():
            self._give_back(places)

    def _give_back(self, places: NDArray[np.int64]) -> None:
        ever, free = self._counts.tolist()
        self._free[free : free + len(places)] = places
        self._counts[:] = ever, free + len(places)

    def _opened(self, path: str | None) -> int:
        with suppress(OSError):
            return -1 if path is None else os.open(path, os.O_RDWR | os.O_CLOEXEC)
        return -1

    def _joined(self, about: bytes, size: int) -> mmap.mmap:
        """The shared memory, made anew by the first process if it is of other data, as long as no other has it."""
        self._is_first = False
        with suppress(BlockingIOError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._is_first = True
            if os.pread(self._file, len(about), 0) != about:
                os.ftruncate(self._file, 0)
                os.ftruncate(self._file, size)
                os.pwrite(self._file, about, 0)
        if not self._is_first:
            fcntl.flock(self._file, fcntl.LOCK_SH)
        if os.pread(self._file, len(about), 0) != about:  # another training has it
            os.close(self._file)
            self._file = -1
            return mmap.mmap(-1, size)
        return mmap.mmap(self._file, size)

    def _recover(self) -> None:
        if self._is_first:
            ever = int(self._counts[0])
            lost = np.setdiff1d(np.arange(ever), self.places[self.places > 0] - 1)
            self._free[: len(lost)] = lost
            self._counts[1] = len(lost)
            fcntl.flock(self._file, fcntl.LOCK_SH)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:
            if self._file < 0:
                yield
                return
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLKW, _first_byte(fcntl.F_WRLCK))
            try:
                yield
            finally:
                fcntl.fcntl(self._file, fcntl.F_OFD_SETLKW, _first_byte(fcntl.F_UNLCK))


def _first_byte(kind: int) -> bytes:
    """A `struct flock`: a lock of the opened file's first byte, beside that which says who has the whole file open."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 1, 0)
