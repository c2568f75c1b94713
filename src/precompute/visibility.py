"""What of a mesh is there to be seen: surfaces of opacity 0 are neither drawn nor sampled, nor do they count in bounds.

Exporters hide things behind materials of no opacity and textures whose texels have none. A face goes by the texels in
the box around its place on the texture: it is left out when none of them is seen. Parts whose opacity says nothing,
since all of it is whole, become opaque ones. Nor can faces of no area be seen, which are left out where that matters.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.mesh import Mesh, MeshPart, Picture, Wrap
from captionless.precompute.surface import without_outliers


def shown(mesh: Mesh) -> Mesh:
    """The mesh without the faces that nobody can see. DataError when it has faces, and none of them is left."""
    if any(part.alpha != "opaque" for part in mesh.parts):
        parts = tuple(_shown(part) for part in mesh.parts)
        if mesh.face_count and not sum(len(part.faces) for part in parts):
            raise DataError("nothing of the mesh can be seen: all of it has an opacity of 0")
        mesh = Mesh(parts)
    return without_outliers(mesh)


def opacity(part: MeshPart, face: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m,) opacities of a part at barycentric `weights` (m, 3) of its faces `face` (m,), by the nearest texels."""
    found = np.full(len(face), float(part.factor[3]))
    if part.vertex_colors is not None:
        found *= np.einsum("nk,nk->n", weights, part.vertex_colors[part.faces[face], 3].astype(np.float64))
    if part.texture is not None and part.uv is not None:
        uv = np.einsum("nk,nkd->nd", weights, part.uv[part.faces[face]])
        found *= nearest_texels(part.texture, uv)[:, 3] / 255.0
    return found


def is_seen(part: MeshPart, opacities: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether something is seen of points of such opacities."""
    if part.alpha == "opaque":
        return np.ones(opacities.shape, np.bool_)
    result: NDArray[np.bool_] = opacities >= part.cutoff if part.alpha == "mask" else opacities > 0.0
    return result


def nearest_texels(picture: Picture, uv: NDArray[np.floating]) -> NDArray[np.uint8]:
    """(n, 4) texels at places (n, 2)."""
    height, width = picture.texels.shape[:2]
    u, v = (_wrapped(np.asarray(uv[:, k], np.float64), picture.wrap[k]) for k in range(2))
    column = np.minimum((u * width).astype(np.int64), width - 1)
    row = np.minimum(((1.0 - v) * height).astype(np.int64), height - 1)
    texels: NDArray[np.uint8] = picture.texels[row, column]
    return texels


def _wrapped(place: NDArray[np.float64], wrap: Wrap) -> NDArray[np.float64]:
    """Places along one side of a texture as places between its edges, 0 to 1; those that are no numbers are at 0."""
    place = np.nan_to_num(place, posinf=0.0, neginf=0.0)
    if wrap == "clamp":
        return np.clip(place, 0.0, 1.0)
    if wrap == "mirror":
        turns = place - 2.0 * np.floor(place / 2.0)
        return np.where(turns > 1.0, 2.0 - turns, turns)
    return place - np.floor(place)


def _shown(part: MeshPart) -> MeshPart:
    if part.alpha == "opaque" or not len(part.faces):
        return part
    least, most = np.ones((2, len(part.faces))) * part.factor[3]
    if part.vertex_colors is not None:
        corners = part.vertex_colors[part.faces, 3].astype(np.float64)
        least, most = least * corners.min(axis=1), most * corners.max(axis=1)
    if part.texture is not None and part.uv is not None:
        alpha = part.texture.texels[..., 3] / 255.0
        if part.alpha == "mask" or alpha.min() == 0.0:
            # What a texel must have for a face to be seen there, where the face is most opaque.
            enough = part.cutoff / np.maximum(most, 1e-12) if part.alpha == "mask" else np.full(len(most), 1e-9)
            most = np.where(_has_texel(part.texture, part.uv[part.faces], enough), most, 0.0)
        least = least * alpha.min()
    if (least >= (part.cutoff if part.alpha == "mask" else 1.0)).all():
        return replace(part, alpha="opaque")
    kept = is_seen(part, most)
    if kept.all():
        return part
    colors = part.face_colors
    return replace(part, faces=part.faces[kept], face_colors=None if colors is None else colors[kept])


def _has_texel(picture: Picture, uv: NDArray[np.floating], enough: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(F,) whether a texture has a texel of such an alpha in the box around a face's corners (F, 3, 2), or next to it,
    where a blend of texels would show it."""
    found = np.zeros(len(uv), np.bool_)
    boxes = _boxes(picture, uv)
    alpha = picture.texels[..., 3]
    levels = np.clip(np.ceil(enough * 255.0 - 1e-9), 1, 256).astype(np.int64)
    # In a table of sums, the number of texels in a box is four look-ups, however large it is.
    for level in np.unique(levels):
        sums = np.zeros((alpha.shape[0] + 1, alpha.shape[1] + 1), np.int64)
        sums[1:, 1:] = (alpha >= level).cumsum(axis=0).cumsum(axis=1)
        of = levels == level
        top, bottom, left, right = boxes[of].T
        found[of] = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left] > 0
    return found


def _boxes(picture: Picture, uv: NDArray[np.floating]) -> NDArray[np.int64]:
    """(F, 4): first row, row behind the last, first column, column behind the last of the texels that faces may show;
    all of a side where a face leaves its edges."""
    height, width = picture.texels.shape[:2]
    sides = []
    for k, count in ((1, height), (0, width)):
        place = np.nan_to_num(np.asarray(uv[..., k], np.float64), posinf=0.0, neginf=0.0)
        low, high = place.min(axis=1), place.max(axis=1)
        if picture.wrap[k] == "clamp":
            low, high = np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)
        else:
            turn = np.floor(low)
            low, high = low - turn, high - turn
            if picture.wrap[k] == "mirror":
                odd = turn % 2 == 1
                low, high = np.where(odd, 1.0 - high, low), np.where(odd, 1.0 - low, high)
        if k == 1:
            low, high = 1.0 - high, 1.0 - low  # v = 0 is the bottom row
        first = np.floor(low * count - 0.5).astype(np.int64)
        last = np.floor(np.minimum(high, 2.0) * count + 0.5).astype(np.int64) + 1
        inside = (first >= 0) & (last <= count)
        if picture.wrap[k] == "clamp":
            first, last = np.clip(first, 0, count - 1), np.clip(last, 1, count)
        else:
            first, last = np.where(inside, first, 0), np.where(inside, last, count)
        sides += [first, last]
    return np.stack(sides, axis=1)
