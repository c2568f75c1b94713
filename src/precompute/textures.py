"""Textures with their smaller copies, in one array for the compiled rasteriser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class Atlas:
    """texels: those of all levels of all textures as whole numbers, red in the lowest byte, then green and blue; the
    bottom row of each first, since there v is 0.

    levels: (T, L, 3) int64: where each level of each texture begins, its width and its height. A level has half the
    width and height of the one before, down to one texel, which stands for all that follow.
    """

    texels: NDArray[np.uint32]
    levels: NDArray[np.int64]


def atlas(pictures: Sequence[NDArray[np.uint8]]) -> Atlas:
    """The atlas of pictures (H, W, 3), top row first."""
    chains = [_chain(picture) for picture in pictures]
    levels = np.zeros((len(chains), max((len(chain) for chain in chains), default=1), 3), np.int64)
    parts = [np.zeros(0, np.uint32)]
    start = 0
    for of, chain in zip(levels, chains, strict=True):
        for level, picture in zip(of, chain, strict=False):
            height, width = picture.shape[:2]
            level[:] = start, width, height
            red, green, blue = np.moveaxis(picture.astype(np.uint32), 2, 0)
            parts.append((red | green << 8 | blue << 16).reshape(-1))
            start += width * height
        of[len(chain) :] = of[len(chain) - 1]
    return Atlas(np.concatenate(parts), levels)


def _chain(picture: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    found = [np.ascontiguousarray(picture[::-1])]
    while found[-1].shape[:2] != (1, 1):
        height, width = (max(1, side // 2) for side in found[-1].shape[:2])
        smaller = Image.fromarray(found[-1]).resize((width, height), Image.Resampling.BOX)
        found.append(np.asarray(smaller))
    return found
