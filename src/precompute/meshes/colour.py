"""sRGB and linear light (IEC 61966-2-1), both in 0..1 and float64.

Files write most colours in sRGB; light is added and multiplied, and glTF's factors and vertex colours are given, in
linear light.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def linear(srgb: ArrayLike) -> NDArray[np.float64]:
    """sRGB -> linear light. What is beyond 0..1 is taken as its end."""
    x = np.clip(np.asarray(srgb, np.float64), 0.0, 1.0)
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def srgb(linear: ArrayLike) -> NDArray[np.float64]:
    """Linear light -> sRGB. What is beyond 0..1 is taken as its end."""
    x = np.clip(np.asarray(linear, np.float64), 0.0, 1.0)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
