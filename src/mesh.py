"""The one mesh type between the sources of objects and the renderer and sampler.

A `Mesh` is a list of `MeshPart`s, each a triangle soup with at most one texture. Every
source converts to it on reading, to y-up, so that nothing downstream needs to know
file formats or axes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Up = Literal["x", "y", "z"]

# Rotations (applied as vertices @ R.T) that bring the named up axis to +y and keep
# a right-handed frame: z-up turns about x, x-up turns about z.
_TO_Y_UP: dict[str, NDArray[np.float64]] = {
    "y": np.eye(3),
    "z": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "x": np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]]),
}


@dataclass(frozen=True)
class MeshPart:
    """Triangles that share one appearance.

    vertices: (V, 3) float32. faces: (F, 3) int32 into vertices.
    color: (r, g, b) in 0..255, what the part looks like where it has no texture.
    face_colors: (F, 3) uint8 or None, instead of `color`.
    uv: (V, 2) float32 and texture: (H, W, 3) uint8, both or neither; v = 0 is the
    bottom row of the picture, as in OpenGL.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    color: tuple[int, int, int] = (178, 178, 178)
    face_colors: NDArray[np.uint8] | None = None
    uv: NDArray[np.float32] | None = None
    texture: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Mesh:
    """An object's surface, y-up, in the units it came in."""

    parts: tuple[MeshPart, ...] = field(default_factory=tuple)

    @property
    def vertices(self) -> NDArray[np.float32]:
        """All parts' vertices, (V, 3)."""
        return np.concatenate([p.vertices for p in self.parts]) if self.parts else np.zeros((0, 3), np.float32)

    @property
    def face_count(self) -> int:
        return sum(len(p.faces) for p in self.parts)

    def rotated(self, rotation: NDArray[np.float64]) -> Mesh:
        """The mesh with every vertex v replaced by `rotation @ v`."""
        return Mesh(tuple(replace(p, vertices=(p.vertices @ rotation.T).astype(np.float32)) for p in self.parts))

    def y_up(self, up: Up) -> Mesh:
        """The mesh turned so that its `up` axis becomes +y."""
        return self if up == "y" else self.rotated(_TO_Y_UP[up])


def points_y_up(points: NDArray[np.floating], up: Up) -> NDArray[np.floating]:
    """(..., 3) points turned so that their `up` axis becomes +y."""
    return points if up == "y" else (points @ _TO_Y_UP[up].T).astype(points.dtype)
