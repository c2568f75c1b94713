"""A KTX 2.0 file -> texels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from captionless.precompute.meshes.ktx2 import etc1s, uastc
from captionless.precompute.meshes.ktx2.container import ETC1S, UASTC, open_texture


def read(data: bytes) -> NDArray[np.uint8]:
    """(H, W, 4) uint8 of the largest level, top row first, straight alpha. `container.Damaged`, a ValueError, says in
    part of a sentence what is wrong with the file."""
    texture = open_texture(data)
    if texture.model == ETC1S:
        return etc1s.texels(texture)
    if texture.model == UASTC:
        return uastc.texels(texture)
    stored = np.frombuffer(texture.level, np.uint8).reshape(texture.height, texture.width, texture.channels)
    found = np.full((texture.height, texture.width, 4), 255, np.uint8)
    found[..., : texture.channels] = stored
    return found
