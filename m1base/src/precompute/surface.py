"""A mesh's surface as triangles in one piece, checked: what rendering and sampling both start from.

Files in the wild hold NaN vertices, faces of no area and vertices that no face uses.
Here, and only here, it is decided what of that is tolerable: faces of no area are
carried along (they cover no pixel and get no sample), anything that leaves no
surface or no finite size is a `DataError`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.mesh import Mesh, MeshPart


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
    unit = float(np.abs(corners - corners[0, 0]).max())
    if not 0.0 < unit < np.inf:
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
