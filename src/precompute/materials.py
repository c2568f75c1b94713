"""What parts look like: the one place that says what a base colour, a factor, vertex colours and a glow make together.

A point's colour is, in linear light, base * factor * vertex colour + glow, and is seen as sRGB. Clouds have it by
`seen`, in float64; views by `tinted`, in float32 and from tables, so that pictures do not depend on a machine's powers
and roots. Plain parts, whose colour is their base, are left as they are by both, to the level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.mesh import MeshPart, Picture
from captionless.precompute.meshes.colour import linear, srgb
from captionless.precompute.textures import Atlas, atlas

MASK, BLEND = 1, 2
_ALPHAS = {"opaque": 0, "mask": MASK, "blend": BLEND}

# Columns of `Materials.numbers`: factor and opacity, glow, and the opacity from which on a mask is there.
FACTOR, OPACITY, GLOW, CUTOFF = 0, 3, 4, 7
# Columns of `Materials.kinds`: the texture's and the glow's number, -1 if there is none; how opacity counts; whether
# the part has no light, and whether its colour is more than its base.
TEXTURE, GLOW_TEXTURE, ALPHA, UNLIT, TINTED = 0, 1, 2, 3, 4

_STEPS = 1024
_LINEAR = linear(np.arange(256) / 255).astype(np.float32)
_SRGB = (255 * srgb((np.arange(_STEPS + 1) / _STEPS) ** 2)).astype(np.float32)  # by the root: steep where it is dark


class Materials(NamedTuple):
    """The looks of M parts as the kernels take them: numbers (M, 8) float32, kinds (M, 5) int32, and their textures."""

    numbers: NDArray[np.float32]
    kinds: NDArray[np.int32]
    atlas: Atlas


def is_tinted(part: MeshPart) -> bool:
    """Whether a part's colour is more than its base."""
    return part.factor[:3] != (1, 1, 1) or part.vertex_colors is not None or part.glow is not None


def materials(parts: Sequence[MeshPart]) -> Materials:
    """The table of the parts' looks; parts may share a texture."""
    pictures: dict[Picture, int] = {}
    numbers = np.zeros((len(parts), 8), np.float32)
    kinds = np.zeros((len(parts), 5), np.int32)
    for part, number, kind in zip(parts, numbers, kinds, strict=True):
        glow = part.glow
        number[FACTOR : OPACITY + 1] = part.factor
        number[GLOW : GLOW + 3] = glow.color if glow is not None else 0.0
        number[CUTOFF] = part.cutoff
        kind[TEXTURE] = _number(pictures, part.texture if part.uv is not None else None)
        kind[GLOW_TEXTURE] = _number(pictures, glow.picture if glow is not None and glow.uv is not None else None)
        kind[ALPHA:] = _ALPHAS[part.alpha], part.unlit, is_tinted(part)
    return Materials(numbers, kinds, atlas(list(pictures)))


def _number(pictures: dict[Picture, int], picture: Picture | None) -> int:
    return -1 if picture is None else pictures.setdefault(picture, len(pictures))


def seen(
    base: NDArray[np.uint8],
    factor: tuple[float, float, float, float],
    vertex: NDArray[np.floating] | None,
    glow: NDArray[np.floating] | None,
) -> NDArray[np.uint8]:
    """(n, 3) colours of points whose base colours are (n, 3), sRGB like these; vertex and glow: (n, 3) in linear
    light."""
    light = linear(base / 255.0) * np.array(factor[:3], np.float64)
    if vertex is not None:
        light = light * vertex
    if glow is not None:
        light = light + glow
    colors: NDArray[np.uint8] = np.rint(255.0 * srgb(light)).astype(np.uint8)
    return colors


@numba.njit(cache=True, nogil=True, error_model="numpy")
def tinted(level: np.float32, times: np.float32, plus: np.float32) -> np.float32:
    """A channel's level of sRGB, 0 to 255, once its light is multiplied and added to."""
    light = min(max(to_light(level) * times + plus, np.float32(0)), np.float32(1))
    at = np.sqrt(light) * np.float32(_STEPS)
    below = min(int(at), _STEPS - 1)
    first = _SRGB[below]
    found: np.float32 = first + (at - np.float32(below)) * (_SRGB[below + 1] - first)
    return found


@numba.njit(cache=True, nogil=True, error_model="numpy")
def to_light(level: np.float32) -> np.float32:
    """Linear light of a level of sRGB, 0 to 255, between those of whole levels."""
    below = min(int(level), 254)
    first = _LINEAR[below]
    found: np.float32 = first + (level - np.float32(below)) * (_LINEAR[below + 1] - first)
    return found
