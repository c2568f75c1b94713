"""Shading of a picture's samples by numba: those that are covered, a batch at a time.

The numbers that a batch needs are gathered into rows of one array, so that the arithmetic on them is done on as many at
once as the processor has lanes. It is plain float32 in a fixed order: pictures do not depend on the processor.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.precompute.camera import AMBIENT, DIFFUSE, SPECULAR
from captionless.precompute.materials import (
    FACTOR,
    GLOW,
    GLOW_TEXTURE,
    TEXTURE,
    TINTED,
    UNLIT,
    Materials,
    tinted,
    to_light,
)
from captionless.precompute.rasterizer import HALF, SNAP, TANGENT
from captionless.precompute.textures import look_up

WHOLE = 4096
"""The weight of a sample through which nothing behind it is seen."""

_BATCH = 64

# Rows of the batch's numbers. Of each corner of the sample's face: its place in the picture from the sample on, its
# inverse distance, its normal, and its place on the texture.
_X, _Y, _NEAR, _NORMAL, _UV = 0, 3, 6, 9, 18
# Of the sample: where it is in the picture, from -1 to 1; the weights of the corners, at first twice the area between
# it and the other two, and what they are divided by; what its colour is multiplied with, and what is added; where it
# is on its texture, and how large it is there, squared.
_AT, _WEIGHT, _TOTAL, _BODY, _GLOSS, _TEXTURE, _EXTENT = 24, 26, 29, 30, 31, 32, 34
# The unit normal, and the direction to the eye mirrored by it.
_UNIT, _MIRRORED = 35, 38
_ROWS = 41


class Surfaces(NamedTuple):
    """The faces' looks as the kernels take them.

    Of the F faces: corner normals (F, 3, 3) float32, base colours (F, 3) uint8, rows of `table` (F,) int32, and the
    places of their corners on their textures (F, 3, 2) float32. vertex_colors: (F, 3, 4) float32, and glow_uv, like uv;
    without rows where no part has any.
    """

    normals: NDArray[np.float32]
    colors: NDArray[np.uint8]
    material: NDArray[np.int32]
    uv: NDArray[np.float32]
    vertex_colors: NDArray[np.float32]
    glow_uv: NDArray[np.float32]
    table: Materials


@numba.njit(cache=True, nogil=True, error_model="numpy")
def shade(
    owner: NDArray[np.int32],
    weight: NDArray[np.int32],
    faces: NDArray[np.int32],
    place: NDArray[np.int32],
    inverse: NDArray[np.float32],
    surfaces: Surfaces,
    axes: NDArray[np.float32],
    lights: NDArray[np.float32],
    size: int,
    sums: NDArray[np.int32],
) -> None:
    """Add the samples of a picture of `size` pixels a side to the `sums` of its pixels (size^2, 4).

    owner: (nS, nS), the numbers of the faces (F, 3), into projected vertices, that its samples see; weight: as large,
    how much of them, in parts of `WHOLE`, or (0, 0): all. axes: (3, 3), the camera's; lights: (L, 4), directions
    towards them, of length 1, and intensities; both in the object's axes.
    """
    width = len(owner)
    n = width // size
    batch = np.zeros(_ROWS * _BATCH, np.float32)
    pixel, face, share = np.empty(_BATCH, np.int32), np.empty(_BATCH, np.int32), np.empty(_BATCH, np.int32)
    kinds, levels, uv = surfaces.table.kinds, surfaces.table.atlas.levels, surfaces.uv
    material, normals = surfaces.material, surfaces.normals
    is_textured = bool((kinds[:, TEXTURE] >= 0).any() or (kinds[:, GLOW_TEXTURE] >= 0).any())
    count = 0
    for row in range(width):
        for column in range(width):
            f = owner[row, column]
            if f < 0:
                continue
            share[count] = weight[row, column] if len(weight) else WHOLE
            pixel[count], face[count] = row // n * size + column // n, f
            batch[_AT * _BATCH + count] = np.float32(2 * column + 1) / np.float32(width) - np.float32(1)
            batch[(_AT + 1) * _BATCH + count] = np.float32(1) - np.float32(2 * row + 1) / np.float32(width)
            x, y = np.int64(column * SNAP + HALF), np.int64(row * SNAP + HALF)
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            xa, xb, xc = place[a, 0] - x, place[b, 0] - x, place[c, 0] - x
            ya, yb, yc = place[a, 1] - y, place[b, 1] - y, place[c, 1] - y
            # In whole numbers, so that none of them has another sign, however thin the face.
            batch[_WEIGHT * _BATCH + count] = xb * yc - yb * xc
            batch[(_WEIGHT + 1) * _BATCH + count] = xc * ya - yc * xa
            batch[(_WEIGHT + 2) * _BATCH + count] = xa * yb - ya * xb
            for k in range(3):
                batch[(_NEAR + k) * _BATCH + count] = inverse[faces[f, k]]
                for axis in range(3):
                    batch[(_NORMAL + 3 * k + axis) * _BATCH + count] = normals[f, k, axis]
            if is_textured:
                of = max(kinds[material[f], TEXTURE], 0)
                batch[_X * _BATCH + count] = xa
                batch[(_X + 1) * _BATCH + count] = xb
                batch[(_X + 2) * _BATCH + count] = xc
                batch[_Y * _BATCH + count] = ya
                batch[(_Y + 1) * _BATCH + count] = yb
                batch[(_Y + 2) * _BATCH + count] = yc
                for k in range(3):
                    batch[(_UV + 2 * k) * _BATCH + count] = uv[f, k, 0] * levels[of, 0, 1]
                    batch[(_UV + 2 * k + 1) * _BATCH + count] = uv[f, k, 1] * levels[of, 0, 2]
            count += 1
            if count == _BATCH:
                _shade_batch(batch, is_textured, axes, lights)
                _add(batch, count, pixel, face, share, surfaces, sums)
                count = 0
    _shade_batch(batch, is_textured, axes, lights)
    _add(batch, count, pixel, face, share, surfaces, sums)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def resolve(sums: NDArray[np.int32], samples: int, view: NDArray[np.uint8]) -> None:
    """Fill a view (S, S, 4), RGBA, from its pixels' sums; samples: those of a pixel, covered or not."""
    size = len(view)
    for i in range(len(sums)):
        covered = sums[i, 3]
        pixel = view[i // size, i % size]
        if covered == 0:
            pixel[0], pixel[1], pixel[2], pixel[3] = 255, 255, 255, 0
        else:
            for k in range(3):
                pixel[k] = (sums[i, k] + covered // 2) // covered
            pixel[3] = (255 * covered + WHOLE * samples // 2) // (WHOLE * samples)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _shade_batch(
    batch: NDArray[np.float32], is_textured: bool, axes: NDArray[np.float32], lights: NDArray[np.float32]
) -> None:
    _weigh(batch)
    if is_textured:
        _place_on_texture(batch)
    _mirror(batch, axes)
    for k in range(_BATCH):
        batch[_BODY * _BATCH + k] = 0
        batch[_GLOSS * _BATCH + k] = 0
    for k in range(len(lights)):
        _light(batch, lights[k, 0], lights[k, 1], lights[k, 2], lights[k, 3])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _weigh(batch: NDArray[np.float32]) -> None:
    """The weights of the corners, in perspective, and the unit normal, which is turned where the back is seen."""
    for k in range(_BATCH):
        a = batch[_WEIGHT * _BATCH + k] * batch[_NEAR * _BATCH + k]
        b = batch[(_WEIGHT + 1) * _BATCH + k] * batch[(_NEAR + 1) * _BATCH + k]
        c = batch[(_WEIGHT + 2) * _BATCH + k] * batch[(_NEAR + 2) * _BATCH + k]
        total = a + b + c
        batch[_TOTAL * _BATCH + k] = total
        batch[_WEIGHT * _BATCH + k] = a / total
        batch[(_WEIGHT + 1) * _BATCH + k] = b / total
        batch[(_WEIGHT + 2) * _BATCH + k] = c / total
        # Weights of one sign times their sum have that of a face seen from the front, with y downwards.
        n0, n1, n2 = _NORMAL * _BATCH + k, (_NORMAL + 3) * _BATCH + k, (_NORMAL + 6) * _BATCH + k
        x = -(a * batch[n0] + b * batch[n1] + c * batch[n2])
        y = -(a * batch[n0 + _BATCH] + b * batch[n1 + _BATCH] + c * batch[n2 + _BATCH])
        z = -(a * batch[n0 + 2 * _BATCH] + b * batch[n1 + 2 * _BATCH] + c * batch[n2 + 2 * _BATCH])
        length = np.float32(math.sqrt(x * x + y * y + z * z + np.float32(1e-30)))
        batch[_UNIT * _BATCH + k] = x / length
        batch[(_UNIT + 1) * _BATCH + k] = y / length
        batch[(_UNIT + 2) * _BATCH + k] = z / length


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"nnan", "nsz"})
def _place_on_texture(batch: NDArray[np.float32]) -> None:
    """Where the samples are on their textures, in texels, and how far it is to the next sample there, squared."""
    for k in range(_BATCH):
        xa, xb, xc = batch[_X * _BATCH + k], batch[(_X + 1) * _BATCH + k], batch[(_X + 2) * _BATCH + k]
        ya, yb, yc = batch[_Y * _BATCH + k], batch[(_Y + 1) * _BATCH + k], batch[(_Y + 2) * _BATCH + k]
        na, nb, nc = batch[_NEAR * _BATCH + k], batch[(_NEAR + 1) * _BATCH + k], batch[(_NEAR + 2) * _BATCH + k]
        ua, ub, uc = batch[_UV * _BATCH + k], batch[(_UV + 2) * _BATCH + k], batch[(_UV + 4) * _BATCH + k]
        va, vb, vc = batch[(_UV + 1) * _BATCH + k], batch[(_UV + 3) * _BATCH + k], batch[(_UV + 5) * _BATCH + k]
        a, b, c = batch[_WEIGHT * _BATCH + k], batch[(_WEIGHT + 1) * _BATCH + k], batch[(_WEIGHT + 2) * _BATCH + k]
        u, v = a * ua + b * ub + c * uc, a * va + b * vb + c * vc
        over = np.float32(SNAP) / batch[_TOTAL * _BATCH + k]
        right_a, right_b, right_c = (yb - yc) * na * over, (yc - ya) * nb * over, (ya - yb) * nc * over
        down_a, down_b, down_c = (xc - xb) * na * over, (xa - xc) * nb * over, (xb - xa) * nc * over
        right_u = right_a * (ua - u) + right_b * (ub - u) + right_c * (uc - u)
        right_v = right_a * (va - v) + right_b * (vb - v) + right_c * (vc - v)
        down_u = down_a * (ua - u) + down_b * (ub - u) + down_c * (uc - u)
        down_v = down_a * (va - v) + down_b * (vb - v) + down_c * (vc - v)
        batch[_TEXTURE * _BATCH + k] = u
        batch[(_TEXTURE + 1) * _BATCH + k] = v
        batch[_EXTENT * _BATCH + k] = max(right_u * right_u + right_v * right_v, down_u * down_u + down_v * down_v)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _mirror(batch: NDArray[np.float32], axes: NDArray[np.float32]) -> None:
    """The direction to the eye, mirrored by the normal: a light is as near to it as its mirrored one is to the eye."""
    tangent = np.float32(TANGENT)
    ax, ay, az = axes[0, 0], axes[0, 1], axes[0, 2]
    bx, by, bz = axes[1, 0], axes[1, 1], axes[1, 2]
    cx, cy, cz = axes[2, 0], axes[2, 1], axes[2, 2]
    for k in range(_BATCH):
        p, q = batch[_AT * _BATCH + k] * tangent, batch[(_AT + 1) * _BATCH + k] * tangent
        length = np.float32(math.sqrt(p * p + q * q + np.float32(1)))
        x, y, z = cx - p * ax - q * bx, cy - p * ay - q * by, cz - p * az - q * bz
        nx, ny, nz = batch[_UNIT * _BATCH + k], batch[(_UNIT + 1) * _BATCH + k], batch[(_UNIT + 2) * _BATCH + k]
        along = np.float32(2) * (nx * x + ny * y + nz * z)
        batch[_MIRRORED * _BATCH + k] = (along * nx - x) / length
        batch[(_MIRRORED + 1) * _BATCH + k] = (along * ny - y) / length
        batch[(_MIRRORED + 2) * _BATCH + k] = (along * nz - z) / length


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"nnan", "nsz"})
def _light(batch: NDArray[np.float32], x: np.float32, y: np.float32, z: np.float32, intensity: np.float32) -> None:
    """Add the diffuse and the mirrored light from a direction, after Phong; the latter has the power of 12."""
    zero = np.float32(0)
    for k in range(_BATCH):
        nx, ny, nz = batch[_UNIT * _BATCH + k], batch[(_UNIT + 1) * _BATCH + k], batch[(_UNIT + 2) * _BATCH + k]
        facing = max(nx * x + ny * y + nz * z, zero)
        rx, ry = batch[_MIRRORED * _BATCH + k], batch[(_MIRRORED + 1) * _BATCH + k]
        near = max(rx * x + ry * y + batch[(_MIRRORED + 2) * _BATCH + k] * z, zero)
        fourth = near * near * (near * near)
        power = fourth * fourth * fourth * intensity
        batch[_BODY * _BATCH + k] += facing * intensity
        batch[_GLOSS * _BATCH + k] += power if facing > zero else zero


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add(
    batch: NDArray[np.float32],
    count: int,
    pixel: NDArray[np.int32],
    face: NDArray[np.int32],
    share: NDArray[np.int32],
    surfaces: Surfaces,
    sums: NDArray[np.int32],
) -> None:
    """Add the levels, 0 to 255, of the batch's samples to those of their pixels."""
    # What the loop needs is taken out of its tuple once: each time costs about as much as a look-up.
    kinds, colors, material = surfaces.table.kinds, surfaces.colors, surfaces.material
    texels, levels, wrap = surfaces.table.atlas.texels, surfaces.table.atlas.levels, surfaces.table.atlas.wrap
    for k in range(count):
        f, p = face[k], pixel[k]
        body = np.float32(AMBIENT) + np.float32(DIFFUSE) * batch[_BODY * _BATCH + k]
        gloss = np.float32(255 * SPECULAR) * batch[_GLOSS * _BATCH + k]
        m = material[f]
        if kinds[m, UNLIT]:
            body, gloss = np.float32(1), np.float32(0)
        of = kinds[m, TEXTURE]
        if of < 0:
            red, green, blue = np.float32(colors[f, 0]), np.float32(colors[f, 1]), np.float32(colors[f, 2])
        else:
            u, v = batch[_TEXTURE * _BATCH + k], batch[(_TEXTURE + 1) * _BATCH + k]
            red, green, blue = look_up(texels, levels, wrap, of, u, v, batch[_EXTENT * _BATCH + k])
            body += gloss * np.float32(1 / 255)
            gloss = np.float32(0)
        if kinds[m, TINTED]:
            red, green, blue = _tinted(batch, k, f, m, surfaces, red, green, blue)
        sums[p, 0] += _level(body * red + gloss) * share[k]
        sums[p, 1] += _level(body * green + gloss) * share[k]
        sums[p, 2] += _level(body * blue + gloss) * share[k]
        sums[p, 3] += share[k]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _tinted(
    batch: NDArray[np.float32],
    k: int,
    f: int,
    m: int,
    surfaces: Surfaces,
    red: np.float32,
    green: np.float32,
    blue: np.float32,
) -> tuple[np.float32, np.float32, np.float32]:
    """The colour of a batch's sample from its base colour, 0 to 255, both."""
    table = surfaces.table
    numbers = table.numbers
    a, b, c = batch[_WEIGHT * _BATCH + k], batch[(_WEIGHT + 1) * _BATCH + k], batch[(_WEIGHT + 2) * _BATCH + k]
    r, g, h = numbers[m, FACTOR], numbers[m, FACTOR + 1], numbers[m, FACTOR + 2]
    if len(surfaces.vertex_colors):
        of = surfaces.vertex_colors[f]
        r *= a * of[0, 0] + b * of[1, 0] + c * of[2, 0]
        g *= a * of[0, 1] + b * of[1, 1] + c * of[2, 1]
        h *= a * of[0, 2] + b * of[1, 2] + c * of[2, 2]
    glow_red, glow_green, glow_blue = numbers[m, GLOW], numbers[m, GLOW + 1], numbers[m, GLOW + 2]
    picture = table.kinds[m, GLOW_TEXTURE]
    if picture >= 0:
        width, height = np.float32(table.atlas.levels[picture, 0, 1]), np.float32(table.atlas.levels[picture, 0, 2])
        uv = surfaces.glow_uv[f]
        ua, ub, uc = uv[0, 0] * width, uv[1, 0] * width, uv[2, 0] * width
        va, vb, vc = uv[0, 1] * height, uv[1, 1] * height, uv[2, 1] * height
        u, v = a * ua + b * ub + c * uc, a * va + b * vb + c * vc
        x, y = batch[_X * _BATCH + k :: _BATCH], batch[_Y * _BATCH + k :: _BATCH]
        near = batch[_NEAR * _BATCH + k :: _BATCH]
        over = np.float32(SNAP) / batch[_TOTAL * _BATCH + k]
        extent = extent_of(x, y, near, over, ua - u, ub - u, uc - u, va - v, vb - v, vc - v)
        p, q, s = look_up(table.atlas.texels, table.atlas.levels, table.atlas.wrap, picture, u, v, extent)
        glow_red, glow_green, glow_blue = glow_red * to_light(p), glow_green * to_light(q), glow_blue * to_light(s)
    return tinted(red, r, glow_red), tinted(green, g, glow_green), tinted(blue, h, glow_blue)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def extent_of(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    near: NDArray[np.float32],
    over: np.float32,
    ua: np.float32,
    ub: np.float32,
    uc: np.float32,
    va: np.float32,
    vb: np.float32,
    vc: np.float32,
) -> np.float32:
    """How far it is to the next sample on a texture, squared: see `_place_on_texture`, for one sample.

    x, y, near: its face's corners in the picture, from the sample on, and their inverse distances. over: a sample's
    width over the sum of the weights. The others: the corners' places on the texture from the sample's on.
    """
    right_a, right_b, right_c = (y[1] - y[2]) * near[0], (y[2] - y[0]) * near[1], (y[0] - y[1]) * near[2]
    down_a, down_b, down_c = (x[2] - x[1]) * near[0], (x[0] - x[2]) * near[1], (x[1] - x[0]) * near[2]
    right_u, right_v = right_a * ua + right_b * ub + right_c * uc, right_a * va + right_b * vb + right_c * vc
    down_u, down_v = down_a * ua + down_b * ub + down_c * uc, down_a * va + down_b * vb + down_c * vc
    longer: np.float32 = max(right_u * right_u + right_v * right_v, down_u * down_u + down_v * down_v) * over * over
    return longer


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _level(value: np.float32) -> np.int32:
    return np.int32(min(value, np.float32(255)) + np.float32(0.5))
