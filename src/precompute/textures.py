"""Textures with their smaller copies, in one array for the compiled rasteriser, and how its kernels look them up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captionless.mesh import Picture

REPEAT, MIRROR, CLAMP = 0, 1, 2
_WRAPS = {"repeat": REPEAT, "mirror": MIRROR, "clamp": CLAMP}


class Atlas(NamedTuple):
    """texels: those of all levels of all textures as whole numbers, red in the lowest byte, then green, blue and alpha;
    the bottom row of each first, since there v is 0.

    levels: (T, L, 3) int64: where each level of each texture begins, its width and its height. A level has half the
    width and height of the one before, down to one texel, which stands for all that follow. wrap: (T, 3) int64, along
    u and v: one of REPEAT, MIRROR, CLAMP; then whether texels that are larger than a sample have edges.
    """

    texels: NDArray[np.uint32]
    levels: NDArray[np.int64]
    wrap: NDArray[np.int64]


def atlas(pictures: Sequence[Picture]) -> Atlas:
    """The atlas of pictures."""
    chains = [_chain(picture.texels) for picture in pictures]
    levels = np.zeros((len(chains), max((len(chain) for chain in chains), default=1), 3), np.int64)
    parts = [np.zeros(0, np.uint32)]
    start = 0
    for of, chain in zip(levels, chains, strict=True):
        for level, picture in zip(of, chain, strict=False):
            height, width = picture.shape[:2]
            level[:] = start, width, height
            red, green, blue, alpha = np.moveaxis(picture.astype(np.uint32), 2, 0)
            parts.append((red | green << 8 | blue << 16 | alpha << 24).reshape(-1))
            start += width * height
        of[len(chain) :] = of[len(chain) - 1]
    wrap = np.array([[*(_WRAPS[along] for along in p.wrap), p.is_sharp] for p in pictures], np.int64).reshape(-1, 3)
    return Atlas(np.concatenate(parts), levels, wrap)


def _chain(texels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """A texture and its smaller copies: means of colour apart from alpha, as the hardware makes them."""
    color, alpha = np.ascontiguousarray(texels[::-1, :, :3]), np.ascontiguousarray(texels[::-1, :, 3])
    found = [np.dstack([color, alpha])]
    while alpha.shape != (1, 1):
        height, width = (max(1, side // 2) for side in alpha.shape)
        color, alpha = (
            np.asarray(Image.fromarray(levels).resize((width, height), Image.Resampling.BOX))
            for levels in (color, alpha)
        )
        found.append(np.dstack([color, alpha]))
    return found


@numba.njit(cache=True, nogil=True, error_model="numpy")
def look_up(
    texels: NDArray[np.uint32],
    levels: NDArray[np.int64],
    wrap: NDArray[np.int64],
    of: int,
    u: np.float32,
    v: np.float32,
    extent: np.float32,
) -> tuple[np.float32, np.float32, np.float32]:
    """A texture's colour, 0 to 255, at (u, v), in texels of its largest level: between four texels of each of the two
    levels whose texels are about as large as a sample. extent: how far the next sample is, in texels, squared."""
    lower, share, u, v = _placed(levels, wrap, of, u, v, extent)
    red, green, blue = _blend(texels, levels, wrap, of, lower, u, v)
    if share > 0:
        r, g, b = _blend(texels, levels, wrap, of, lower + 1, u, v)
        red, green, blue = red + share * (r - red), green + share * (g - green), blue + share * (b - blue)
    return red, green, blue


@numba.njit(cache=True, nogil=True, error_model="numpy")
def look_up_alpha(
    texels: NDArray[np.uint32],
    levels: NDArray[np.int64],
    wrap: NDArray[np.int64],
    of: int,
    u: np.float32,
    v: np.float32,
    extent: np.float32,
) -> np.float32:
    """A texture's alpha, 0 to 255, as `look_up` finds its colour."""
    lower, share, u, v = _placed(levels, wrap, of, u, v, extent)
    alpha = _blend_alpha(texels, levels, wrap, of, lower, u, v)
    if share > 0:
        alpha += share * (_blend_alpha(texels, levels, wrap, of, lower + 1, u, v) - alpha)
    return alpha


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _placed(
    levels: NDArray[np.int64],
    wrap: NDArray[np.int64],
    of: int,
    u: np.float32,
    v: np.float32,
    extent: np.float32,
) -> tuple[int, np.float32, np.float32, np.float32]:
    """The level to look a texture up in, the share of the one after it, and where, from 0 to 1."""
    lower, last = 0, levels.shape[1] - 1
    while extent >= 4 and lower < last:
        extent *= np.float32(0.25)
        lower += 1
    share = np.float32(0)
    if extent > 1 and lower < last:
        share = (extent - np.float32(1)) * np.float32(1 / 3)  # nearly the logarithm
    u = _wrapped(u / np.float32(levels[of, 0, 1]), wrap[of, 0])
    v = _wrapped(v / np.float32(levels[of, 0, 2]), wrap[of, 1])
    if extent <= 1 and wrap[of, 2]:
        u, v = _centre(u, levels[of, 0, 1]), _centre(v, levels[of, 0, 2])
    return lower, share, u, v


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _wrapped(value: np.float32, wrap: int) -> np.float32:
    """Where a place on a texture, in turns, is within its edges."""
    if wrap == CLAMP:
        return min(max(value, np.float32(0)), np.float32(1))
    if wrap == MIRROR:
        rest = _turn(value * np.float32(0.5)) * np.float32(2)
        return np.float32(2) - rest if rest > 1 else rest
    return _turn(value)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _centre(value: np.float32, count: int) -> np.float32:
    """The centre of the texel at a place, 0 to 1, in a row of so many."""
    return (np.float32(min(int(value * np.float32(count)), count - 1)) + np.float32(0.5)) / np.float32(count)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _turn(value: np.float32) -> np.float32:
    """The part of a number after its point."""
    rest = value - np.float32(np.int32(value))
    return rest if rest >= 0 else rest + np.float32(1)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _around(value: np.float32, count: int, wrap: int) -> tuple[int, int, np.float32]:
    """The two texels on both sides of a place, 0 to 1, in a row of so many, and how far it is from the first."""
    x = value * np.float32(count) + np.float32(0.5)
    after = int(x)
    share = x - np.float32(after)
    if wrap == REPEAT:
        return (after if after > 0 else count) - 1, after if after < count else 0, share
    return max(after - 1, 0), min(after, count - 1), share


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _blend(
    texels: NDArray[np.uint32],
    levels: NDArray[np.int64],
    wrap: NDArray[np.int64],
    of: int,
    level: int,
    u: np.float32,
    v: np.float32,
) -> tuple[np.float32, np.float32, np.float32]:
    """The colour between the four texels around (u, v), from 0 to 1, of a level."""
    start, width, height = levels[of, level, 0], levels[of, level, 1], levels[of, level, 2]
    left, right, across = _around(u, width, wrap[of, 0])
    above, below, down = _around(v, height, wrap[of, 1])
    upper, lower = start + above * width, start + below * width
    a, b = texels[upper + left], texels[upper + right]
    c, d = texels[lower + left], texels[lower + right]
    return (
        _between(a, b, c, d, 0, across, down),
        _between(a, b, c, d, 8, across, down),
        _between(a, b, c, d, 16, across, down),
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _blend_alpha(
    texels: NDArray[np.uint32],
    levels: NDArray[np.int64],
    wrap: NDArray[np.int64],
    of: int,
    level: int,
    u: np.float32,
    v: np.float32,
) -> np.float32:
    start, width, height = levels[of, level, 0], levels[of, level, 1], levels[of, level, 2]
    left, right, across = _around(u, width, wrap[of, 0])
    above, below, down = _around(v, height, wrap[of, 1])
    upper, lower = start + above * width, start + below * width
    a, b = texels[upper + left], texels[upper + right]
    c, d = texels[lower + left], texels[lower + right]
    return _between(a, b, c, d, 24, across, down)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _between(
    a: np.uint32, b: np.uint32, c: np.uint32, d: np.uint32, shift: int, across: np.float32, down: np.float32
) -> np.float32:
    """A byte of four texels, blended across and down."""
    first, second = np.float32(np.int32(a >> shift & 255)), np.float32(np.int32(c >> shift & 255))
    first += across * (np.float32(np.int32(b >> shift & 255)) - first)
    second += across * (np.float32(np.int32(d >> shift & 255)) - second)
    return first + down * (second - first)
