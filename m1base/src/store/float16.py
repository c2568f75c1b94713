"""float16 as float32, exactly and at the speed of memory; numpy converts one number at a time.

A half has 5 bits of exponent and 10 of fraction. Shifted to where float32 has its own they are the number times 2^-112,
subnormal halves included, so that one multiplication by 2^112 is all; only infinities and NaN need their exponent set.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

NORM_TOLERANCE = 5e-3
"""How far from 1 the norm of a stored unit row may be: bfloat16 moves it by up to 2^-8, float16 by 2^-11."""

_AT_ONCE = 1024  # numbers: what the first cache holds


def to_float32(half: NDArray[np.float16], into: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """float16 of any shape as C-contiguous float32, in `into` if given, which has that shape."""
    out = np.empty(half.shape, np.float32) if into is None else into
    bits = np.ascontiguousarray(half).view(np.uint16).reshape(-1)
    _to_float32(bits, out.reshape(-1).view(np.uint32), out.reshape(-1))
    return out


@numba.njit(cache=True, nogil=True)
def _to_float32(half: NDArray[np.uint16], bits: NDArray[np.uint32], value: NDArray[np.float32]) -> None:
    """`bits` and `value` are the same memory."""
    scale = np.float32(2.0**112)
    for start in range(0, len(half), _AT_ONCE):
        _some(half[start : start + _AT_ONCE], bits[start : start + _AT_ONCE], value[start : start + _AT_ONCE], scale)


@numba.njit(cache=True, nogil=True)
def _some(half: NDArray[np.uint16], bits: NDArray[np.uint32], value: NDArray[np.float32], scale: np.float32) -> None:
    special = 0
    for i in range(len(half)):
        h = np.uint32(half[i])
        special += (h & np.uint32(0x7C00)) == np.uint32(0x7C00)
        bits[i] = ((h & np.uint32(0x8000)) << np.uint32(16)) | ((h & np.uint32(0x7FFF)) << np.uint32(13))
    for i in range(len(value)):
        value[i] *= scale
    if special:
        for i in range(len(half)):
            if half[i] & np.uint16(0x7C00) == np.uint16(0x7C00):
                bits[i] |= np.uint32(0x7F800000)
