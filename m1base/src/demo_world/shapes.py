"""Closed surfaces that the objects of the world are put together from.

Every function returns a `Solid`: vertices, triangles wound counter-clockwise seen from
outside, and texture coordinates in the object's own units. Solids that touch simply
overlap: neither renderer nor sampler needs one connected surface, and doing without
boolean operations keeps an object under a few milliseconds. Vertices are shared where
the surface is smooth and repeated where it has an edge, so that averaged normals shade
both rightly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Axis = Literal["x", "y", "z"]
_AXES: dict[str, int] = {"x": 0, "y": 1, "z": 2}


@dataclass(frozen=True)
class Solid:
    """vertices: (V, 3) float64, y up. faces: (F, 3) int32. uv: (V, 2) float64, one texture tile per unit."""

    vertices: Array
    faces: NDArray[np.int32]
    uv: Array

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Solid:
        return Solid(self.vertices + np.array([x, y, z]), self.faces, self.uv)

    def scaled(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> Solid:
        """Stretched by positive factors about the origin."""
        return Solid(self.vertices * np.array([x, y, z]), self.faces, self.uv)

    def turned(self, axis: Axis, degrees: float) -> Solid:
        """Rotated about an axis through the origin, right-handed."""
        angle = np.deg2rad(degrees)
        i, j = (_AXES[axis] + 1) % 3, (_AXES[axis] + 2) % 3
        rotation = np.eye(3)
        rotation[i, i] = rotation[j, j] = np.cos(angle)
        rotation[j, i], rotation[i, j] = np.sin(angle), -np.sin(angle)
        return Solid(self.vertices @ rotation.T, self.faces, self.uv)


def join(solids: Sequence[Solid]) -> Solid:
    """All of `solids` as one."""
    starts = np.cumsum([0] + [len(s.vertices) for s in solids[:-1]])
    return Solid(
        np.concatenate([s.vertices for s in solids]),
        np.concatenate([s.faces + np.int32(start) for s, start in zip(solids, starts, strict=True)]),
        np.concatenate([s.uv for s in solids]),
    )


@cache
def _bevelled_cube() -> tuple[Array, Array, NDArray[np.int32], NDArray[np.int64]]:
    """Signs (V, 3), insets (V, 3), faces and the two axes of each vertex's texture plane (V, 2).

    A vertex of the box lies at sign * (half - inset * bevel): 6 sides, 12 edges, 8 corners.
    """
    polygons: list[list[tuple[tuple[int, ...], int]]] = []  # corners: signs, and the side it lies on
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        for s in (-1, 1):
            corners = []
            for sb, sc in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                sign = [0, 0, 0]
                sign[a], sign[b], sign[c] = s, sb, sc
                corners.append((tuple(sign), a))
            polygons.append(corners)
            for sb in (-1, 1):
                edge = []
                for side, sc in ((a, -1), (a, 1), (b, 1), (b, -1)):
                    sign = [0, 0, 0]
                    sign[a], sign[b], sign[c] = s, sb, sc
                    edge.append((tuple(sign), side))
                polygons.append(edge)
    for x in (-1, 1):
        for y in (-1, 1):
            for z in (-1, 1):
                polygons.append([((x, y, z), side) for side in range(3)])
    signs: list[Array] = []
    insets: list[Array] = []
    faces: list[tuple[int, int, int]] = []
    planes: list[tuple[int, int]] = []
    plane_of = ((2, 1), (0, 2), (0, 1))
    for polygon in polygons:
        corner = np.array([s for s, _ in polygon], float)
        inset = 1.0 - np.eye(3)[[side for _, side in polygon]]
        position = corner * (1.0 - 0.2 * inset)
        normal = np.cross(position[1] - position[0], position[2] - position[0])
        order = list(range(len(polygon)))
        if normal @ position.mean(0) < 0:
            order.reverse()
        start = sum(len(s) for s in signs)
        faces += [(start + order[0], start + order[k], start + order[k + 1]) for k in range(1, len(order) - 1)]
        signs.append(corner)
        insets.append(inset)
        planes += [plane_of[polygon[0][1]]] * len(polygon)
    return np.concatenate(signs), np.concatenate(insets), np.array(faces, np.int32), np.array(planes)


def box(size: ArrayLike, centre: ArrayLike = (0.0, 0.0, 0.0), bevel: float = 0.01) -> Solid:
    """A box of full extents `size` with its edges cut by `bevel` (at most a fifth of the thinnest extent)."""
    signs, insets, faces, planes = _bevelled_cube()
    extent = np.asarray(size, float)
    cut = min(bevel, 0.2 * float(extent.min()))
    vertices = signs * (0.5 * extent - insets * cut) + np.asarray(centre, float)
    return Solid(vertices, faces, np.take_along_axis(vertices, planes, axis=1))


def block(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], bevel: float = 0.01) -> Solid:
    """The box between the stated bounds."""
    low, high = np.array([x, y, z]).T
    return box(high - low, 0.5 * (low + high), bevel)


def leg(top: ArrayLike, foot: ArrayLike, width: float, foot_width: float) -> Solid:
    """A square post from `foot` up to `top`, sheared so that both ends stay level."""
    upper, lower = np.asarray(top, float), np.asarray(foot, float)
    post = box((1.0, 1.0, 1.0), (0.0, 0.5, 0.0), bevel=0.12)
    height = np.clip(post.vertices[:, 1:2], 0.0, 1.0)
    wide = foot_width + (width - foot_width) * height
    vertices = lower + (upper - lower) * height
    vertices[:, [0, 2]] += post.vertices[:, [0, 2]] * wide
    return Solid(vertices, post.faces, np.stack([vertices[:, 0] + vertices[:, 2], vertices[:, 1]], 1))


def _grid_faces(rows: int, columns: int) -> NDArray[np.int32]:
    """Two triangles per cell of a (rows, columns) grid of vertices: rows first, then columns."""
    k, j = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    a = (k * columns + j).ravel()
    b, c, d = a + columns, a + columns + 1, a + 1
    return np.stack([a, b, c, a, c, d], 1).reshape(-1, 3).astype(np.int32)


def revolve(
    profile: ArrayLike, segments: int = 28, section: Array | None = None, blend: ArrayLike | float = 1.0
) -> Solid:
    """The surface swept by turning `profile` about the y axis.

    profile: (K, 2) of (radius, y), bottom first along the outside, so that a hollow body
    goes on over its rim and down the inside. A point given twice is a sharp edge.
    section: (segments + 1,) factors on the radius by angle (see `squircle`, `flutes`);
    `blend`, (K,) or a number, says how much of it each profile point takes.
    """
    points = np.asarray(profile, float)
    angle = np.linspace(0.0, 2 * np.pi, segments + 1)
    factor = np.ones(segments + 1) if section is None else section
    share = np.broadcast_to(np.asarray(blend, float), (len(points),))
    radius = points[:, :1] * (1.0 + share[:, None] * (factor[None] - 1.0))
    height = np.broadcast_to(points[:, 1:], radius.shape)
    vertices = np.stack([radius * np.cos(angle), height, radius * np.sin(angle)], 2)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    mean_radius = float(points[:, 0].max())
    uv = np.stack(np.broadcast_arrays(angle[None] * mean_radius, along[:, None]), 2)
    return _without_slivers(vertices.reshape(-1, 3), _grid_faces(*radius.shape), uv.reshape(-1, 2))


def _without_slivers(vertices: Array, faces: NDArray[np.int32], uv: Array) -> Solid:
    """Drops triangles of no area: at the poles, and between the two copies of an edge's points."""
    a, b, c = vertices[faces[:, 0]], vertices[faces[:, 1]], vertices[faces[:, 2]]
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    return Solid(vertices, faces[area > 1e-10], uv)


def squircle(power: float, segments: int = 28) -> Array:
    """Section factors from a circle (`power` 2) towards a square (large `power`), |x|^p + |z|^p = 1."""
    angle = np.linspace(0.0, 2 * np.pi, segments + 1)
    return (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle)) ** power) ** (-1.0 / power)


def flutes(count: int, depth: float, segments: int) -> Array:
    """Section factors of a wall with `count` vertical ribs, `depth` of the radius each way."""
    return 1.0 + depth * np.cos(count * np.linspace(0.0, 2 * np.pi, segments + 1))


def cylinder(radius: float, height: float, top: float | None = None, segments: int = 24) -> Solid:
    """A closed cylinder standing on y = 0, or a frustum where the `top` radius differs."""
    upper = radius if top is None else top
    return revolve([(0, 0), (radius, 0), (radius, 0), (upper, height), (upper, height), (0, height)], segments)


def ball(radius: float, segments: int = 20) -> Solid:
    """A sphere about the origin."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 13)
    return revolve(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), segments)


def cushion(size: ArrayLike, centre: ArrayLike = (0.0, 0.0, 0.0), roundness: float = 0.35) -> Solid:
    """A pillow: a superellipsoid of full extents `size`; `roundness` 1 is an ellipsoid, towards 0 a box."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 13)
    profile = np.stack(
        [np.abs(np.cos(angle)) ** roundness, np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** roundness], 1
    )
    profile[[0, -1], 0] = 0.0
    round_ = revolve(profile, 24, squircle(2.0 / roundness, 24))
    x, y, z = np.asarray(size, float) / 2
    return round_.scaled(x, y, z).moved(*np.asarray(centre, float))


def tube(path: ArrayLike, radius: float | ArrayLike, closed: bool = False, segments: int = 8) -> Solid:
    """A round bar of `radius` (a number or one a point) along `path`, (K, 3), which must lie in a plane
    spanned by, or a line not along, the coordinate axes. `closed` joins the last point to the first."""
    points = np.asarray(path, float)
    if closed:
        ring = np.concatenate([points[-1:], points, points[:2]])
        tangent = ring[2:] - ring[:-2]
        points = np.concatenate([points, points[:1]])
    else:
        tangent = np.gradient(points, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    reference = np.eye(3)[np.abs(tangent).max(0).argmin()]
    normal = reference - (tangent @ reference)[:, None] * tangent
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    side = np.cross(tangent, normal)
    # Decreasing angle along the columns turns the walls outwards (see `_grid_faces`).
    angle = np.linspace(2 * np.pi, 0.0, segments + 1)
    thick = np.broadcast_to(np.asarray(radius, float), (len(points),))
    wall = points[:, None] + thick[:, None, None] * (
        normal[:, None] * np.cos(angle)[:, None] + side[:, None] * np.sin(angle)[:, None]
    )
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    uv = np.stack(np.broadcast_arrays(angle[None] * float(thick.max()), along[:, None]), 2)
    body = Solid(wall.reshape(-1, 3), _grid_faces(*wall.shape[:2]), uv.reshape(-1, 2))
    if closed:
        return body
    fan = np.stack([np.full(segments, segments), np.arange(segments), (np.arange(segments) + 1) % segments], 1)
    caps = []
    for end, order in ((0, [0, 1, 2]), (-1, [0, 2, 1])):
        vertices = np.concatenate([wall[end, :-1], points[end : end + 1] if end == 0 else points[-1:]])
        caps.append(Solid(vertices, fan[:, order].astype(np.int32), vertices[:, :2]))
    return join([body, *caps])


def rod(start: ArrayLike, end: ArrayLike, radius: float, segments: int = 8) -> Solid:
    """A straight round bar."""
    return tube(np.stack([np.asarray(start, float), np.asarray(end, float)]), radius, segments=segments)


def hoop(radius: float, thickness: float, segments: int = 28) -> Solid:
    """A horizontal ring about the y axis: `radius` to the middle of a bar of radius `thickness`."""
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    path = np.stack([radius * np.cos(angle), np.zeros(segments), radius * np.sin(angle)], 1)
    return tube(path, thickness, closed=True)


def _counter_clockwise(outline: ArrayLike) -> Array:
    points = np.asarray(outline, float)
    following = np.roll(points, -1, axis=0)
    area = float(np.sum(points[:, 0] * following[:, 1] - points[:, 1] * following[:, 0]))
    return points if area > 0 else points[::-1]


def _wall(loop: Array, depth: float) -> Solid:
    """The flat-sided wall of a loop extruded from z = -depth/2 to depth/2, each side its own vertices."""
    following = np.roll(loop, -1, axis=0)
    count = len(loop)
    corners = np.empty((count, 4, 3))
    corners[:, 0, :2] = corners[:, 3, :2] = loop
    corners[:, 1, :2] = corners[:, 2, :2] = following
    corners[:, :2, 2], corners[:, 2:, 2] = -depth / 2, depth / 2
    quad = np.array([[0, 1, 2], [0, 2, 3]])
    faces = (quad[None] + 4 * np.arange(count)[:, None, None]).reshape(-1, 3).astype(np.int32)
    vertices = corners.reshape(-1, 3)
    return Solid(vertices, faces, np.stack([vertices[:, 0] + vertices[:, 1], vertices[:, 2]], 1))


def extrude(outline: ArrayLike, depth: float) -> Solid:
    """The plate whose outline in x and y is `outline`, (N, 2), star-shaped about its mean; z within +-depth/2."""
    loop = _counter_clockwise(outline)
    count = len(loop)
    rim = np.arange(count)
    fan = np.stack([np.full(count, count), rim, np.roll(rim, -1)], 1).astype(np.int32)
    flat = np.concatenate([loop, loop.mean(0, keepdims=True)])
    front = np.concatenate([flat, np.full((count + 1, 1), depth / 2)], 1)
    back = np.concatenate([flat, np.full((count + 1, 1), -depth / 2)], 1)
    return join([Solid(front, fan, flat), Solid(back, fan[:, ::-1], flat), _wall(loop, depth)])


def slab(outline: ArrayLike, thickness: float) -> Solid:
    """A level plate whose outline in x and z is `outline`, (N, 2); y within 0..thickness."""
    points = np.asarray(outline, float) * np.array([1.0, -1.0])
    return extrude(points, thickness).turned("x", -90).moved(y=thickness / 2)


def side_plate(outline: ArrayLike, thickness: float) -> Solid:
    """An upright plate whose outline in z and y is `outline`, (N, 2); x within +-thickness/2."""
    return extrude(outline, thickness).turned("y", -90)


def _hit(polygon: Array, centre: Array, angle: Array) -> Array:
    """Where rays from `centre` at `angle` leave a convex polygon, (A, 2)."""
    direction = np.stack([np.cos(angle), np.sin(angle)], 1)
    start = polygon - centre
    edge = np.roll(start, -1, axis=0) - start
    cross = direction[:, None, 0] * edge[None, :, 1] - direction[:, None, 1] * edge[None, :, 0]
    cross = np.where(np.abs(cross) < 1e-12, 1e-12, cross)
    distance = (start[None, :, 0] * edge[None, :, 1] - start[None, :, 1] * edge[None, :, 0]) / cross
    reached = np.where((cross > 1e-12) & (distance > 0), distance, np.inf).min(1)
    return np.asarray(centre + direction * reached[:, None])


def holed_plate(outline: ArrayLike, hole: ArrayLike, depth: float) -> Solid:
    """As `extrude`, with a hole through it; both outlines convex, the hole's mean inside both."""
    outer, inner = _counter_clockwise(outline), _counter_clockwise(hole)
    centre = inner.mean(0)
    corners = np.concatenate([outer, inner]) - centre
    # A ray through every corner of either outline keeps both exact.
    turn = 2 * np.pi
    angle = np.unique(np.round(np.arctan2(corners[:, 1], corners[:, 0]) % turn, 6) % round(turn, 6))
    outside, inside = _hit(outer, centre, angle), _hit(inner, centre, angle)
    count = len(angle)
    i = np.arange(count)
    j = np.roll(i, -1)
    quads = np.stack([i, j, j + count, i, j + count, i + count], 1).reshape(-1, 3).astype(np.int32)
    flat = np.concatenate([outside, inside])
    front = np.concatenate([flat, np.full((2 * count, 1), depth / 2)], 1)
    back = np.concatenate([flat, np.full((2 * count, 1), -depth / 2)], 1)
    faces = [Solid(front, quads, flat), Solid(back, quads[:, ::-1], flat)]
    return join([*faces, _wall(outside, depth), _wall(inside[::-1], depth)])


def rectangle(width: float, height: float, x: float = 0.0, y: float = 0.0) -> Array:
    """The outline of a rectangle about (x, y)."""
    w, h = width / 2, height / 2
    return np.array([(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h)])


def ellipse(width: float, height: float, x: float = 0.0, y: float = 0.0, points: int = 32) -> Array:
    """The outline of an ellipse of full extents about (x, y)."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.array([x, y]) + np.stack([width / 2 * np.cos(angle), height / 2 * np.sin(angle)], 1)


def arch(width: float, height: float, rise: float, points: int = 16) -> Array:
    """A rectangle from y = 0 to `height` about x = 0, with an elliptic arch of `rise` on top."""
    angle = np.linspace(0, np.pi, points)
    curve = np.stack([width / 2 * np.cos(angle), height + rise * np.sin(angle)], 1)
    return np.concatenate([[(-width / 2, 0.0), (width / 2, 0.0)], curve])


def curve(points: ArrayLike, steps: int = 6) -> Array:
    """A Catmull-Rom curve through `points`, (K, D), with `steps` pieces between neighbours."""
    p = np.asarray(points, float)
    padded = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    a, b, c, d = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    pieces = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return np.concatenate([pieces.transpose(1, 0, 2).reshape(-1, p.shape[1]), p[-1:]])


def hollow(outside: Array, wall: float, floor: float) -> Array:
    """The profile of an open vessel: `outside`, (K, 2) from the base's edge to the rim, with a wall of
    `wall` inside, down to `floor` above its lowest point."""
    bottom = outside[0, 1] + floor
    inside = outside[outside[:, 1] > bottom] - np.array([wall, 0.0])
    inside[:, 0] = np.maximum(inside[:, 0], 0.01)
    inside[-1, 1] -= 0.25 * wall  # an edge that falls inwards a little catches light
    rim, lowest = outside[-1], inside[0]
    return np.concatenate(
        [
            [(0.0, outside[0, 1]), outside[0]],
            outside,
            [rim, inside[-1]],
            inside[::-1],
            [(lowest[0], bottom), (lowest[0], bottom), (0.0, bottom)],
        ]
    )
