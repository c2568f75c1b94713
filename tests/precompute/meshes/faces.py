"""What a mesh shows in the middle of each face: the colours of `MeshPart` written down once more, in plain float64, for
tests of readers. Textures are looked up without any smoothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.mesh import Mesh, MeshPart, Picture

Array = NDArray[np.float64]


def triangles(mesh: Mesh) -> Array:
    """(F, 3, 3) of all parts, in order."""
    return np.concatenate([part.vertices[part.faces] for part in mesh.parts]) if mesh.parts else np.zeros((0, 3, 3))


def middles(mesh: Mesh) -> tuple[Array, Array]:
    """(F, 3) levels of sRGB and (F,) opacity, in the middle of each face."""
    found = [_middles(part) for part in mesh.parts]
    return np.concatenate([c for c, _ in found]), np.concatenate([o for _, o in found])


def _middles(part: MeshPart) -> tuple[Array, Array]:
    count = len(part.faces)
    base = np.tile(np.array([*part.color, 255.0]), (count, 1))
    if part.face_colors is not None:
        base[:, :3] = part.face_colors
    if part.texture is not None:
        assert part.uv is not None
        base = _texels(part.texture, part.uv[part.faces].mean(axis=1))
    light, opacity = _linear(base[:, :3]) * part.factor[:3], base[:, 3] / 255 * part.factor[3]
    if part.vertex_colors is not None:
        vertex = part.vertex_colors[part.faces].astype(np.float64).mean(axis=1)
        light, opacity = light * vertex[:, :3], opacity * vertex[:, 3]
    if part.glow is not None:
        glow = np.tile(np.array(part.glow.color), (count, 1))
        if part.glow.picture is not None:
            assert part.glow.uv is not None
            glow = glow * _linear(_texels(part.glow.picture, part.glow.uv[part.faces].mean(axis=1))[:, :3])
        light = light + glow
    return _srgb(light), opacity


def _texels(picture: Picture, uv: Array) -> Array:
    height, width = picture.texels.shape[:2]
    u, v = (_wrapped(uv[:, k], picture.wrap[k]) for k in range(2))
    column = np.minimum((u * width).astype(int), width - 1)
    row = np.minimum(((1 - v) * height).astype(int), height - 1)
    return picture.texels[row, column].astype(np.float64)


def _wrapped(x: Array, wrap: str) -> Array:
    if wrap == "clamp":
        return np.clip(x, 0, 1)
    return np.abs((x - 1) % 2 - 1) if wrap == "mirror" else x % 1


def _linear(levels: Any) -> Array:
    x = np.asarray(levels, np.float64) / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def _srgb(light: Any) -> Array:
    x = np.clip(np.asarray(light, np.float64), 0, 1)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055) * 255
