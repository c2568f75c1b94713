"""The interface of a source of objects: names first, content on demand.

`refs` only lists, so that work can be assigned to workers before any mesh is read;
`digest` fingerprints one object's content, so that only changed objects are recomputed;
`load` reads it.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from captionless.errors import SpecError, did_you_mean
from captionless.mesh import Mesh

Split = Literal["train", "test"]


@dataclass(frozen=True)
class ObjectRef:
    """An object's name and what is known before reading it.

    key: unique in its source, and a valid WebDataset key (no dot in its last segment).
    source, licence: its origin and terms of use, as the source states them.
    text, attributes: its structure in words, where the source knows it. url: its file.
    """

    key: str
    category: str
    split: Split
    source: str
    licence: str
    text: str | None = None
    attributes: dict[str, str] | None = None
    url: str | None = None


@dataclass(frozen=True)
class Loaded:
    """An object's content, y-up: a mesh, or (P, 3) xyz or (P, 6) xyz and three more per point, float32."""

    mesh: Mesh | None = None
    points: NDArray[np.float32] | None = None


class Source(Protocol):
    """Where objects come from."""

    @property
    def numbering(self) -> Sequence[str]:
        """The categories by number, if the source's labels are numbers; empty if they are names."""

    def refs(self) -> list[ObjectRef]:
        """All objects, sorted by key. Reads lists of names, no mesh."""

    def digest(self, ref: ObjectRef) -> str:
        """sha256 (hex) of everything the object is made from. DataError when it is missing."""

    def load(self, ref: ObjectRef) -> Loaded:
        """The object. DataError, without the key, when it is missing or broken."""


def split_of(key: str, test_fraction: float, seed: int = 0) -> Split:
    """A key's split by a stable hash: the same on every machine and independent of other keys."""
    number = int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "big")
    return "test" if number < test_fraction * 2**64 else "train"


def clean_key(name: str) -> str:
    """A file's path without suffix as a key: letters, digits, `-`, `_` and `/`, all else as `_`."""
    return re.sub(r"[^\w/-]", "_", unicodedata.normalize("NFC", name))


def chosen(categories: Sequence[str], present: Iterable[str]) -> frozenset[str]:
    """The selected categories: `categories`, or all that are present. SpecError for an unknown one."""
    known = sorted(set(present))
    for category in categories:
        if category not in known:
            raise SpecError(
                f'data.source.categories: unknown category "{category}"; the source has {", ".join(known[:20])}'
                f"{', ...' if len(known) > 20 else ''}{did_you_mean(category, known)}"
            )
    return frozenset(categories or known)


def by_key(refs: Iterable[ObjectRef]) -> list[ObjectRef]:
    """The objects sorted by key. SpecError for a duplicate key."""
    ordered = sorted(refs, key=lambda r: r.key)
    for a, b in itertools.pairwise(ordered):
        if a.key == b.key:
            raise SpecError(f'duplicate object key "{a.key}": {a.url} and {b.url}; rename one')
    return ordered
