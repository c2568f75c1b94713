"""What is cut out, and what is seen through: coverage by faces whose opacity says something, compiled by numba.

After the opaque faces (`rasterizer.cover`), the others are gone through once. A mask is decided at every sample: where
it is there, it hides like an opaque face, where it is not, what is behind it stays. Of faces to be blended, each sample
keeps the `LAYERS` nearest that have any opacity there, nearest first; what is beyond them is left out. How much of each
is seen is then known before any is lit, so that they are shaded like what is opaque, with weights.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.precompute.materials import ALPHA, CUTOFF, MASK, OPACITY, TEXTURE
from captionless.precompute.rasterizer import HALF, SNAP, corner
from captionless.precompute.sample_shading import WHOLE, Surfaces, extent_of
from captionless.precompute.textures import look_up_alpha

LAYERS = 8
"""Blended surfaces, one behind another, that a sample shows."""


class Layers:
    """Room for what the samples of a picture, so many a side, see of blended faces, and for weights.

    owner: (LAYERS, W, W) numbers of faces, -1 for none. weight: (LAYERS + 1, W, W) in parts of `WHOLE`; the last is
    that of the opaque face.
    """

    def __init__(self, width: int) -> None:
        self.owner = np.empty((LAYERS, width, width), np.int32)
        self.weight = np.empty((LAYERS + 1, width, width), np.int32)
        self.near = np.empty((LAYERS, width, width), np.float32)
        self.opacity = np.empty((LAYERS, width, width), np.float32)

    def fill(
        self,
        faces: NDArray[np.int32],
        opaque: int,
        place: NDArray[np.int32],
        inverse: NDArray[np.float32],
        surfaces: Surfaces,
        nearest: NDArray[np.float32],
        owner: NDArray[np.int32],
    ) -> list[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """What each sample sees of the faces, the first `opaque` of which are in `nearest` and `owner`, which masks may
        change: faces and their weights, the opaque ones last."""
        cover(opaque, faces, place, inverse, surfaces, nearest, owner, self.owner, self.near, self.opacity)
        weigh(nearest, self.owner, self.near, self.opacity, self.weight)
        return [*zip(self.owner, self.weight, strict=False), (owner, self.weight[-1])]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def cover(
    first: int,
    faces: NDArray[np.int32],
    place: NDArray[np.int32],
    inverse: NDArray[np.float32],
    surfaces: Surfaces,
    nearest: NDArray[np.float32],
    owner: NDArray[np.int32],
    layers: NDArray[np.int32],
    near: NDArray[np.float32],
    opacity: NDArray[np.float32],
) -> None:
    """Add the faces from `first` on, which are masks and blended, to what `rasterizer.cover` has found.

    layers, near, opacity: (L, W, W), filled with the faces to be blended, their inverse distances and opacities.
    """
    width = len(owner)
    layers[:] = -1
    near[:] = 0
    table = surfaces.table
    for f in range(first, len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        xa, ya = corner(place, a)
        xb, yb = corner(place, b)
        xc, yc = corner(place, c)
        left = max((min(xa, xb, xc) + HALF - 1) // SNAP, 0)
        right = min((max(xa, xb, xc) - HALF) // SNAP, width - 1)
        top = max((min(ya, yb, yc) + HALF - 1) // SNAP, 0)
        bottom = min((max(ya, yb, yc) - HALF) // SNAP, width - 1)
        area = (xb - xa) * (yc - ya) - (yb - ya) * (xc - xa)
        if left > right or top > bottom or area == 0:
            continue
        if area < 0:
            area, b, c = -area, c, b
            xb, yb, xc, yc = xc, yc, xb, yb
        # As in `rasterizer.cover`, to the bit, so that faces that coincide are equally near.
        ux, uy, vx, vy, wx, wy = xc - xb, yc - yb, xa - xc, ya - yc, xb - xa, yb - ya
        x, y = left * SNAP + HALF, top * SNAP + HALF
        u = ux * (y - yb) - uy * (x - xb)
        v = vx * (y - yc) - vy * (x - xc)
        w = wx * (y - ya) - wy * (x - xa)
        near_a, near_b, near_c = inverse[a] / area, inverse[b] / area, inverse[c] / area
        row_near = u * near_a + v * near_b + w * near_c
        right_near = np.float32(-SNAP * (uy * near_a + vy * near_b + wy * near_c))
        down_near = SNAP * (ux * near_a + vx * near_b + wx * near_c)
        u -= not (uy > 0 or (uy == 0 and ux < 0))
        v -= not (vy > 0 or (vy == 0 and vx < 0))
        w -= not (wy > 0 or (wy == 0 and wx < 0))
        m = surfaces.material[f]
        is_mask = table.kinds[m, ALPHA] == MASK
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                k = column - left
                if (u - k * SNAP * uy) | (v - k * SNAP * vy) | (w - k * SNAP * wy) < 0:
                    continue
                depth = np.float32(row_near) + np.float32(k) * right_near
                if depth < nearest[row, column]:
                    continue
                if is_mask:
                    if _opacity(f, faces, place, inverse, surfaces, row, column) >= table.numbers[m, CUTOFF]:
                        nearest[row, column] = depth
                        owner[row, column] = f
                elif depth >= near[-1, row, column]:
                    share = _opacity(f, faces, place, inverse, surfaces, row, column)
                    if share > 0:
                        _insert(layers[:, row, column], near[:, row, column], opacity[:, row, column], f, depth, share)
            u += SNAP * ux
            v += SNAP * vx
            w += SNAP * wx
            row_near += down_near


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _insert(
    layers: NDArray[np.int32],
    near: NDArray[np.float32],
    opacity: NDArray[np.float32],
    face: int,
    depth: np.float32,
    share: np.float32,
) -> None:
    """Put a face among a sample's layers, before those that are not nearer; the last one falls out."""
    k = len(layers) - 1
    while k > 0 and depth >= near[k - 1]:
        layers[k], near[k], opacity[k] = layers[k - 1], near[k - 1], opacity[k - 1]
        k -= 1
    layers[k], near[k], opacity[k] = face, depth, share


@numba.njit(cache=True, nogil=True, error_model="numpy")
def weigh(
    nearest: NDArray[np.float32],
    layers: NDArray[np.int32],
    near: NDArray[np.float32],
    opacity: NDArray[np.float32],
    weight: NDArray[np.int32],
) -> None:
    """Fill the weights (L + 1, W, W) of the layers, and of what is opaque; layers behind the latter are taken out.

    They are whole numbers whose sum is what is covered: `WHOLE` where there is something opaque.
    """
    width = len(nearest)
    for row in range(width):
        for column in range(width):
            left, through = WHOLE, np.float32(1)
            for k in range(len(layers)):
                if layers[k, row, column] >= 0 and near[k, row, column] < nearest[row, column]:
                    layers[k, row, column] = -1
                if layers[k, row, column] < 0:
                    continue
                through *= np.float32(1) - min(opacity[k, row, column], np.float32(1))
                behind = int(through * np.float32(WHOLE) + np.float32(0.5))
                weight[k, row, column] = left - behind
                left = behind
            weight[-1, row, column] = left


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _opacity(
    f: int,
    faces: NDArray[np.int32],
    place: NDArray[np.int32],
    inverse: NDArray[np.float32],
    surfaces: Surfaces,
    row: int,
    column: int,
) -> np.float32:
    """A face's opacity at a sample that it covers."""
    table = surfaces.table
    m = surfaces.material[f]
    found: np.float32 = table.numbers[m, OPACITY]
    of = table.kinds[m, TEXTURE]
    if of < 0 and not len(surfaces.vertex_colors):
        return found
    x, y, near = np.empty(3, np.int64), np.empty(3, np.int64), np.empty(3, np.float32)
    for k in range(3):
        vertex = faces[f, k]
        x[k] = place[vertex, 0] - (column * SNAP + HALF)
        y[k] = place[vertex, 1] - (row * SNAP + HALF)
        near[k] = inverse[vertex]
    a = np.float32(x[1] * y[2] - y[1] * x[2]) * near[0]
    b = np.float32(x[2] * y[0] - y[2] * x[0]) * near[1]
    c = np.float32(x[0] * y[1] - y[0] * x[1]) * near[2]
    total = a + b + c
    if total == 0:
        return found
    a, b, c = a / total, b / total, c / total
    if len(surfaces.vertex_colors):
        colors = surfaces.vertex_colors[f]
        found *= a * colors[0, 3] + b * colors[1, 3] + c * colors[2, 3]
    if of < 0:
        return found
    width, height = np.float32(table.atlas.levels[of, 0, 1]), np.float32(table.atlas.levels[of, 0, 2])
    uv = surfaces.uv[f]
    ua, ub, uc = uv[0, 0] * width, uv[1, 0] * width, uv[2, 0] * width
    va, vb, vc = uv[0, 1] * height, uv[1, 1] * height, uv[2, 1] * height
    u, v = a * ua + b * ub + c * uc, a * va + b * vb + c * vc
    over = np.float32(SNAP) / total
    across, down = x.astype(np.float32), y.astype(np.float32)
    extent = extent_of(across, down, near, over, ua - u, ub - u, uc - u, va - v, vb - v, vc - v)
    found *= look_up_alpha(table.atlas.texels, table.atlas.levels, table.atlas.wrap, of, u, v, extent) * np.float32(
        1 / 255
    )
    return found
