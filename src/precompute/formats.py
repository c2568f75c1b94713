"""The formats of mesh files that are read, and the up axis that each one's convention gives it."""

from __future__ import annotations

from collections.abc import Mapping

from captionless.errors import DataError, SpecError
from captionless.mesh import Up
from captionless.precompute.file_kinds import by_name

DEFAULT_UP: Mapping[str, Up | None] = {"obj": "y", "glb": "y", "gltf": "y", "ply": None, "stl": None, "off": None}
"""The formats by their suffix; None where the convention does not define an axis."""

_AXIS = "do not define an up axis; set data.source.up to x, y or z"


def file_type(url: str) -> str | None:
    """The format by the URL's suffix, one of `DEFAULT_UP`, or None."""
    kind = by_name(url)
    return kind.name if kind is not None and kind.shape == "mesh" else None


def format_of(url: str) -> str:
    """The format; DataError when it is none that is read."""
    kind = file_type(url)
    if kind is None:
        raise DataError(f"{url}: not a mesh format that is read; expected one of {', '.join(sorted(DEFAULT_UP))}")
    return kind


def axis_of(kind: str, up: Up | None) -> Up:
    """The up axis of a file: its own, `up`, or that of its format. DataError when neither defines one."""
    axis = up or DEFAULT_UP[kind]
    if axis is None:
        raise DataError(f"has no up axis: {kind.upper()} files {_AXIS}")
    return axis


class Axes:
    """Watches a source for the objects whose up axis is not defined: single ones are broken, all of them are a field
    that was forgotten."""

    def __init__(self) -> None:
        self._missing: set[str] = set()
        self._some_have = False

    def add(self, url: str, up: Up | None) -> None:
        kind = file_type(url)
        if kind is not None and up is None and DEFAULT_UP[kind] is None:
            self._missing.add(kind)
        else:
            self._some_have = True

    def check(self) -> None:
        """SpecError if there are objects, and none of them has an axis."""
        if self._missing and not self._some_have:
            raise SpecError(f"data.source.up: required, since {', '.join(sorted(self._missing)).upper()} files {_AXIS}")
