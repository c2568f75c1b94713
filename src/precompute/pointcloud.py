"""Point clouds of meshes: area-weighted surface samples with their colours, in farthest-point order.

A stored cloud serves every smaller size: its points are in the order in which
farthest point sampling, begun at the first, picks them, so the first m points of a
file ARE the farthest-point sample of size m of the whole. The draw is seeded by the
object's key, so a cloud depends on nothing but the mesh and its name.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from captionless import farthest_points
from captionless.errors import DataError
from captionless.mesh import Mesh, MeshPart
from captionless.precompute.materials import is_tinted, seen
from captionless.precompute.meshes.colour import linear
from captionless.precompute.surface import areas, face_colors, triangles
from captionless.precompute.visibility import is_seen, nearest_texels, opacity, shown

_ROUNDS = 200
"""How often points are drawn again for those that fell where nothing is seen."""

_NEAR = 16.0
"""Radii from the origin within which single precision holds a mesh's points."""


def sample_surface(mesh: Mesh, n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """`n` points spread evenly at random over what is seen of the surface, in the mesh's units.

    Returns points (n, 3) float32, from the origin on, or from the mesh's centre on if it is far away, and their colours
    (n, 3) uint8, without light. DataError when the mesh has no faces, no area, coordinates that are not finite, or
    (almost) nothing that is seen.
    """
    mesh = shown(mesh)
    corners = triangles(mesh)
    cumulative = np.cumsum(areas(corners))
    corners = corners - _origin(corners)
    random = np.random.default_rng(seed)
    points, colors = np.empty((n, 3), np.float32), np.empty((n, 3), np.uint8)
    missing = np.arange(n)
    for _ in range(_ROUNDS):
        face = np.searchsorted(cumulative, random.random(n) * cumulative[-1], side="right")
        # A product rounded up to the whole area would fall behind the last face that has any.
        face = np.minimum(face, np.searchsorted(cumulative, cumulative[-1]))
        weights = _barycentric(random.random((n, 2)))
        visible, found = _looks(mesh, face, weights)
        use = np.flatnonzero(visible)[: len(missing)]
        put, missing = missing[: len(use)], missing[len(use) :]
        points[put] = np.einsum("nk,nkd->nd", weights[use], corners[face[use]])
        colors[put] = found[use]
        if not len(missing):
            return points, colors
    raise DataError("almost nothing of the mesh can be seen: nearly all of it has an opacity of 0")


def _origin(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) from where points are told: single precision would tear a mesh apart that is far from its origin."""
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    centre: NDArray[np.float64] = low / 2 + high / 2
    return centre if np.abs(centre).max() > _NEAR * (high / 2 - low / 2).max() else np.zeros(3)


def _looks(
    mesh: Mesh, face: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """Whether points at barycentric `weights` (n, 3) of faces (n,), counted through all parts, are seen, and their
    colours (n, 3)."""
    visible, colors = np.ones(len(face), np.bool_), np.empty((len(face), 3), np.uint8)
    start = 0
    for part in mesh.parts:
        here = (face >= start) & (face < start + len(part.faces))
        if here.any():
            own, at = face[here] - start, weights[here]
            if part.alpha != "opaque":
                visible[here] = is_seen(part, opacity(part, own, at))
            colors[here] = _colors(part, own, at)
        start += len(part.faces)
    return visible, colors


def normalise(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """(n, 3) points moved so that their mean is 0 and scaled so that the farthest has norm 1, float32.

    The normalisation of ULIP and the paper. DataError for no points, or points that are not finite or all coincide.
    """
    if len(points) == 0 or not np.isfinite(points).all():
        raise DataError("the point cloud is empty or has NaN or infinite coordinates")
    centred = points.astype(np.float64) - points.astype(np.float64).mean(axis=0)
    radius = np.sqrt((centred**2).sum(axis=1).max())
    if not 0.0 < radius < np.inf:
        raise DataError("the point cloud has no extent: all points coincide, or they are too far apart")
    result: NDArray[np.float32] = (centred / radius).astype(np.float32)
    return result


def farthest_point_order(points: NDArray[np.floating], n: int | None = None) -> NDArray[np.int64]:
    """Indices (n,) of (P, 3) points as farthest point sampling picks them, beginning with point 0.

    Each next one is the farthest from all picked so far, the lowest index among equals. `n`
    None: all P. Distances are taken in float32, as encoders take them. The points are finite.
    """
    count = len(points) if n is None else n
    if not 0 <= count <= len(points):
        raise ValueError(f"n = {count} of {len(points)} points")
    order = np.zeros(count, np.int64)
    if count > 1:
        farthest_points.sample(np.ascontiguousarray(points, np.float32)[None], order[None])
    # When all that are left coincide with picked ones, point 0 is repeated; but each is picked once.
    different = 1 + int(np.argmin(np.append(order[1:] != 0, False)))
    if different < count:
        order[different:] = np.setdiff1d(np.arange(len(points)), order[:different])[: count - different]
    return order


def cloud(mesh: Mesh, n: int, key: str, first: int | None = None) -> NDArray[np.float16]:
    """The cloud stored for the object `key`: (n, 6) float16, xyz in the unit sphere and rgb in [0, 1], in FPS order.

    first: only so many of its points. DataError as `sample_surface`.
    """
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    points, colors = sample_surface(mesh, n, seed)
    return ordered(points, colors, first)


def ordered(points: NDArray[np.floating], colors: NDArray[np.uint8], first: int | None = None) -> NDArray[np.float16]:
    """(n, 3) points in any units and (n, 3) uint8 colours as a stored cloud, see `cloud`; its `first` points only."""
    # Order what is stored: half precision moves points, and may make two of them one.
    xyz = normalise(points).astype(np.float16)
    order = farthest_point_order(xyz, first)
    return np.concatenate([xyz[order], (colors[order] / np.float32(255)).astype(np.float16)], axis=1)


def _barycentric(uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2) uniform in the unit square -> (n, 3) barycentric weights, uniform over a triangle."""
    folded = np.where(uniform.sum(axis=1, keepdims=True) > 1.0, 1.0 - uniform, uniform)
    return np.concatenate([1.0 - folded.sum(axis=1, keepdims=True), folded], axis=1)


def _colors(part: MeshPart, face: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(m, 3) uint8 colours of `part` at barycentric `weights` (m, 3) of its faces `face` (m,)."""

    def between(values: NDArray[np.floating]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.einsum("nk,nkd->nd", weights, values[part.faces[face]].astype(np.float64))
        return found

    if part.texture is None or part.uv is None:
        base = face_colors(part)[face]
    else:
        base = nearest_texels(part.texture, between(part.uv))[:, :3]
    if not is_tinted(part):
        return base
    light = None
    if part.glow is not None:
        light = np.tile(np.array(part.glow.color, np.float64), (len(face), 1))
        if part.glow.picture is not None and part.glow.uv is not None:
            light *= linear(nearest_texels(part.glow.picture, between(part.glow.uv))[:, :3] / 255.0)
    vertex = None if part.vertex_colors is None else between(part.vertex_colors[:, :3])
    return seen(base, part.factor, vertex, light)
