"""A float64 reference of what a mesh looks like at a point of its surface, by the words of `MeshPart`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from captionless.mesh import Mesh, MeshPart, Picture
from captionless.precompute.meshes.colour import linear, srgb

_NEAR = 1e-6


def look_at(mesh: Mesh, point: NDArray[np.float64]) -> tuple[tuple[float, float, float], float]:
    """The colour, sRGB in 0..255, and the opacity of the mesh at a point of the first triangle there."""
    for part in mesh.parts:
        for face, corners in enumerate(part.faces):
            weights = _weights(part.vertices[corners], point)
            if weights is not None:
                return _look(part, face, corners, weights)
    raise AssertionError(f"no triangle at {point}")


def _weights(corners: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Barycentric coordinates of a point that lies in a triangle."""
    a, b, c = corners
    found, *_ = np.linalg.lstsq(np.stack([b - a, c - a], axis=1), point - a, rcond=None)
    weights = np.array([1 - found.sum(), *found])
    lies = (weights > -_NEAR).all() and np.abs(weights @ corners - point).max() < _NEAR
    return weights if lies else None


def _texel(picture: Picture, uv: NDArray[np.float64]) -> NDArray[np.uint8]:
    height, width = picture.texels.shape[:2]
    u, v = (x % 1.0 if wrap == "repeat" else min(max(x, 0.0), 1.0) for x, wrap in zip(uv, picture.wrap, strict=True))
    texel: NDArray[np.uint8] = picture.texels[min(int((1 - v) * height), height - 1), min(int(u * width), width - 1)]
    return texel


def _look(
    part: MeshPart, face: int, corners: NDArray[np.int32], weights: NDArray[np.float64]
) -> tuple[tuple[float, float, float], float]:
    base = np.array(part.color if part.face_colors is None else part.face_colors[face], np.float64)
    opacity = part.factor[3]
    if part.texture is not None:
        assert part.uv is not None
        texel = _texel(part.texture, weights @ part.uv[corners])
        base, opacity = texel[:3].astype(np.float64), opacity * texel[3] / 255
    light = linear(base / 255) * part.factor[:3]
    if part.vertex_colors is not None:
        own = weights @ part.vertex_colors[corners].astype(np.float64)
        light, opacity = light * own[:3], opacity * own[3]
    if part.glow is not None:
        glow = np.array(part.glow.color)
        if part.glow.picture is not None:
            assert part.glow.uv is not None
            glow = glow * linear(_texel(part.glow.picture, weights @ part.glow.uv[corners])[:3] / 255)
        light = light + glow
    red, green, blue = (255 * srgb(light)).tolist()
    return (red, green, blue), 1.0 if part.alpha == "opaque" else float(opacity)
