"""Clouds in files of their own: NumPy arrays, and PLY files of points without faces, as scanners write them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.precompute.meshes.ply_body import body
from captionless.precompute.meshes.ply_header import header
from captionless.store.shards import decode_array

_POSITION = ("x", "y", "z")
_SURFACES = ("face", "tristrips", "tristrip")


def points(kind: str, data: bytes) -> NDArray[np.float64] | None:
    """(P, 3) xyz of a file of a kind of `file_kinds`; None for what is not a cloud: a PLY file with faces, or another
    kind than `npy` and `ply`.

    Float64, until it is centred. DataError for a damaged file, or an array of another shape.
    """
    if kind == "npy":
        return _of_array(decode_array(data, "the file"))
    return _of_ply(data) if kind == "ply" else None


def _of_array(array: NDArray[np.generic]) -> NDArray[np.float64]:
    if array.ndim != 2 or array.shape[1] < 3 or array.dtype.kind not in "fiu":
        raise DataError(f"is {array.dtype} {array.shape}, expected numbers (P, 3): xyz; further columns are ignored")
    xyz: NDArray[np.float64] = array[:, :3].astype(np.float64)
    return xyz


def _of_ply(data: bytes) -> NDArray[np.float64] | None:
    head = header(data)
    counts = {element.name: element.count for element in head.elements}
    if any(counts.get(name) for name in _SURFACES) or not counts.get("vertex"):
        return None
    found = body(data, head, {"vertex": _POSITION})["vertex"].values
    if missing := [axis for axis in _POSITION if axis not in found]:
        raise DataError(f"its vertices have no property {missing[0]}")
    return np.stack([found[axis] for axis in _POSITION], axis=1).astype(np.float64)
