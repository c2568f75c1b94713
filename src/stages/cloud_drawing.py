"""Draws a cloud from the viewpoint of the gallery's pictures: what the encoder is given of a shape."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from captionless.store.views import AZIMUTH

_ELEVATION = 20.0  # degrees: that of the pictures beside it, see `precompute.render`
_RADIUS = 0.016  # of a point, the cloud's being 1


def draw(cloud: NDArray[np.floating], size: int = 224, colored: bool = False, reach: float = 1.05) -> NDArray[np.uint8]:
    """(size, size, 4) RGBA of a cloud (P, 6), or (P, 3 or more) without colours: dots, darker with distance, on a
    transparent ground; in the points' own colours if `colored`. `reach`: from the middle to a side, a stored cloud's
    radius being 1."""
    xyz = cloud[:, :3].astype(np.float64)
    a, e = math.radians(AZIMUTH), math.radians(_ELEVATION)
    towards = np.array([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])
    right = np.array([math.cos(a), 0.0, -math.sin(a)])
    depth = xyz @ towards
    centre = (np.stack([xyz @ right, -(xyz @ np.cross(towards, right))], axis=1) / (2 * reach) + 0.5) * size
    dot = max(1, round(_RADIUS * size / 2))
    offsets = np.stack(np.meshgrid(*[np.arange(-dot, dot + 1)] * 2), axis=-1).reshape(-1, 2)
    offsets = offsets[(offsets**2).sum(axis=1) <= dot**2]
    picture = np.zeros((size, size, 4), np.uint8)
    for at in np.argsort(depth, kind="stable"):  # the nearest last, over the others
        column, row = np.clip(np.rint(centre[at]).astype(np.int64) + offsets, 0, size - 1).T
        color = tuple(np.rint(cloud[at, 3:].astype(np.float64) * 255)) if colored else _shade(depth[at])
        picture[row, column] = (*color, 255)
    return picture


def _shade(depth: float) -> tuple[int, int, int]:
    """From a dark to a light blue grey, by the depth in [-1, 1]."""
    near = (np.clip(depth, -1, 1) + 1) / 2
    red, green, blue = (round(float(low + (high - low) * near)) for low, high in ((40, 110), (60, 140), (90, 180)))
    return red, green, blue
