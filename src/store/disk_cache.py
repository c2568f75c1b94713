"""Parts of stored files on this node's own disk, for all of its processes, so that they come from storage once.

A copy is a sparse file of blocks:

    <sha256 of the URL and the version>    the file's bytes as far as they are here, then a byte for each block: 1 if
                                           the block is here
    .used                                  how many bytes all copies take, for the limit
    .open                                  locked by every process that has the cache open

Blocks are written before they are marked, so that a killed process leaves a copy with less in it and nothing wrong.
Which blocks are here is said in the copy's own file: whoever has opened a copy can go on reading it while another
process removes it. What a copy holds is not checked here: readers verify what they read by the digests that they have,
and `forget` a copy that fails.

A file is copied as its parts are read, while there is room; or whole, `fetch`, and then those copies that were not used
for longest make room.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from captionless.store import ranged_reads
from captionless.store.ranged_reads import Target
from captionless.telemetry.progress import say

BLOCK = 16 << 10
"""Bytes that are read and kept together: little beside an object, and enough for a file system."""
_SPARE = 32  # part of the limit that is made free beyond what is needed: all copies are looked at for it
_IN_MEMORY = 2048  # blocks of a whole file that are read, and then written: 32 MB
_REQUEST = 512  # blocks that are asked for in one request: 8 MB


@dataclass(frozen=True)
class CopiedFile:
    """A stored file. version: says what is in it, with the URL. size: of what may be read of it, in bytes."""

    url: str
    version: str
    size: int

    @property
    def name(self) -> str:
        """Its copy's."""
        return hashlib.sha256(f"{self.url}\0{self.version}".encode()).hexdigest()

    @property
    def blocks(self) -> int:
        return -(-self.size // BLOCK)


class DiskCache:
    """Copies of at most `limit` bytes in a folder, for any number of threads and processes."""

    def __init__(self, folder: str, limit: int) -> None:
        os.makedirs(folder, 0o700, exist_ok=True)
        self.folder, self.limit = folder, limit
        self._used = os.open(os.path.join(folder, ".used"), os.O_RDWR | os.O_CREAT, 0o600)
        self._open = os.open(os.path.join(folder, ".open"), os.O_RDWR | os.O_CREAT, 0o600)
        self._lock = Lock()
        self._is_full = False  # the disk itself, whatever the limit
        with self._locked():
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._open, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._count(sum(taken for _, _, taken in self._copies()) - self.used)  # killed ones have left it wrong
            fcntl.flock(self._open, fcntl.LOCK_SH)

    def close(self) -> None:
        """Leave the copies to others."""
        os.close(self._used)
        os.close(self._open)

    @property
    def used(self) -> int:
        """Bytes that the copies take, or are about to."""
        return int.from_bytes(os.pread(self._used, 8, 0), "little")

    def read_into(self, file: CopiedFile, targets: Sequence[Target]) -> list[int]:
        """`ranged_reads.read_into` of a file, as far as possible from the copy, which gets what it does not have."""
        with self._opened(file) as copy:
            wanted = [_blocks(start, sum(map(len, memory)), file) for start, memory in targets]
            absent = ~_here(copy, file)
            missing = np.zeros_like(absent)
            for blocks in wanted:
                missing[blocks] = absent[blocks]
            if missing.any() and self._copied(copy, file, np.flatnonzero(missing), evict=False):
                absent[missing] = False
            counts, elsewhere = [0] * len(targets), list[int]()
            here = [at for at, blocks in enumerate(wanted) if blocks.stop <= file.blocks and not absent[blocks].any()]
            for at, count in zip(here, ranged_reads.read_open(copy, [targets[at] for at in here]), strict=True):
                counts[at] = count
            elsewhere = sorted(set(range(len(targets))) - set(here))
            if elsewhere:
                found = ranged_reads.read_into(file.url, [targets[at] for at in elsewhere])
                for at, count in zip(elsewhere, found, strict=True):
                    counts[at] = count
            return counts

    def fetch(self, file: CopiedFile) -> bool:
        """Copies a file whole, unless that has been done, by whichever process; whether it is here then. Others that
        want the same file wait."""
        with self._opened(file) as copy:
            if _here(copy, file).all():
                return True
            fcntl.flock(copy, fcntl.LOCK_EX)
            missing = np.flatnonzero(~_here(copy, file))
            parts = [missing[at : at + _IN_MEMORY] for at in range(0, len(missing), _IN_MEMORY)]
            return file.blocks * BLOCK <= self.limit and all(
                self._copied(copy, file, part, evict=True) for part in parts
            )

    def holds(self, file: CopiedFile) -> bool:
        """Whether the whole file is here."""
        path = os.path.join(self.folder, file.name)
        try:
            copy = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            here = os.pread(copy, file.blocks, file.blocks * BLOCK)
            return len(here) == file.blocks and all(here)
        finally:
            os.close(copy)

    def forget(self, file: CopiedFile) -> None:
        """Removes a copy, which has turned out to be damaged."""
        with self._locked():
            for name, _, taken in self._copies():
                if name == file.name:
                    self._remove(name, taken)

    @contextlib.contextmanager
    def _opened(self, file: CopiedFile) -> Iterator[int]:
        path, size = os.path.join(self.folder, file.name), file.blocks * (BLOCK + 1)
        copy = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(copy).st_size != size:
                os.ftruncate(copy, size)
            os.utime(copy)  # used now
            yield copy
        finally:
            os.close(copy)

    def _copied(self, copy: int, file: CopiedFile, missing: NDArray[np.int64], evict: bool) -> bool:
        """Copies blocks of a file; whether they are all in the copy now."""
        room = len(missing) * BLOCK
        if self._is_full or not self._reserve(room, file.name if evict else None):
            return False
        new = 0
        try:
            runs = [part for run in _runs(missing) for part in _parts(run)]
            spans = [(run.start * BLOCK, min(run.stop * BLOCK, file.size)) for run in runs]
            found = ranged_reads.read_ranges(file.url, spans)
            if any(len(data) != stop - start for data, (start, stop) in zip(found, spans, strict=True)):
                return False  # it is shorter than it should be: who reads it says so
            if not self._written(copy, found, spans):
                return False
            with self._locked():
                here = _here(copy, file)
                for run in runs:
                    os.pwrite(copy, b"\1" * len(run), file.blocks * BLOCK + run.start)
                if os.fstat(copy).st_nlink:  # else it was removed meanwhile, and is gone when it is closed
                    new = int(np.count_nonzero(~here[missing])) * BLOCK  # others may have copied the same
            return True
        finally:
            with self._locked():
                self._count(new - room)

    def _written(self, copy: int, found: Sequence[bytes], spans: Sequence[tuple[int, int]]) -> bool:
        """Whether there was room on the disk."""
        try:
            for data, (start, _) in zip(found, spans, strict=True):
                view = memoryview(data)
                while view:
                    count = os.pwrite(copy, view, start)
                    view, start = view[count:], start + count
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            self._is_full = True
            say(
                f"{self.folder}: the disk is full at {self.used:,} of {self.limit:,} bytes (resources.dataDisk); "
                "the rest is read from storage every time"
            )
            return False
        return True

    def _reserve(self, room: int, evicting: str | None) -> bool:
        """Counts so many bytes more, if they may be; `evicting`: for this copy others may be removed."""
        with self._locked():
            over = self.used + room - self.limit
            if over > 0 and evicting is not None and room <= self.limit:
                spare = over + self.limit // _SPARE
                for name, _, taken in sorted(self._copies(), key=lambda copy: copy[1]):
                    if spare <= 0:
                        break
                    if name != evicting:
                        self._remove(name, taken)
                        over, spare = over - taken, spare - taken
            if over > 0:
                return False
            self._count(room)
            return True

    def _copies(self) -> list[tuple[str, int, int]]:
        """Name, time of last use, and bytes taken of every copy."""
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    about = entry.stat()
                    found.append((entry.name, about.st_mtime_ns, self._taken(entry.path, about.st_size)))
        return found

    def _taken(self, path: str, size: int) -> int:
        blocks = size // (BLOCK + 1)
        with open(path, "rb") as copy:
            return os.pread(copy.fileno(), blocks, blocks * BLOCK).count(1) * BLOCK

    def _remove(self, name: str, taken: int) -> None:
        os.unlink(os.path.join(self.folder, name))
        self._count(-taken)

    def _count(self, more: int) -> None:
        os.pwrite(self._used, max(0, self.used + more).to_bytes(8, "little"), 0)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:
            fcntl.flock(self._used, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._used, fcntl.LOCK_UN)


def _blocks(start: int, length: int, file: CopiedFile) -> slice:
    """The blocks of a span; beyond the file's where the span is."""
    stop = start + length
    return slice(start // BLOCK, -(-stop // BLOCK) if stop <= file.size else file.blocks + 1)


def _here(copy: int, file: CopiedFile) -> NDArray[np.bool_]:
    """(blocks,): which are in the copy."""
    return np.frombuffer(os.pread(copy, file.blocks, file.blocks * BLOCK), np.bool_)


def _runs(blocks: NDArray[np.int64]) -> Iterator[range]:
    """Ascending numbers as ranges."""
    for run in np.split(blocks, np.flatnonzero(np.diff(blocks) != 1) + 1):
        yield range(int(run[0]), int(run[-1]) + 1)


def _parts(run: range) -> Iterator[range]:
    """A range in parts of a request."""
    for start in range(run.start, run.stop, _REQUEST):
        yield range(start, min(start + _REQUEST, run.stop))
