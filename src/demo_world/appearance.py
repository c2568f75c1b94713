"""Colours and textures, drawn without a look at the structure.

An encoder that sees structure must not be able to guess it from a finish, so a finish
depends on nothing but its seed and its name. About half of them have a texture; it
repeats over the texture coordinates that come with the solids.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captionless.demo_world.shapes import Solid
from captionless.mesh import MeshPart, Picture

_SIZE = 64
_Field = Callable[[np.random.Generator], NDArray[np.float64]]


def _grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    line = (np.arange(_SIZE) + 0.5) / _SIZE
    v, u = np.meshgrid(line, line, indexing="ij")
    return u, v


def _noise(random: np.random.Generator, columns: int, rows: int) -> NDArray[np.float64]:
    """Smooth noise in 0..1 that repeats without a seam: a coarse random grid, interpolated."""
    coarse = random.random((rows, columns))
    u, v = _grid()
    x, y = u * columns, v * rows
    i, j = np.floor(y).astype(int), np.floor(x).astype(int)
    s, t = y - i, x - j
    s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
    below, right = (i + 1) % rows, (j + 1) % columns
    top = coarse[i, j] * (1 - t) + coarse[i, right] * t
    bottom = coarse[below, j] * (1 - t) + coarse[below, right] * t
    return np.asarray(top * (1 - s) + bottom * s)


def _stripes(random: np.random.Generator) -> NDArray[np.float64]:
    u, v = _grid()
    across = (u, v, (u + v) % 1.0)[random.integers(3)]
    return (((across * random.integers(2, 5)) % 1.0) < random.uniform(0.3, 0.7)).astype(float)


def _checks(random: np.random.Generator) -> NDArray[np.float64]:
    u, v = _grid()
    count = 2 * random.integers(1, 4)
    return (np.floor(u * count) + np.floor(v * count)) % 2.0


def _dots(random: np.random.Generator) -> NDArray[np.float64]:
    u, v = _grid()
    count = random.integers(2, 4)
    return (np.hypot((u * count) % 1.0 - 0.5, (v * count) % 1.0 - 0.5) < random.uniform(0.2, 0.4)).astype(float)


def _grain(random: np.random.Generator) -> NDArray[np.float64]:
    u, _ = _grid()
    bent = u * random.integers(3, 7) + 0.6 * _noise(random, 2, 2)
    return 0.5 + 0.3 * np.sin(2 * np.pi * bent) + 0.2 * _noise(random, 24, 2)


def _cloudy(random: np.random.Generator) -> NDArray[np.float64]:
    return 0.6 * _noise(random, 4, 4) + 0.4 * _noise(random, 16, 16)


_PATTERNS: tuple[_Field, ...] = (_stripes, _checks, _dots, _grain, _cloudy)


def _colour(random: np.random.Generator) -> NDArray[np.float64]:
    """(3,) in 0..255: any hue, from pale to strong, never near black (shading must stay visible)."""
    hue, saturation, value = random.random(), random.random() ** 1.3, random.uniform(0.35, 0.95)
    return 255.0 * np.array(colorsys.hsv_to_rgb(hue, 0.9 * saturation, value))


@dataclass(frozen=True)
class Finish:
    """A colour, or a texture repeated `scale` times a unit."""

    color: tuple[int, int, int]
    texture: Picture | None
    scale: float

    @staticmethod
    def drawn(seed: int) -> Finish:
        random = np.random.default_rng(seed)
        base = _colour(random)
        color = (int(base[0]), int(base[1]), int(base[2]))
        if random.random() < 0.5:
            return Finish(color, None, 1.0)
        field = _PATTERNS[random.integers(len(_PATTERNS))](random)
        other = base + random.uniform(0.25, 1.0) * (_colour(random) - base)
        picture = base + field[..., None] * (other - base)
        texels = np.full((_SIZE, _SIZE, 4), 255, np.uint8)
        texels[..., :3] = np.clip(picture, 0, 255).astype(np.uint8)
        return Finish(color, Picture(texels), float(random.uniform(0.7, 2.5)))

    def on(self, solid: Solid) -> MeshPart:
        """`solid` in this finish."""
        vertices = _rounded(solid.vertices)
        if self.texture is None:
            return MeshPart(vertices, solid.faces, self.color)
        return MeshPart(vertices, solid.faces, self.color, uv=_rounded(solid.uv * self.scale), texture=self.texture)


def _rounded(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """The values in single precision, which meshes of VERSION 1 have."""
    return values.astype(np.float32).astype(np.float64)
