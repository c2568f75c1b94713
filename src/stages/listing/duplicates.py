"""Objects whose own files have the same content: found by size, then by what the storage says, then by their bytes.

S3's ETag of an object that was uploaded in one piece is its MD5, so equal sizes and ETags are equal content. Files of
equal size elsewhere are read, once: what they were found to be is kept in the listing, for as long as their version is
the same. Nothing is read of files that are larger than `data.limits` allows, which pack will say: they are no copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.runtime.thread_pools import thread_pool
from captionless.stages.listing.gathered import Gathered
from captionless.store.file_index import token_of

Digests = NDArray[np.uint8]
"""(n, 32): a sha256 of every object's file, or an MD5 and zeros, or zeros where there is none."""

ReadDigest = Callable[[str, Literal["md5", "sha256"]], bytes]
"""Gives the digest of the file at a URL. DataError where it cannot."""

_READERS = 4
_MD5_BYTES = 16


@dataclass(frozen=True)
class Group:
    """Objects of the same content, by their places; the first is the oldest."""

    places: tuple[int, ...]

    @property
    def oldest(self) -> int:
        return self.places[0]


def find_groups(
    gathered: Gathered, contents: Digests, youth: NDArray[np.int8], most: int, read: ReadDigest
) -> list[Group]:
    """The groups of kept objects that are copies of one another.

    contents: what is known of the files; what is read for the comparison is filled in. youth: (n,) the lesser, the
    older; of equally old ones the lesser key is older. most: bytes of a file that may be read. read: an object whose
    file it cannot read is no copy.
    """
    usable = (gathered.sizes > 0) & (gathered.sizes <= most)
    sizes = np.where(gathered.kept & (gathered.tokens != 0) & usable, gathered.sizes, -1)
    alike = _repeated(sizes)
    alike &= sizes > 0
    _read_contents(gathered, contents, alike & ~gathered.of_content & ~contents.any(axis=1), read)
    ids = np.where(gathered.of_content, gathered.tokens, 0).astype(np.uint64)
    for place in np.flatnonzero(alike & contents.any(axis=1) & ~gathered.of_content):
        ids[place] = _identity(contents[place], int(sizes[place]))
    places = np.flatnonzero(alike & (ids != 0))
    places = places[np.lexsort((ids[places], sizes[places]))]
    changes = (np.diff(sizes[places]) != 0) | (np.diff(ids[places]) != 0)
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    ends = np.append(starts[1:], len(places))
    several = np.flatnonzero(ends - starts > 1)
    return [_group(gathered, places[starts[at] : ends[at]], youth) for at in several]


def _repeated(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) whether another one has the same value."""
    order = np.argsort(values, kind="stable")
    same = values[order][1:] == values[order][:-1]
    found = np.zeros(len(values), np.bool_)
    found[order[1:][same]] = True
    found[order[:-1][same]] = True
    return found


def _read_contents(gathered: Gathered, contents: Digests, wanted: NDArray[np.bool_], read: ReadDigest) -> None:
    """Fills in the contents of the wanted objects' files."""

    def digest(url: str) -> bytes:
        on_s3 = url.startswith(("s3://", "s3a://"))  # which describes the files of equal size by their MD5
        try:
            return read(url, "md5" if on_s3 else "sha256").ljust(32, b"\0")
        except DataError:
            return bytes(32)  # pack will say what is wrong with it

    if not wanted.any():
        return
    with thread_pool(_READERS) as pool:
        for where, batch in gathered.batches():
            places = np.flatnonzero(wanted[where])
            urls = batch["url"].take(places).to_pylist()
            for place, found in zip(places, pool.map(digest, urls), strict=True):
                contents[where.start + place] = np.frombuffer(found, np.uint8)


def _identity(content: NDArray[np.uint8], size: int) -> int:
    """The content as a number of 64 bits; of an MD5 the token of S3's version of such a file."""
    data = content.tobytes()
    is_md5 = not any(data[_MD5_BYTES:])
    return token_of(f"etag:{data[:_MD5_BYTES].hex()}-{size}" if is_md5 else data.hex())


def _group(gathered: Gathered, places: NDArray[np.int64], youth: NDArray[np.int8]) -> Group:
    return Group(tuple(sorted(map(int, places), key=lambda place: (int(youth[place]), gathered.key(place)))))


def copies(groups: Sequence[Group]) -> int:
    """How many objects are copies of older ones."""
    return sum(len(group.places) - 1 for group in groups)


def describe(gathered: Gathered, groups: Sequence[Group], most: int = 3) -> str:
    """Some of the groups, by the keys of their objects."""
    named = [", ".join(gathered.key(place) for place in group.places[:most]) for group in groups[:most]]
    more = f" and {len(groups) - most} more groups" if len(groups) > most else ""
    return "; ".join(named) + more
