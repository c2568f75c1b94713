"""Meshes and textures as tests write them down."""

from __future__ import annotations

from typing import Any

import numpy as np
import trimesh
from numpy.typing import ArrayLike, NDArray

from captionless.mesh import MeshPart, Picture, Wrap


def painted(levels: NDArray[np.uint8], wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")) -> Picture:
    """A texture of (H, W, 3) or (H, W, 4) levels, opaque if they say nothing of it."""
    texels = np.full((*levels.shape[:2], 4), 255, np.uint8)
    texels[..., : levels.shape[2]] = levels
    return Picture(texels, wrap)


def part(shape: trimesh.Trimesh, **look: Any) -> MeshPart:
    """A shape of trimesh's as a part."""
    return MeshPart(np.asarray(shape.vertices, np.float64), np.asarray(shape.faces, np.int32), **look)


def quad(corners: ArrayLike, **look: Any) -> MeshPart:
    """Two triangles from four corners, counterclockwise from the lower left."""
    return MeshPart(np.array(corners, np.float64), np.array([[0, 1, 2], [0, 2, 3]], np.int32), **look)
