"""A mesh's surface as triangles in one piece, checked: what rendering and sampling both start from.

Files in the wild hold NaN vertices, faces of no area and vertices that no face uses.
Here, and only here, it is decided what of that is tolerable: faces of no area are
carried along (they cover no pixel and get no sample) unless they would make an object
larger than what is seen of it, anything that leaves no surface or no finite size is a
`DataError`.
"""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.mesh import Mesh, MeshPart

_FARTHEST = 1e150
"""How far corners may be apart: areas beyond have no place in float64."""

_ROUNDED = 4 * float(np.finfo(np.float64).eps)
"""The height of a triangle, as a share of its coordinates, up to which it has no area but what rounding gives it."""


def check(mesh: Mesh) -> None:
    """The DataErrors of `areas(triangles(mesh))`; its arrays are made only where there may be one: where a vertex that
    no face uses is wrong, too."""
    parts = [part for part in mesh.parts if len(part.faces)]
    if parts and all(_in_range(part.faces, len(part.vertices)) for part in parts):
        origin = parts[0].vertices[parts[0].faces[0, 0]]
        unit = max(_reach(part.vertices, origin) for part in parts)
        if 0.0 < unit < _FARTHEST and any(_has_area(part.vertices, part.faces, origin, unit) for part in parts):
            return
    areas(triangles(mesh))


@numba.njit(cache=True, nogil=True)
def _in_range(faces: NDArray[np.int32], count: int) -> bool:
    lowest, highest = 0, 0
    for face in range(len(faces)):
        for k in range(3):
            lowest, highest = min(lowest, faces[face, k]), max(highest, faces[face, k])
    return lowest >= 0 and highest < count


@numba.njit(cache=True, nogil=True)
def _reach(vertices: NDArray[np.float64], origin: NDArray[np.float64]) -> float:
    """How far vertices are from `origin` along an axis; infinity if one is NaN."""
    reach, numbers = 0.0, True
    for vertex in range(len(vertices)):
        for axis in range(3):
            away = abs(vertices[vertex, axis] - origin[axis])
            numbers &= away == away
            reach = max(reach, away)
    return reach if numbers else np.inf


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _has_area(
    vertices: NDArray[np.float64], faces: NDArray[np.int32], origin: NDArray[np.float64], unit: float
) -> bool:
    """Whether a triangle has an area, computed as `areas` does."""
    sides = np.empty((3, 3))
    for face in range(len(faces)):
        for k in range(3):
            for axis in range(3):
                sides[k, axis] = (vertices[faces[face, k], axis] - origin[axis]) / unit
        a, b = sides[1] - sides[0], sides[2] - sides[0]
        square = 0.0
        for axis in range(3):
            one, two = (axis + 1) % 3, (axis + 2) % 3
            square += (a[one] * b[two] - a[two] * b[one]) ** 2
        if square > 0.0:
            return True
    return False


def without_outliers(mesh: Mesh) -> Mesh:
    """The mesh; or, where faces of no area reach beyond all others, without any of these: nodes that are scaled to
    nothing and corners at infinity, as exporters leave behind, would shrink what is seen to a dot."""
    parts = [part for part in mesh.parts if len(part.faces)]
    if not all(_in_range(part.faces, len(part.vertices)) for part in parts):
        return mesh
    seen, flat = (np.array([[np.inf] * 3, [-np.inf] * 3]) for _ in range(2))
    for part in parts:
        _reach_out(part.vertices, part.faces, seen, flat)
    if not seen[0, 0] < np.inf or not ((flat[0] < seen[0]) | (flat[1] > seen[1])).any():
        return mesh
    return Mesh(tuple(_solid(part) for part in mesh.parts))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _reach_out(
    vertices: NDArray[np.float64], faces: NDArray[np.int32], seen: NDArray[np.float64], flat: NDArray[np.float64]
) -> None:
    """Widens `seen`, the lowest and the highest coordinates of faces, and `flat`, those of faces of no area that
    reached beyond what was seen before them."""
    for face in range(len(faces)):
        beyond = False
        for k in range(3):
            for axis in range(3):
                place = vertices[faces[face, k], axis]
                beyond |= place < seen[0, axis] or place > seen[1, axis]
        if beyond:
            box = flat if _is_flat(vertices, faces[face]) else seen
            for k in range(3):
                for axis in range(3):
                    place = vertices[faces[face, k], axis]
                    box[0, axis], box[1, axis] = min(box[0, axis], place), max(box[1, axis], place)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _is_flat(vertices: NDArray[np.float64], corners: NDArray[np.int32]) -> bool:
    """Whether a triangle has no area; one whose corners are not finite has."""
    a, b, c = vertices[corners[0]], vertices[corners[1]], vertices[corners[2]]
    longest, farthest, size = 0.0, 0.0, 0.0
    for axis in range(3):
        longest = max(longest, abs(b[axis] - a[axis]), abs(c[axis] - a[axis]))
        farthest = max(farthest, abs(a[axis]), abs(b[axis]), abs(c[axis]))
        size += abs(b[axis] - a[axis]) + abs(c[axis] - a[axis])
    if longest == 0.0:
        return size == 0.0
    square = 0.0
    for axis in range(3):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        square += (
            (b[one] - a[one]) / longest * ((c[two] - a[two]) / longest)
            - (b[two] - a[two]) / longest * ((c[one] - a[one]) / longest)
        ) ** 2
    return bool(np.sqrt(square) * longest <= _ROUNDED * farthest)


def _solid(part: MeshPart) -> MeshPart:
    kept = ~_flat(part.vertices, part.faces)
    colors = part.face_colors
    return replace(part, faces=part.faces[kept], face_colors=None if colors is None else colors[kept])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _flat(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.bool_]:
    found = np.empty(len(faces), np.bool_)
    for face in range(len(faces)):
        found[face] = _is_flat(vertices, faces[face])
    return found


def triangles(mesh: Mesh) -> NDArray[np.float64]:
    """Corner positions of all faces in the order of the parts, (F, 3, 3) float64.

    Raises DataError when there is no face, a corner is not finite, or a face refers to a
    vertex that does not exist.
    """
    corners = []
    for part in mesh.parts:
        if len(part.faces) == 0:
            continue
        if part.faces.min() < 0 or part.faces.max() >= len(part.vertices):
            raise DataError(f"a face refers to vertex {part.faces.max()} of {len(part.vertices)}: the mesh is damaged")
        corners.append(part.vertices[part.faces].astype(np.float64))
    if not corners:
        raise DataError("the mesh has no faces; expected a triangulated surface")
    result = np.concatenate(corners)
    broken = int((~np.isfinite(result)).any(axis=(1, 2)).sum())
    if broken:
        raise DataError(f"{broken} of {len(result)} faces have NaN or infinite coordinates")
    return result


def areas(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """(F,) areas of (F, 3, 3) triangles, in squared units of the mesh. DataError when they sum to zero."""
    # The longest side as unit keeps the products of very small or large coordinates in range.
    with np.errstate(over="ignore"):  # it is told below, in a line
        unit = float(np.abs(corners - corners[0, 0]).max())
    if not 0.0 < unit < _FARTHEST:
        raise DataError("the mesh has no extent: all vertices coincide, or they are too far apart")
    sides = (corners - corners[0, 0]) / unit
    result: NDArray[np.float64] = 0.5 * np.linalg.norm(
        np.cross(sides[:, 1] - sides[:, 0], sides[:, 2] - sides[:, 0]), axis=1
    )
    if result.sum() <= 0.0:
        raise DataError("the mesh has no area: all faces are degenerate")
    return result * unit**2


def bounds(corners: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Centre (3,) of the axis-aligned box and radius of the sphere about it that holds all (F, 3, 3) triangles.

    DataError when the radius is zero or not finite.
    """
    flat = corners.reshape(-1, 3)
    centre = flat.min(axis=0) / 2 + flat.max(axis=0) / 2
    radius = float(np.sqrt(((flat - centre) ** 2).sum(axis=1).max()))
    if not 0.0 < radius < np.inf:
        raise DataError("the mesh has no extent: all vertices coincide, or they are too far apart")
    return centre, radius


def face_colors(part: MeshPart) -> NDArray[np.uint8]:
    """(F, 3) uint8 colours of a part's faces, its texture apart."""
    if part.face_colors is not None:
        return part.face_colors
    return np.tile(np.array(part.color, np.uint8), (len(part.faces), 1))
