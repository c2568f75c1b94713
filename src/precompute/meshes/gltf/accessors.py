"""Accessors: typed arrays in a glTF file's buffers.

Elements are cut from a view with numpy's strides, nothing is copied until rows of it are asked for. Whole numbers that
stand for fractions (`normalized`) become them by the specification's rule; what `sparse` replaces is replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.precompute.meshes.gltf.buffers import Buffers, View
from captionless.precompute.meshes.gltf.document import Document, Entry

_COMPONENTS: dict[int, np.dtype[Any]] = {
    5120: np.dtype("<i1"),
    5121: np.dtype("<u1"),
    5122: np.dtype("<i2"),
    5123: np.dtype("<u2"),
    5124: np.dtype("<i4"),
    5125: np.dtype("<u4"),
    5126: np.dtype("<f4"),
    5130: np.dtype("<f8"),  # KHR_accessor_float64
}
_TYPES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_INDICES = (5121, 5123, 5125)


@dataclass(frozen=True)
class Values:
    """(N, C) of the components' own type; normalized: whole numbers stand for fractions of their largest."""

    stored: NDArray[Any]
    normalized: bool

    def __len__(self) -> int:
        return len(self.stored)

    def numbers(self, rows: NDArray[np.integer[Any]] | None = None) -> NDArray[np.float64]:
        """(n, C) float64 of some rows, or of all."""
        chosen = self.stored if rows is None else self.stored[rows]
        found = chosen.astype(np.float64)
        if self.normalized and chosen.dtype.kind in "iu":
            # the smallest signed number would be just below -1
            found = np.maximum(found / np.iinfo(chosen.dtype).max, -1)
        return found


class Accessors:
    """Of one document. A method's `by` is the place in the document that names the accessor."""

    def __init__(self, document: Document, buffers: Buffers, longest: int) -> None:
        """longest: elements of an accessor that is not backed by as many bytes."""
        self._document = document
        self._buffers = buffers
        self._longest = longest

    def count(self, index: int, by: str) -> int:
        """Elements that the accessor says to have."""
        return self._document.get("accessors", index, by).whole("count")

    def values(self, index: int, by: str, types: Sequence[str]) -> Values:
        """The elements of an accessor of one of these types. DataError otherwise, or if its bytes are not all there."""
        entry = self._document.get("accessors", index, by)
        dtype, components = self.layout(entry, by, types)
        count = entry.whole("count")
        stored = self._dense(entry, count, dtype, components)
        if (sparse := entry.entry("sparse")) is not None:
            stored = self._sparse(sparse, stored)
        return Values(stored, entry.flag("normalized", False))

    def decoded(self, index: int, by: str, types: Sequence[str], stored: NDArray[Any]) -> Values:
        """Values that come from a compressed stream in place of the accessor's bytes, (N, C)."""
        entry = self._document.get("accessors", index, by)
        dtype, components = self.layout(entry, by, types)
        if stored.shape != (count := entry.whole("count"), components):
            raise DataError(
                f"{by}: its stream has {stored.shape[0]} elements of {stored.shape[1]} numbers, "
                f"its accessor {count} of {components}"
            )
        return Values(stored.astype(dtype, copy=False), entry.flag("normalized", False))

    def whole_numbers(self, index: int, by: str) -> NDArray[Any]:
        """(N,) unsigned numbers, such as a primitive's indices."""
        found = self.values(index, by, ("SCALAR",)).stored[:, 0]
        if found.dtype.kind != "u":
            raise DataError(f"{by}: expected unsigned whole numbers, found {found.dtype}")
        return found

    def within(self, count: int, at: str) -> None:
        """DataError for more elements than an accessor may claim."""
        if count > self._longest:
            raise DataError(f"{at}: {count} elements; at most {self._longest} are read")

    def layout(self, entry: Entry, by: str, types: Sequence[str]) -> tuple[np.dtype[Any], int]:
        kind = entry.text("type")
        if kind not in types:
            raise DataError(f"{by}: expected {' or '.join(types)}, found {kind[:20] or 'no type'}")
        return self._component(entry), _TYPES[kind]

    def _component(self, entry: Entry) -> np.dtype[Any]:
        component = entry.whole("componentType")
        if component not in _COMPONENTS:
            raise DataError(f"{entry.place('componentType')}: {component} is no type of numbers")
        return _COMPONENTS[component]

    def _dense(self, entry: Entry, count: int, dtype: np.dtype[Any], components: int) -> NDArray[Any]:
        view = entry.index("bufferView")
        if view is None:  # all zero, until `sparse` says otherwise
            self.within(count, entry.place("count"))
            return np.broadcast_to(np.zeros((), dtype), (count, components))
        return _cut(self._buffers.view(view, entry.place("bufferView")), entry, count, dtype, components)

    def _sparse(self, entry: Entry, dense: NDArray[Any]) -> NDArray[Any]:
        count = entry.whole("count")
        places, values = entry.entry("indices"), entry.entry("values")
        if places is None or values is None:
            raise DataError(f"{entry.at}: expected indices and values")
        if (component := places.whole("componentType")) not in _INDICES:
            raise DataError(f"{places.place('componentType')}: {component} is no type of unsigned numbers")
        at = self._part(places, count, _COMPONENTS[component], 1)[:, 0]
        if count and (highest := int(at.max())) >= len(dense):
            raise DataError(f"{places.at}: names element {highest}, but there are {len(dense)}")
        replaced = dense.copy()
        replaced[at] = self._part(values, count, dense.dtype, dense.shape[1])
        return replaced

    def _part(self, entry: Entry, count: int, dtype: np.dtype[Any], components: int) -> NDArray[Any]:
        view = self._buffers.view(entry.whole("bufferView"), entry.place("bufferView"))
        return _cut(View(view.data, None), entry, count, dtype, components)


def _cut(view: View, entry: Entry, count: int, dtype: np.dtype[Any], components: int) -> NDArray[Any]:
    size = dtype.itemsize * components
    stride = view.stride if view.stride is not None else size
    start = entry.whole("byteOffset", 0)
    if count and stride < size:
        raise DataError(f"{entry.at}: elements of {size} bytes, {stride} bytes apart")
    end = start + stride * (count - 1) + size if count else start
    if end > len(view.data):
        raise DataError(f"{entry.at} is truncated: ends at byte {end} of a view of {len(view.data)}")
    strides = (stride, dtype.itemsize)
    return np.ndarray((count, components), dtype, view.data if count else bytes(1), start if count else 0, strides)
