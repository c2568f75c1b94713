"""The one mesh type between the sources of objects and the renderer and sampler.

A `Mesh` is a list of `MeshPart`s, each a triangle soup of one material. Every
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


Wrap = Literal["repeat", "mirror", "clamp"]
"""What a texture shows beyond its edges."""

Alpha = Literal["opaque", "mask", "blend"]
"""What opacity means: nothing; a surface that is there from `cutoff` on, and else is not; a share of what is seen."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A texture. Parts may share one.

    texels: (H, W, 4) uint8, sRGB and straight alpha, top row first. wrap: along u and along v. is_sharp: texels larger
    than a sample have edges; they blend into each other otherwise.
    """

    texels: NDArray[np.uint8]
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    is_sharp: bool = False


@dataclass(frozen=True, eq=False)
class Glow:
    """What a part emits, which is added to its base colour.

    color: in linear light. picture: multiplies it, decoded from sRGB, at uv (V, 2) float64; both or neither.
    """

    color: tuple[float, float, float]
    uv: NDArray[np.float64] | None = None
    picture: Picture | None = None


@dataclass(frozen=True, eq=False)
class MeshPart:
    """Triangles that share one appearance.

    vertices: (V, 3) float64; they stay so until they are centred and scaled, since coordinates on a map have no
    place in float32. faces: (F, 3) int32 into vertices.

    Base colour: the texel of `texture` where there is one, or else that of face_colors (F, 3) uint8, or else `color`,
    all of them sRGB in 0..255. A point's colour is, in linear light, base * factor * vertex_colors + glow; its opacity
    texel alpha * factor[3] * vertex alpha, and `alpha` says what that means.

    uv: (V, 2) float64, where there is a texture; v = 0 is the bottom row of the picture, as in OpenGL. Transforms of
    the texture are applied to it already.
    factor: linear light, and opacity. vertex_colors: (V, 4) float32, likewise; a face has them interpolated.
    unlit: seen in its own colour, without light.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    color: tuple[int, int, int] = (178, 178, 178)
    face_colors: NDArray[np.uint8] | None = None
    uv: NDArray[np.float64] | None = None
    texture: Picture | None = None
    factor: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    vertex_colors: NDArray[np.float32] | None = None
    alpha: Alpha = "opaque"
    cutoff: float = 0.5
    glow: Glow | None = None
    unlit: bool = False


@dataclass(frozen=True)
class Mesh:
    """An object's surface, y-up, in the units it came in."""

    parts: tuple[MeshPart, ...] = field(default_factory=tuple)

    @property
    def vertices(self) -> NDArray[np.float64]:
        """All parts' vertices, (V, 3)."""
        return np.concatenate([p.vertices for p in self.parts]) if self.parts else np.zeros((0, 3))

    @property
    def face_count(self) -> int:
        return sum(len(p.faces) for p in self.parts)

    def rotated(self, rotation: NDArray[np.float64]) -> Mesh:
        """The mesh with every vertex v replaced by `rotation @ v`."""
        return Mesh(tuple(replace(p, vertices=p.vertices @ rotation.T) for p in self.parts))

    def y_up(self, up: Up) -> Mesh:
        """The mesh turned so that its `up` axis becomes +y."""
        return self if up == "y" else self.rotated(_TO_Y_UP[up])


def points_y_up(points: NDArray[np.floating], up: Up) -> NDArray[np.floating]:
    """(..., 3) points turned so that their `up` axis becomes +y."""
    return points if up == "y" else (points @ _TO_Y_UP[up].T).astype(points.dtype)
