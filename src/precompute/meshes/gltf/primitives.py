"""Primitives: triangles with their attributes, in the coordinates of their mesh, from accessors or Draco's stream.

Only vertices that faces use are taken: primitives of one mesh often share accessors, each with indices to some of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.precompute.meshes.gltf import draco
from captionless.precompute.meshes.gltf.accessors import Accessors, Values
from captionless.precompute.meshes.gltf.buffers import Buffers
from captionless.precompute.meshes.gltf.document import Entry
from captionless.spec.data import ReadingLimits

_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_POINTS_OR_LINES = {0: "points", 1: "lines", 2: "a loop of lines", 3: "a strip of lines"}


class Budget:
    """Faces and vertices that are left to an object; DataError when they are spent."""

    def __init__(self, limits: ReadingLimits) -> None:
        self._limits = limits
        self._faces = 0
        self._vertices = 0

    def take(self, faces: int, vertices: int) -> None:
        self._faces += faces
        self._vertices += vertices
        if self._faces > self._limits.faces:
            raise DataError(
                f"has more than {self._limits.faces} faces; at most that many are supported: simplify the mesh"
            )
        if self._vertices > self._limits.vertices:
            raise DataError(f"has more than {self._limits.vertices} vertices: simplify the mesh")


@dataclass(frozen=True)
class Primitive:
    """faces: (F, 3) int32 into rows of the attributes, which are read when they are asked for.

    dropped: what of the primitive is not drawn, in a few words; nothing if it is empty. without_faces: because it is
    made of points or lines.
    """

    faces: NDArray[np.int32]
    attributes: Attributes
    dropped: str = ""
    without_faces: bool = False


class Attributes:
    """The attributes of a primitive's vertices that faces use: `rows` of what is stored, or all of it."""

    def __init__(
        self,
        entry: Entry,
        accessors: Accessors,
        stored: dict[str, NDArray[Any]],
        rows: NDArray[np.int64] | None,
        count: int,
    ) -> None:
        """entry: the primitive. stored: attributes by name that are not in accessors, but were decoded. count: vertices
        that are stored."""
        self._entry = entry
        self._accessors = accessors
        self._stored = stored
        self._rows = rows
        self._count = count

    def numbers(self, name: str, types: Sequence[str], weights: Sequence[float] = ()) -> NDArray[np.float64] | None:
        """(V, C) float64 of an attribute, None if there is none. weights: of the morph targets, whose differences are
        added. What is not finite stays so."""
        attributes = self._entry.entry("attributes")
        if attributes is None or (index := attributes.index(name)) is None:
            return None
        found = self._values(attributes, name, index, types).numbers(self._rows)
        for weight, target in zip(weights, self._entry.entries("targets"), strict=False):
            if weight and (difference := target.index(name)) is not None:
                change = self._values(target, name, difference, types, decoded=False).numbers(self._rows)
                if change.shape[1] > found.shape[1]:
                    raise DataError(f"{target.place(name)}: has more numbers than what it changes")
                found[:, : change.shape[1]] += weight * change
        return found

    def _values(self, by: Entry, name: str, index: int, types: Sequence[str], decoded: bool = True) -> Values:
        at = by.place(name)
        if decoded and name in self._stored:
            found = self._accessors.decoded(index, at, types, self._stored[name])
        else:
            found = self._accessors.values(index, at, types)
        if len(found) != self._count:
            raise DataError(f"{at}: has {len(found)} elements for {self._count} vertices")
        return found


def read_primitive(entry: Entry, accessors: Accessors, buffers: Buffers, budget: Budget) -> Primitive:
    """The faces of a primitive; none of points and lines. DataError if it is damaged."""
    mode = entry.whole("mode", _TRIANGLES)
    if mode in _POINTS_OR_LINES:
        return replace(_nothing(entry, accessors, _POINTS_OR_LINES[mode]), without_faces=True)
    if mode not in (_TRIANGLES, _STRIP, _FAN):
        raise DataError(f"{entry.place('mode')}: {mode} is no way to join vertices")
    positions = _positions(entry)
    if positions is None:
        return _nothing(entry, accessors, "no positions")
    stored: dict[str, NDArray[Any]] = {}
    packed = entry.extension(draco.NAME)
    if packed is not None:
        indices, stored, count = _decoded(entry, packed, buffers)
        mode = _TRIANGLES  # a stream has nothing else, whatever a writer would make of them
    else:
        count = accessors.count(*positions)
        indices = _indices(entry, accessors, count)
    faces = _faces(indices, mode)
    ragged = mode == _TRIANGLES and len(indices) % 3
    if not len(faces):
        return _nothing(entry, accessors, f"{len(indices)} indices, which are no face" if len(indices) else "")
    if (highest := int(faces.max())) >= count:
        raise DataError(f"{entry.at}: a face names vertex {highest}, but there are {count}")
    rows, faces = _compact(faces, count)
    budget.take(len(faces), count if rows is None else len(rows))
    attributes = Attributes(entry, accessors, stored, rows, count)
    return Primitive(
        faces.astype(np.int32), attributes, f"the last {ragged} of {len(indices)} indices" if ragged else ""
    )


def _nothing(entry: Entry, accessors: Accessors, why: str) -> Primitive:
    return Primitive(np.zeros((0, 3), np.int32), Attributes(entry, accessors, {}, None, 0), why)


def _positions(entry: Entry) -> tuple[int, str] | None:
    """The accessor of a primitive's positions, and the place that names it."""
    attributes = entry.entry("attributes")
    index = attributes.index("POSITION") if attributes is not None else None
    return None if attributes is None or index is None else (index, attributes.place("POSITION"))


def _indices(entry: Entry, accessors: Accessors, count: int) -> NDArray[Any]:
    index = entry.index("indices")
    if index is None:
        accessors.within(count, entry.at)
        return np.arange(count, dtype=np.int64)
    return accessors.whole_numbers(index, entry.place("indices"))


def _decoded(entry: Entry, packed: Entry, buffers: Buffers) -> tuple[NDArray[Any], dict[str, NDArray[Any]], int]:
    """Indices, attributes by name, and the number of vertices of a Draco stream."""
    view = buffers.view(packed.whole("bufferView"), packed.place("bufferView"))
    found = draco.decode(view.data, entry.at)
    attributes = packed.entry("attributes")
    stored = {}
    for name in attributes.names() if attributes is not None else ():
        assert attributes is not None
        if (number := attributes.whole(name)) not in found.attributes:
            raise DataError(f"{attributes.place(name)}: its {draco.NAME} stream has no attribute {number}")
        stored[name] = found.attributes[number]
    counts = {len(values) for values in found.attributes.values()}
    if len(counts) != 1:
        raise DataError(f"{entry.at}: its {draco.NAME} stream has attributes of different lengths")
    return found.faces.reshape(-1), stored, counts.pop()


def _faces(indices: NDArray[Any], mode: int) -> NDArray[Any]:
    """(F, 3) of indices: each three are a face, or each vertex makes one with the two before it, or with the one before
    it and the first. In a strip every other face is turned round, so that all have their fronts on one side."""
    if mode == _TRIANGLES:
        return indices[: len(indices) // 3 * 3].reshape(-1, 3)
    if len(indices) < 3:
        return indices[:0].reshape(0, 3)
    if mode == _FAN:
        return np.stack([np.broadcast_to(indices[0], len(indices) - 2), indices[1:-1], indices[2:]], 1)
    odd = np.arange(len(indices) - 2) % 2 == 1
    second, third = indices[1:-1], indices[2:]
    return np.stack([indices[:-2], np.where(odd, third, second), np.where(odd, second, third)], 1)


def _compact(faces: NDArray[Any], count: int) -> tuple[NDArray[np.int64] | None, NDArray[Any]]:
    """The vertices that faces use, in order (None: all), and the faces into these."""
    if faces.size * 8 < count:  # a mask of all vertices would cost more than sorting
        rows, places = np.unique(faces, return_inverse=True)
        return rows.astype(np.int64), places.reshape(-1, 3)
    used = np.zeros(count, bool)
    used[faces.reshape(-1)] = True
    if used.all():
        return None, faces
    rows = np.flatnonzero(used)
    places = np.zeros(count, np.int32)
    places[rows] = np.arange(len(rows), dtype=np.int32)
    return rows, places[faces]
