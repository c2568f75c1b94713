"""Ranged reads: many spans of an object at once, or straight into the memory where the bytes are wanted."""

from __future__ import annotations

import os
from collections.abc import Sequence

from captionless.store.storage_errors import http_status
from captionless.store.storage_retry import retrying
from captionless.store.urls import expanded_path, filesystem, is_local, local_path
from captionless.telemetry import catalog, registry

_MERGE_GAP = 256 << 10
_MERGE_MOST = 8 << 20
"""Bytes: a request takes about as long as reading `_MERGE_GAP`; `_MERGE_MOST` limits the size of a merged request."""

LOCAL_GAP = 2048
"""Bytes between two spans of a local file that are cheaper to read than to skip by another call."""
_LOCAL_TOGETHER = 64  # spans of a local file in a call, which may have 1024 pieces of memory

_RANGE_NOT_SATISFIABLE = 416
"""HTTP status for a range that begins beyond the object's end."""

Target = tuple[int, Sequence[memoryview]]
"""The offset of a span in an object, and the memory, of single bytes and in pieces, that the span is read into."""


@retrying
def read_ranges(url: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """The object's bytes of every [start, end), fewer if the object is shorter. FileNotFoundError if there is none.

    Requests are concurrent. Spans that are close together are read in one request, since reading the gap takes less
    time than another request.
    """
    if is_local(url):
        with open(local_path(url), "rb") as file:
            found = [os.pread(file.fileno(), stop - start, start) for start, stop in spans]
    else:
        found = _read_remote(url, spans)
    registry.add(catalog.STAGE_READ_BYTES, sum(map(len, found)))
    return found


@retrying
def read_into(url: str, targets: Sequence[Target]) -> list[int]:
    """Reads the object from each target's offset on into the target's pieces of memory, one after the other.

    Returns how many bytes there were for each, fewer than it has room for where the object ends. FileNotFoundError
    when there is none. Local files are read straight to where the bytes are wanted, others as `read_ranges` reads.
    """
    if is_local(url):
        file = os.open(expanded_path(url), os.O_RDONLY)
        try:
            counts = _read_local(file, targets)
        finally:
            os.close(file)
        registry.add(catalog.STAGE_READ_BYTES, sum(counts))
        return counts
    found = _read_remote(url, [(start, start + sum(map(len, memory))) for start, memory in targets])
    for data, (_, memory) in zip(found, targets, strict=True):
        done = 0
        for piece in memory:
            part = data[done : done + len(piece)]
            piece[: len(part)] = part
            done += len(part)
    registry.add(catalog.STAGE_READ_BYTES, sum(map(len, found)))
    return [len(data) for data in found]


def read_open(file: int, targets: Sequence[Target]) -> list[int]:
    """`read_into` of an open file, by its descriptor; what is read counts as no reading of storage."""
    return _read_local(file, targets)


def fill(url: str, wanted: Sequence[tuple[int, Sequence[memoryview], int]]) -> bool:
    """`read_into` for a local object in as little time as possible: offset, memory and size in bytes of every target.

    Returns whether all bytes were there; `read_into` says which were missing.
    """
    preadv = os.preadv
    try:
        file = os.open(expanded_path(url), os.O_RDONLY)
        try:
            whole = all(preadv(file, memory, start) == size for start, memory, size in wanted)
        finally:
            os.close(file)
    except OSError:
        return False
    registry.add(catalog.STAGE_READ_BYTES, sum(size for _, _, size in wanted) if whole else 0)
    return whole


def _read_local(file: int, targets: Sequence[Target]) -> list[int]:
    """`read_into` of an open file; targets that follow one another closely are one call, with what lies between."""
    counts: list[int] = []
    unwanted = memoryview(bytearray(LOCAL_GAP))
    lengths = [sum(map(len, memory)) for _, memory in targets]
    at, count = 0, len(targets)
    while at < count:
        start, memory = targets[at]
        together, end, last = [*memory], start + lengths[at], at + 1
        while last < count and 0 <= (gap := targets[last][0] - end) <= LOCAL_GAP and last - at < _LOCAL_TOGETHER:
            together.append(unwanted[:gap])
            together += targets[last][1]
            end += gap + lengths[last]
            last += 1
        missing = end - start - _read_pieces(file, together, start, end - start)
        if missing:  # the object ends within or before what was asked for
            ends = [targets[i][0] + lengths[i] for i in range(at, last)]
            counts += [max(0, min(n, n - (e - (end - missing)))) for n, e in zip(lengths[at:last], ends, strict=True)]
        else:
            counts += lengths[at:last]
        at = last
    return counts


def _read_pieces(file: int, memory: list[memoryview], start: int, wanted: int) -> int:
    """Reads from `start` on into one piece of memory after the other, `wanted` bytes; how many there were."""
    done = os.preadv(file, memory, start)
    while done < wanted:  # the end, or a file system that returns what it has
        rest, before = [], 0
        for piece in memory:
            rest.append(piece[min(max(done - before, 0), len(piece)) :])
            before += len(piece)
        count = os.preadv(file, [piece for piece in rest if len(piece)], start + done)
        if not count:
            break
        done += count
    return done


def _read_remote(url: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """`read_ranges` of an object that is not local."""
    order = sorted(range(len(spans)), key=spans.__getitem__)
    groups: list[list[int]] = []
    for place in order:
        start, stop = spans[place]
        if groups and start - spans[groups[-1][-1]][1] <= _MERGE_GAP and stop - spans[groups[-1][0]][0] <= _MERGE_MOST:
            groups[-1].append(place)
        else:
            groups.append([place])
    fs, path = filesystem(url)
    starts = [spans[group[0]][0] for group in groups]
    stops = [max(spans[place][1] for place in group) for group in groups]
    found: list[bytes] = [b""] * len(spans)
    for group, first, data in zip(
        groups, starts, fs.cat_ranges([path] * len(groups), starts, stops, on_error="return"), strict=True
    ):
        if isinstance(data, BaseException):
            if http_status(data) != _RANGE_NOT_SATISFIABLE:
                raise data
            data = b""
        for place in group:
            start, stop = spans[place]
            found[place] = bytes(data[start - first : stop - first])
    return found
