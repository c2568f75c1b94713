"""Colours of vertices and faces as OBJ, PLY and OFF files write them -> linear light.

They are sRGB, as fractions, in 0..255 or in 0..65535; not every format says which, and then the greatest does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from captionless.mesh import Alpha
from captionless.precompute.meshes.colour import linear, srgb

LEVELS = (255.0, 65535.0)
"""What full light may be written as in whole numbers."""
FRACTIONS = (1.0, *LEVELS)
"""What it may be written as where fractions may be, too."""


def light(written: NDArray[np.floating], full: Sequence[float] = FRACTIONS) -> NDArray[np.float32]:
    """(N, 3) or (N, 4) colours, of which one of `full` is full light -> (N, 4) in linear light, and opacity.

    Colours and opacities are of the same scale only as far as their numbers say so. What is not finite counts as 0, as
    opacity as 1.
    """
    rgb = np.nan_to_num(written[:, :3].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    opacity = np.ones(len(written))
    if written.shape[1] > 3:
        opacity = fractions(written[:, 3], full)
    return np.column_stack([linear(rgb / _full(rgb, full)), opacity]).astype(np.float32)


def fractions(opacity: NDArray[np.floating], full: Sequence[float] = FRACTIONS) -> NDArray[np.float64]:
    """Opacities (N,) in 0..1; 1 where they are not finite."""
    known = np.isfinite(opacity)
    numbers = np.where(known, opacity, 0.0).astype(np.float64)
    return np.where(known, np.clip(numbers / _full(numbers, full), 0.0, 1.0), 1.0)


def _full(numbers: NDArray[np.float64], full: Sequence[float]) -> float:
    """The least of `full` that the numbers do not double: rounding and glare write a little more than full light, while
    an object whose brightest level is 1 of 255 is black anyhow."""
    greatest = numbers.max(initial=0.0)
    return next((most for most in full if greatest < 2 * most), full[-1])


def levels(colors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(N, 4) in linear light -> (N, 3) in sRGB, 0..255, without opacity."""
    return np.rint(255 * srgb(colors[:, :3])).astype(np.uint8)


def see_through(colors: NDArray[np.float32]) -> Alpha:
    """How the opacity of colours (N, 4) is meant."""
    return "blend" if (colors[:, 3] < 1.0).any() else "opaque"
