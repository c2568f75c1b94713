"""The interface of a test set: objects with classes, perhaps pictures of them, and where to get the files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError, SpecError
from captionless.mesh import Up, points_y_up
from captionless.precompute.sources.base import Loaded, ObjectRef
from captionless.store import objects


@dataclass(frozen=True)
class About:
    """What is known about a set without its files.

    title: its full name. count: the number of `unit`s of the official set. home, terms: where to get it and under
    which terms. layout: the files of the folder.
    """

    name: str
    title: str
    count: int
    home: str
    terms: str
    layout: tuple[str, ...]
    unit: str = "object"

    def missing(self, what: str) -> SpecError:
        """The error for missing files: where to get them, and the expected layout."""
        layout = "\n".join(f"    {line}" for line in self.layout)
        return SpecError(
            f"{self.name}: {what}; expected the files of {self.title}\n"
            f"  download them from {self.home} ({self.terms})\n"
            f"  and pass their folder as --data {self.name}=FOLDER, with this layout:\n{layout}"
        )

    def find(self, url: str | None, *paths: str) -> str:
        """The first of some paths below `url` that exists. SpecError if none does."""
        if url is None:
            raise self.missing("no folder given")
        for path in paths:
            if objects.exists(objects.join(url, path)):
                return objects.join(url, path)
        raise self.missing(f"{objects.join(url, paths[0])} does not exist")

    def read(self, url: str) -> bytes:
        """The bytes of a file of the set. SpecError if it does not exist."""
        try:
            return objects.read_bytes(url)
        except FileNotFoundError:
            raise self.missing(f"{url} does not exist") from None


@dataclass(frozen=True)
class Photo:
    """A picture of an object: its own name, the key of the object that it shows, and what reads it.

    load: the picture, (H, W, 3) uint8 RGB; DataError, without its name, when it is missing or broken.
    """

    key: str
    shows: str
    load: Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True)
class Photos:
    """Pictures of a set's objects in a fixed order. `described`: what was done to them, for the provenance."""

    listed: Sequence[Photo]
    described: Mapping[str, Any]


class TestSet(Protocol):
    """A published set. `files` list or contain all of it; their digests identify the edition."""

    @property
    def about(self) -> About: ...

    @property
    def files(self) -> Sequence[str]: ...

    @property
    def photos(self) -> Photos | None: ...

    def refs(self) -> Sequence[ObjectRef]:
        """All objects, in a fixed order."""

    def load(self, ref: ObjectRef) -> Loaded:
        """The object. DataError, without the key, when it is missing or broken."""


@dataclass(frozen=True)
class CloudSet:
    """A set of clouds. `read` gives the (P, 3 or more) points of an object, xyz first; `up` is their axis."""

    about: About
    listed: Sequence[ObjectRef]
    read: Callable[[ObjectRef], NDArray[Any]]
    up: Up
    files: Sequence[str] = ()
    photos: Photos | None = field(default=None, init=False)

    def refs(self) -> Sequence[ObjectRef]:
        return self.listed

    def load(self, ref: ObjectRef) -> Loaded:
        """The points' xyz; further columns (normals, colours) are left out. DataError unless they are finite."""
        cloud = np.asarray(self.read(ref))
        if cloud.ndim != 2 or cloud.shape[1] < 3 or cloud.dtype.kind not in "fiu" or not len(cloud):
            raise DataError(f"expected points of shape (P, 3), found {cloud.dtype} {cloud.shape}")
        xyz = cloud[:, :3].astype(np.float64)
        broken = int((~np.isfinite(xyz)).any(axis=1).sum())
        if broken:
            raise DataError(f"{broken} of {len(xyz)} points have NaN or infinite coordinates")
        return Loaded(points=points_y_up(xyz, self.up))


def object_ref(about: About, key: str, category: str, url: str) -> ObjectRef:
    """An object of a published set."""
    return ObjectRef(key=key, category=category, split="test", source=about.title, licence=about.terms, url=url)
