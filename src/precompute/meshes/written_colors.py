"""Colours of vertices and faces as OBJ, PLY and OFF files write them -> linear light.

They are sRGB, as fractions or in 0..255; not every format says which, and then the greatest does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from captionless.mesh import Alpha
from captionless.precompute.meshes.colour import linear, srgb


def light(written: NDArray[np.floating], full: float = 1.0) -> NDArray[np.float32]:
    """(N, 3) or (N, 4) colours, of which `full` is full light -> (N, 4) in linear light, and opacity.

    With `full` 1, all are taken as of 255 if one is above 1, but opacities only if one of them is. What is not finite
    counts as 0, as opacity as 1.
    """
    rgb = np.nan_to_num(written[:, :3].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    opacity = np.ones(len(written))
    if written.shape[1] > 3:
        opacity = np.nan_to_num(written[:, 3].astype(np.float64), nan=full, posinf=full, neginf=full)
    of_opacity = 255.0 if full == 1.0 and opacity.max(initial=0.0) > 1.0 else full
    of_rgb = 255.0 if full == 1.0 and max(rgb.max(initial=0.0), opacity.max(initial=0.0)) > 1.0 else full
    if written.shape[1] > 3:
        opacity = np.clip(opacity / of_opacity, 0.0, 1.0)
    return np.column_stack([linear(rgb / of_rgb), opacity]).astype(np.float32)


def levels(colors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(N, 4) in linear light -> (N, 3) in sRGB, 0..255, without opacity."""
    return np.rint(255 * srgb(colors[:, :3])).astype(np.uint8)


def see_through(colors: NDArray[np.float32]) -> Alpha:
    """How the opacity of colours (N, 4) is meant."""
    return "blend" if (colors[:, 3] < 1.0).any() else "opaque"
