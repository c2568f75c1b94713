"""What a reader of mesh files hands back: the mesh, and what of the file was lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from captionless.mesh import Mesh
from captionless.precompute.object_files import ObjectFiles
from captionless.spec.data import ReadingLimits

KINDS: Mapping[str, Literal["geometry", "appearance"]] = {
    "faces dropped": "geometry",
    "points or lines not drawn": "geometry",
    "nodes dropped": "geometry",
    "skin not applied": "geometry",
    "morph not applied": "geometry",
    "instances not drawn": "geometry",
    "texture missing": "appearance",
    "texture damaged": "appearance",
    "texture not read": "appearance",
    "texture coordinates missing": "appearance",
    "material missing": "appearance",
    "colours dropped": "appearance",
    "option ignored": "appearance",
    "extension ignored": "appearance",
}
"""The kinds of losses, and whether they change an object's shape or its looks."""


@dataclass(frozen=True)
class Loss:
    """Something in a file that the mesh lacks.

    kind: one of `KINDS`. detail: which texture, extension, ... in a few words.
    """

    kind: str
    detail: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is none of the kinds of losses")


@dataclass(frozen=True)
class Reading:
    """A mesh with the axes of its file, and what was lost on the way to it, each once."""

    mesh: Mesh
    losses: tuple[Loss, ...] = ()


class Reader(Protocol):
    """A format's `read`: the mesh in `data`, the bytes of an object's own file, which may name others of its `files`.

    DataError, in one line, for whatever is wrong with the file or beyond the limits; nothing else is raised.
    """

    def __call__(self, data: bytes, files: ObjectFiles, limits: ReadingLimits) -> Reading: ...
