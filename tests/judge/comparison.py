"""How alike two views of an object are: silhouettes, and colours of what both see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

IOU = 0.98
SHARE = 0.97
NEAR = 8
"""Of 255, in every channel."""
FEWEST = 25
"""Interior pixels of which a share says something."""


@dataclass(frozen=True)
class Likeness:
    """iou: of the silhouettes. share: of the interior pixels, those whose colours are near. interior: their number."""

    iou: float
    share: float
    interior: int

    @property
    def agrees(self) -> bool:
        return self.iou >= IOU and (self.share >= SHARE or self.interior < FEWEST)


def compare(one: Pixels, other: Pixels) -> Likeness:
    """The likeness of two views (S, S, 4), RGBA, straight alpha."""
    first, second = silhouette(one), silhouette(other)
    either, both = first | second, first & second
    interior = eroded(first) & eroded(second)
    near = difference(one, other) <= NEAR
    count = int(interior.sum())
    return Likeness(
        iou=float(both.sum() / either.sum()) if either.any() else 1.0,
        share=float((near & interior).sum() / count) if count else 1.0,
        interior=count,
    )


def silhouette(view: Pixels) -> Mask:
    """(S, S): where something of the object is seen, be it hardly opaque."""
    return view[..., 3] > 1


def eroded(mask: Mask) -> Mask:
    """The mask without those at its edge: all eight neighbours are in it. What is beyond the picture is not."""
    padded = np.pad(mask, 1)
    height, width = mask.shape
    found = mask.copy()
    for row in range(3):
        for column in range(3):
            found &= padded[row : row + height, column : column + width]
    return found


def difference(one: Pixels, other: Pixels) -> NDArray[np.float64]:
    """(S, S) the largest difference of a channel in levels: of opacity, and of colour as it is seen on white and on
    black."""
    found = np.abs(one[..., 3].astype(np.float64) - other[..., 3])
    for ground in (0.0, 255.0):
        found = np.maximum(found, np.abs(_on(one, ground) - _on(other, ground)).max(axis=2))
    return found


def _on(view: Pixels, ground: float) -> NDArray[np.float64]:
    alpha = view[..., 3:].astype(np.float64) / 255.0
    return view[..., :3] * alpha + ground * (1.0 - alpha)
