"""What a source of objects is: names first, content on demand.

`refs` only lists, so that work can be dealt to workers before any mesh is read;
`digest` fingerprints one object's content, so that a changed one alone is made anew;
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
    """An object's name and what is known of it before it is read.

    key: unique in its source, and a valid WebDataset key (no dot in its last segment).
    source, licence: where it is from and under which terms, as the source states them.
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
        """The categories by number, where the source numbers them and does not name them object by object."""

    def refs(self) -> list[ObjectRef]:
        """All objects, sorted by key. Reads lists of names, no mesh."""

    def digest(self, ref: ObjectRef) -> str:
        """sha256 (hex) of all that the object is made from. DataError when it is missing."""

    def load(self, ref: ObjectRef) -> Loaded:
        """The object. DataError, without the key, when it is missing or broken."""


def split_of(key: str, test_fraction: float, seed: int = 0) -> Split:
    """The split a key falls into by a stable hash: the same on every machine and whatever other keys there are."""
    number = int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "big")
    return "test" if number < test_fraction * 2**64 else "train"


def clean_key(name: str) -> str:
    """A file's path without suffix as a key: letters, digits, `-`, `_` and `/`, all else as `_`."""
    return re.sub(r"[^\w/-]", "_", unicodedata.normalize("NFC", name))


def chosen(categories: Sequence[str], present: Iterable[str]) -> frozenset[str]:
    """The categories to take: those asked for, or all that are present. SpecError for one that is not."""
    known = sorted(set(present))
    for category in categories:
        if category not in known:
            raise SpecError(
                f'data.source.categories: "{category}" is not there; the source has {", ".join(known[:20])}'
                f"{', ...' if len(known) > 20 else ''}{did_you_mean(category, known)}"
            )
    return frozenset(categories or known)


def by_key(refs: Iterable[ObjectRef]) -> list[ObjectRef]:
    """The objects sorted by key. SpecError when two have the same."""
    ordered = sorted(refs, key=lambda r: r.key)
    for a, b in itertools.pairwise(ordered):
        if a.key == b.key:
            raise SpecError(f'two objects are called "{a.key}": {a.url} and {b.url}; rename one')
    return ordered
