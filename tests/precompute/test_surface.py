"""The surface of a mesh: that the quick check of a mesh finds what the arrays of its triangles show."""

from __future__ import annotations

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.mesh import Mesh, MeshPart
from captionless.precompute.surface import areas, check, triangles, without_outliers

_CORNERS = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def _part(faces: object, corners: object = _CORNERS) -> MeshPart:
    return MeshPart(np.array(corners, np.float64).reshape(-1, 3), np.array(faces, np.int32).reshape(-1, 3))


def _moved(at: tuple[int, int], value: float) -> np.ndarray:
    corners = np.array(_CORNERS)
    corners[at] = value
    return corners


_GOOD = _part([[0, 1, 2]])
_FLAT = _part([[0, 1, 1]])


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [_part([])],
        [_part([[0, 1, 4]])],
        [_part([[-1, 1, 2]])],
        [_GOOD, _part([[0, 1, 9]])],
        [_part([[0, 1, 0]], [])],
        [_part([[0, 1, 2]], _moved((1, 2), np.nan))],
        [_part([[0, 1, 2], [0, 2, 3]], _moved((3, 0), np.inf))],
        [_GOOD, _part([[0, 1, 2]], _moved((0, 0), -np.inf))],
        [_part([[0, 1, 2]], np.ones((3, 3)))],
        [_FLAT],
        [_FLAT, _part([[2, 2, 3]])],
        [_part([[0, 1, 2]], [[-1.7e308, 0, 0], [1.7e308, 0, 0], [0, 1, 0]])],
        [_part([[0, 1, 2]], np.array(_CORNERS) * 1e300)],
        [_part([[0, 1, 2]], [[0, 0, 0], [1e-200, 0, 0], [1, 0, 0]])],
    ],
)
def test_a_wrong_mesh_has_the_error_of_its_triangles(parts: list[MeshPart]) -> None:
    mesh = Mesh(tuple(parts))
    with pytest.raises(DataError) as expected:
        areas(triangles(mesh))
    with pytest.raises(DataError) as found:
        check(mesh)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize(
    "parts",
    [
        [_GOOD],
        [_part([]), _GOOD],
        [_FLAT, _GOOD],
        [_part([[0, 1, 1], [1, 2, 3]])],
        [_part([[0, 1, 2]], _moved((3, 0), np.nan))],
        [_part([[0, 1, 2]], np.array(_CORNERS) * 1e-300)],
        [_part([[0, 1, 2]], np.array(_CORNERS) * 1e149)],
        [_part([[0, 1, 2]], np.array(_CORNERS) * 1e-3 + 1e7)],
    ],
    ids=["one", "empty-part", "flat-part", "flat-face", "unused-nan", "tiny", "huge", "far"],
)
def test_a_mesh_that_has_an_area_passes(parts: list[MeshPart]) -> None:
    mesh = Mesh(tuple(parts))
    areas(triangles(mesh))
    check(mesh)


def test_corners_that_are_not_finite_are_told_whatever_else_is_left_out() -> None:
    far = _part([[1, 1, 1]], np.array(_CORNERS) * 9)
    broken = _part([[0, 1, 1], [2, 2, 2]], _moved((2, 0), np.nan))
    mesh = without_outliers(Mesh((_GOOD, far, broken)))
    assert mesh.face_count == 2
    with pytest.raises(DataError, match="1 of 2 faces have NaN"):
        check(mesh)
