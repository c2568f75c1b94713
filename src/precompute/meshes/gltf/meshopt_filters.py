"""The filters of EXT_meshopt_compression: numbers as they were before its encoder made them compressible."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Damaged(ValueError):
    """A stream that is none, in a few words."""


def filtered(data: NDArray[np.uint8], stride: int, kind: str) -> NDArray[np.uint8]:
    """The bytes of elements of `stride` bytes, with the filter of that name undone. Damaged if it is none for them."""
    if kind == "NONE":
        return data
    sizes = {"OCTAHEDRAL": (4, 8), "QUATERNION": (8,), "EXPONENTIAL": tuple(range(4, 257, 4)), "COLOR": (4, 8)}
    if stride not in sizes.get(kind, ()):
        raise Damaged(f"elements of {stride} bytes with the filter {kind[:20]}")
    with np.errstate(all="ignore"):  # what a damaged stream makes of it is checked where it is used
        if kind == "OCTAHEDRAL":
            found: NDArray[Any] = _octahedral(data.view("<i1" if stride == 4 else "<i2").reshape(-1, 4))
        elif kind == "QUATERNION":
            found = _quaternion(data.view("<i2").reshape(-1, 4))
        elif kind == "COLOR":
            found = _color(data.view("<u1" if stride == 4 else "<u2").reshape(-1, 4))
        else:
            words = data.view("<i4")
            found = np.ldexp((words << 8 >> 8).astype(np.float32), words >> 24).astype("<f4")
    return np.ascontiguousarray(found).view(np.uint8).reshape(-1)


def _octahedral(stored: NDArray[Any]) -> NDArray[Any]:
    """Unit vectors from two coordinates on an octahedron that is as wide as the third number says."""
    most = np.iinfo(stored.dtype).max
    x, y, one = stored[:, :3].astype(np.float64).T
    x, y = x / one, y / one
    z = 1 - np.abs(x) - np.abs(y)
    over = np.maximum(-z, 0)
    x, y = x - np.where(x >= 0, over, -over), y - np.where(y >= 0, over, -over)
    length = most / np.sqrt(x * x + y * y + z * z)
    found = stored.copy()
    found[:, :3] = _rounded(np.stack([x * length, y * length, z * length], 1))
    return found


def _quaternion(stored: NDArray[Any]) -> NDArray[Any]:
    """Unit quaternions from their three smaller numbers; the last number says which is left out, and the scale."""
    which = stored[:, 3] & 3
    small = stored[:, :3].astype(np.float64) * (np.sqrt(0.5) / (stored[:, 3] | 3))[:, None]
    large = np.sqrt(np.maximum(1 - (small**2).sum(1), 0))
    found = np.empty_like(stored)
    rows = np.arange(len(stored))
    for k in range(3):
        found[rows, (which + 1 + k) % 4] = _rounded(small[:, k] * 32767)
    found[rows, which] = _rounded(large * 32767)
    return found


def _color(stored: NDArray[Any]) -> NDArray[Any]:
    """Red, green, blue and opacity from YCoCg; the highest bit of the opacity says how many bits there are."""
    bits = 8 * stored.dtype.itemsize
    signed = stored.view(f"<i{stored.dtype.itemsize}").astype(np.int64)
    y, co, cg, alpha = stored[:, 0].astype(np.int64), signed[:, 1], signed[:, 2], stored[:, 3].astype(np.int64)
    highest = np.frexp(alpha.astype(np.float64))[1]  # 1 + the place of the highest bit
    whole = (1 << highest) - 1
    opacity = alpha & (whole >> 1)
    opacity = opacity << 1 | opacity & 1
    levels = np.stack([y + co - cg, y + cg, y - co - cg, opacity], 1)
    most = (1 << bits) - 1
    scale = np.float32(most) / np.maximum(whole, 1).astype(np.float32)  # single precision, as all decoders have it
    rounded: NDArray[Any] = np.clip(np.rint(levels.astype(np.float32) * scale[:, None]), 0, most)
    return rounded.astype(stored.dtype)


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """To whole numbers, halves away from zero, as the reference decoder does; what is none becomes 0."""
    return np.nan_to_num(np.trunc(values + np.copysign(0.5, values)))
