"""Shading of a picture's samples by numba: those that are covered, a batch at a time.

The numbers that a batch needs are gathered into rows of one array, so that the arithmetic on them is done on as many at
once as the processor has lanes. It is plain float32 in a fixed order: pictures do not depend on the processor.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.precompute.camera import AMBIENT, DIFFUSE, SPECULAR
from captionless.precompute.rasterizer import HALF, SNAP, TANGENT

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


@numba.njit(cache=True, nogil=True, error_model="numpy")
def shade(
    owner: NDArray[np.int32],
    faces: NDArray[np.int32],
    place: NDArray[np.int32],
    inverse: NDArray[np.float32],
    normals: NDArray[np.float32],
    colors: NDArray[np.uint8],
    texture: NDArray[np.int32],
    uv: NDArray[np.float32],
    texels: NDArray[np.uint32],
    levels: NDArray[np.int64],
    axes: NDArray[np.float32],
    lights: NDArray[np.float32],
    view: NDArray[np.uint8],
) -> None:
    """Fill `view` (S, S, 4), RGBA, from the (nS, nS) numbers of the faces that its samples see.

    Of the faces (F, 3) into projected vertices: corner normals (F, 3, 3), colours (F, 3), textures (F,), -1 where they
    have none, and the place of their corners on them (F, 3, 2); `texels` and `levels` as `textures.Atlas` has them.
    axes: (3, 3), the camera's; lights: (L, 4), directions towards them, of length 1, and intensities; both in the
    object's axes.
    """
    width, size = len(owner), len(view)
    n = width // size
    sums = np.zeros((size * size, 4), np.int32)
    batch = np.zeros(_ROWS * _BATCH, np.float32)
    pixel, face = np.empty(_BATCH, np.int32), np.empty(_BATCH, np.int32)
    is_textured = bool((texture >= 0).any())
    count = 0
    for row in range(width):
        for column in range(width):
            f = owner[row, column]
            if f < 0:
                continue
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
                of = max(texture[f], 0)
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
                _add(batch, count, pixel, face, colors, texture, texels, levels, sums)
                count = 0
    _shade_batch(batch, is_textured, axes, lights)
    _add(batch, count, pixel, face, colors, texture, texels, levels, sums)
    _resolve(sums, n * n, view.reshape(size * size, 4))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _resolve(sums: NDArray[np.int32], samples: int, view: NDArray[np.uint8]) -> None:
    for i in range(len(view)):
        covered = sums[i, 3]
        if covered == 0:
            view[i, 0], view[i, 1], view[i, 2], view[i, 3] = 255, 255, 255, 0
        else:
            for k in range(3):
                view[i, k] = (sums[i, k] + covered // 2) // covered
            view[i, 3] = (255 * covered + samples // 2) // samples


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
    colors: NDArray[np.uint8],
    texture: NDArray[np.int32],
    texels: NDArray[np.uint32],
    levels: NDArray[np.int64],
    sums: NDArray[np.int32],
) -> None:
    """Add the levels, 0 to 255, of the batch's samples to those of their pixels."""
    for k in range(count):
        f, p = face[k], pixel[k]
        body = np.float32(AMBIENT) + np.float32(DIFFUSE) * batch[_BODY * _BATCH + k]
        gloss = np.float32(255 * SPECULAR) * batch[_GLOSS * _BATCH + k]
        of = texture[f]
        if of < 0:
            red, green, blue = np.float32(colors[f, 0]), np.float32(colors[f, 1]), np.float32(colors[f, 2])
        else:
            u, v = batch[_TEXTURE * _BATCH + k], batch[(_TEXTURE + 1) * _BATCH + k]
            red, green, blue = _look_up(texels, levels, of, u, v, batch[_EXTENT * _BATCH + k])
            body += gloss * np.float32(1 / 255)
            gloss = np.float32(0)
        sums[p, 0] += _level(body * red + gloss)
        sums[p, 1] += _level(body * green + gloss)
        sums[p, 2] += _level(body * blue + gloss)
        sums[p, 3] += 1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _level(value: np.float32) -> np.int32:
    return np.int32(min(value, np.float32(255)) + np.float32(0.5))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _look_up(
    texels: NDArray[np.uint32],
    levels: NDArray[np.int64],
    of: int,
    u: np.float32,
    v: np.float32,
    extent: np.float32,
) -> tuple[np.float32, np.float32, np.float32]:
    """A texture's colour, 0 to 255, at (u, v), in texels of its largest level: between four texels of each of the two
    levels whose texels are about as large as a sample."""
    lower, last = 0, levels.shape[1] - 1
    while extent >= 4 and lower < last:
        extent *= np.float32(0.25)
        lower += 1
    u, v = _turn(u / np.float32(levels[of, 0, 1])), _turn(v / np.float32(levels[of, 0, 2]))
    red, green, blue = _blend(texels, levels[of, lower, 0], levels[of, lower, 1], levels[of, lower, 2], u, v)
    if extent > 1 and lower < last:
        share = (extent - np.float32(1)) * np.float32(1 / 3)  # between two levels, nearly the logarithm
        lower += 1
        r, g, b = _blend(texels, levels[of, lower, 0], levels[of, lower, 1], levels[of, lower, 2], u, v)
        red, green, blue = red + share * (r - red), green + share * (g - green), blue + share * (b - blue)
    return red, green, blue


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _turn(value: np.float32) -> np.float32:
    """The part of a number after its point: textures repeat."""
    rest = value - np.float32(np.int32(value))
    return rest if rest >= 0 else rest + np.float32(1)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _blend(
    texels: NDArray[np.uint32], start: int, width: int, height: int, u: np.float32, v: np.float32
) -> tuple[np.float32, np.float32, np.float32]:
    """The colour between the four texels around (u, v), from 0 to 1, of a level."""
    x, y = u * np.float32(width) + np.float32(0.5), v * np.float32(height) + np.float32(0.5)
    right, below = np.int32(x), np.int32(y)
    across, down = x - np.float32(right), y - np.float32(below)
    left, above = (right if right > 0 else width) - 1, (below if below > 0 else height) - 1
    upper, lower = start + above * width, start + (below if below < height else 0) * width
    other = right if right < width else 0
    a, b, c, d = texels[upper + left], texels[upper + other], texels[lower + left], texels[lower + other]
    return (
        _between(a, b, c, d, 0, across, down),
        _between(a, b, c, d, 8, across, down),
        _between(a, b, c, d, 16, across, down),
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _between(
    a: np.uint32, b: np.uint32, c: np.uint32, d: np.uint32, shift: int, across: np.float32, down: np.float32
) -> np.float32:
    """A byte of four texels, blended across and down."""
    first, second = np.float32(np.int32(a >> shift & 255)), np.float32(np.int32(c >> shift & 255))
    first += across * (np.float32(np.int32(b >> shift & 255)) - first)
    second += across * (np.float32(np.int32(d >> shift & 255)) - second)
    return first + down * (second - first)
