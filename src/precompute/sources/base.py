"""The interface of a source of objects: names first, content on demand.

`stream` and `refs` only list, so that work can be assigned to workers before any mesh is read;
`digest` fingerprints one object's content; `load` reads it.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from captionless.errors import SpecError, did_you_mean
from captionless.mesh import Mesh
from captionless.precompute.meshes.reading import Loss
from captionless.precompute.object_files import FileSeen, MeshFile
from captionless.store.file_index import FileIndex
from captionless.store.listing import ObjectRef as ObjectRef
from captionless.store.listing import Split as Split


@dataclass(frozen=True)
class Loaded:
    """An object's content, y-up: a mesh, or (P, 3) xyz or (P, 6) xyz and three more per point.

    Points are as precise as the file gives them until they are centred: float32 has steps of half a metre at map
    coordinates (`precompute.pointcloud.normalise`).

    files: those that it was read from, its own first; empty if it has none of its own. losses: what its file has and
    the mesh lacks. beyond: see `object_files.ObjectFiles`.
    """

    mesh: Mesh | None = None
    points: NDArray[np.floating] | None = None
    files: tuple[FileSeen, ...] = ()
    losses: tuple[Loss, ...] = ()
    beyond: bool = False


class Loader(Protocol):
    """Anything that loads objects: a source, a test set."""

    def load(self, ref: ObjectRef) -> Loaded:
        """The object. DataError, without the key, when it is missing or broken."""


@runtime_checkable
class MeshLoader(Loader, Protocol):
    """One whose objects are mesh files, which can be read by another process as well."""

    def mesh_file(self, ref: ObjectRef) -> MeshFile:
        """What is needed to read the object."""


class Source(Loader, Protocol):
    """Where objects come from."""

    @property
    def numbering(self) -> Sequence[str]:
        """The categories by number, if the source's labels are numbers; empty if they are names."""

    def stream(self, files: FileIndex) -> Iterator[ObjectRef]:
        """All objects, in the order in which they are listed, in bounded memory. Reads lists of names, no mesh.

        Files whose versions are listed on the way are added to `files`.
        """

    def refs(self) -> list[ObjectRef]:
        """All objects, sorted by key."""

    def digest(self, ref: ObjectRef) -> str:
        """sha256 (hex) of everything the object is made from. DataError when it is missing."""


def split_of(key: str, test_fraction: float, seed: int = 0) -> Split:
    """A key's split by a stable hash: the same on every machine and independent of other keys."""
    number = int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogatepass")).digest()[:8], "big")
    return "test" if number < test_fraction * 2**64 else "train"


def clean_key(name: str) -> str:
    """A file's path without suffix as a key: letters, digits, `-`, `_` and `/`, all else as `_`."""
    return re.sub(r"[^\w/-]", "_", unicodedata.normalize("NFC", name))


class Selection:
    """The selected categories: those of `data.source.categories`, all if it is empty."""

    def __init__(self, categories: Sequence[str]):
        self._wanted, self._present = frozenset(categories), set[str]()

    def takes(self, category: str) -> bool:
        """Whether a category that the source has is selected."""
        self._present.add(category)
        return not self._wanted or category in self._wanted

    def check(self) -> None:
        """SpecError if the source, all of which has been seen, does not have a selected category."""
        known = sorted(self._present)
        for category in sorted(self._wanted - self._present):
            raise SpecError(
                f'data.source.categories: unknown category "{category}"; the source has {", ".join(known[:20])}'
                f"{', ...' if len(known) > 20 else ''}{did_you_mean(category, known)}"
            )


def by_key(refs: Iterable[ObjectRef]) -> list[ObjectRef]:
    """The objects sorted by key. SpecError for a duplicate key."""
    ordered = sorted(refs, key=lambda r: r.key)
    for a, b in itertools.pairwise(ordered):
        if a.key == b.key:
            raise SpecError(f'duplicate object key "{a.key}": {a.url} and {b.url}; rename one')
    return ordered
