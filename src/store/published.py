"""A store that is published by its manifest: what stored similarity, neighbours and galleries have in common.

Many workers write the files. The worker that finds them complete writes the manifest, which lists them, last. So a
folder without one is not a store yet, and a file that the manifest lists but is missing was lost since.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from captionless.errors import DataError
from captionless.store import objects

REQUESTS = 16
"""Concurrent requests to storage."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class StoreFormat:
    """A format: what the store holds and what writes it, for messages; the name and version of its manifest."""

    holds: str
    maker: str
    manifest: str
    version: int

    def published(self, url: str, digest: str) -> dict[str, Any] | None:
        """The manifest at `url` of a store of this version whose values have this `digest`, None when there is none."""
        try:
            manifest = objects.read_json(objects.join(url, self.manifest))
        except (FileNotFoundError, DataError):
            return None
        if not isinstance(manifest, dict) or manifest.get("version") != self.version:
            return None
        return manifest if manifest.get("digest") == digest else None

    def open(self, url: str, read: Callable[[Any], _T]) -> _T:
        """Opens the store: the result of `read` on its manifest.

        Raises:
            DataError: there is no manifest, it has another version, or `read` rejects it.
        """
        target = objects.join(url, self.manifest)
        try:
            manifest = objects.read_json(target)
        except FileNotFoundError:
            raise DataError(
                f"{url}: no stored {self.holds} ({self.manifest} is missing); run {self.maker} or correct the URL"
            ) from None
        try:
            if manifest["version"] != self.version:
                raise DataError(
                    f"{target}: version {manifest['version']}; this release reads {self.version}; rerun {self.maker}"
                )
            return read(manifest)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{target}: not a manifest of stored {self.holds} ({error!r}); rerun {self.maker}"
            ) from error

    def check_sizes(self, url: str, expected: Iterable[tuple[str, int]]) -> None:
        """DataError unless files of these names and sizes in bytes are all in the folder `url`, by one listing."""
        sizes = objects.list_sizes(url)
        for name, size in expected:
            target = objects.join(url, name)
            if name not in sizes:
                raise self.missing(target)
            if sizes[name] != size:
                raise self.damaged(target, f"{sizes[name]:,} bytes, expected {size:,}")

    def read_file(self, target: str, sha256: str) -> bytes:
        """The bytes of a file; DataError unless it is there with this checksum."""
        try:
            data = objects.read_bytes(target)
        except FileNotFoundError:
            raise self.missing(target) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise self.altered(target)
        return data

    def missing(self, target: str) -> DataError:
        """A file is not there."""
        return DataError(f"{target}: missing; rerun {self.maker}")

    def damaged(self, target: str, how: str) -> DataError:
        """A file cannot be what was written."""
        return DataError(f"{target}: damaged or truncated ({how}); delete it and rerun {self.maker}")

    def altered(self, target: str) -> DataError:
        """A file is not what was written."""
        return DataError(f"{target}: checksum mismatch; delete it and rerun {self.maker}")


def check_unique(url: str, keys: Iterable[str]) -> None:
    """DataError when an object is in a store twice."""
    for key, count in Counter(keys).items():
        if count > 1:
            raise DataError(f'{url}: object "{key}" appears twice; keys must be unique across all categories')
