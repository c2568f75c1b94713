"""Versions of many files by URL, in 25 bytes a file: tens of millions are held as arrays of hashes.

A file is found by the hash of its URL, 64 bits that no one can aim at. Two URLs that share one by chance and
have different versions are as if they were not there, so that nobody is told another file's version.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.store.scan import Found

_ETAG_OF_CONTENT = 32  # hex digits: an MD5, where an upload in parts has a dash and a web server what it likes


def token_of(version: str) -> int:
    """A version as a number of 64 bits; 0 for the empty one."""
    if not version:
        return 0
    data = version.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") or 1


@dataclass(frozen=True)
class Versions:
    """Of n files: `tokens` (n,) uint64, see `token_of`, 0 where there is no such file or its version is unknown;
    `sizes` (n,) int64 in bytes, -1 where unknown; `of_content` (n,) bool, whether files of equal size and
    token have the same content; `known` (n,) bool, whether the file was listed at all."""

    tokens: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    of_content: NDArray[np.bool_]
    known: NDArray[np.bool_]


class FileIndex:
    """Files that were listed. A URL is found as it was added."""

    def __init__(self) -> None:
        self._urls, self._tokens, self._sizes, self._sound = array("q"), array("Q"), array("q"), array("b")
        self._sorted: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self._urls)

    def add(self, files: Sequence[Found]) -> None:
        for url, version, size in files:
            self._urls.append(hash(url))
            self._tokens.append(token_of(version))
            self._sizes.append(size)
            self._sound.append(_is_of_content(url, version))
        self._sorted = None

    def find(self, urls: Sequence[str]) -> Versions:
        """The versions of some files."""
        order, hashes = self._by_hash()
        tokens, sizes = _view(self._tokens, np.uint64), _view(self._sizes, np.int64)
        wanted = np.fromiter(map(hash, urls), np.int64, len(urls))
        first = np.searchsorted(hashes, wanted)
        end = np.searchsorted(hashes, wanted, side="right")
        known = end > first
        at = order[np.where(known, first, 0)] if len(order) else np.zeros(len(urls), np.int64)
        # One that was listed twice, or two that share a hash: all entries must agree.
        for place in np.flatnonzero(end - first > 1):
            entries = order[first[place] : end[place]]
            known[place] = len(np.unique(tokens[entries])) == 1
        if not len(order):
            return Versions(np.zeros(len(urls), np.uint64), np.full(len(urls), -1), known.copy(), known)
        return Versions(
            np.where(known, tokens[at], 0).astype(np.uint64),
            np.where(known, sizes[at], -1),
            known & _view(self._sound, np.int8)[at].astype(bool),
            known,
        )

    def _by_hash(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self._sorted is None:
            hashes = _view(self._urls, np.int64)
            order = np.argsort(hashes, kind="stable").astype(np.int64, copy=False)
            self._sorted = order, hashes[order]
        return self._sorted


def _view(values: array[int], kind: type) -> NDArray[Any]:
    return np.frombuffer(values, kind) if len(values) else np.zeros(0, kind)


def _is_of_content(url: str, version: str) -> bool:
    tag = version.removeprefix("etag:").rpartition("-")[0]
    return url.startswith(("s3://", "s3a://")) and len(tag) == _ETAG_OF_CONTENT and tag.isalnum()
