"""Point clouds against plain float64 references."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.mesh import Mesh, MeshPart
from captionless.precompute.pointcloud import cloud, farthest_point_order, normalise, ordered, sample_surface
from tests.parts import painted, part, quad


def square(size: float, z: float, **look: Any) -> MeshPart:
    return quad([[0, 0, z], [size, 0, z], [size, size, z], [0, size, z]], **look)


def reference_order(points: NDArray[np.float64]) -> list[int]:
    """Greedy farthest point sampling as one writes it down; the lowest index among equals."""
    order = [0]
    while len(order) < len(points):
        distance = ((points[:, None] - points[order][None]) ** 2).sum(axis=2).min(axis=1)
        distance[order] = -1
        order.append(int(np.argmax(distance)))
    return order


def test_samples_are_spread_by_area() -> None:
    n = 20_000
    points, colors = sample_surface(
        Mesh((square(1.0, 0.0, color=(1, 2, 3)), square(3.0, 5.0, color=(4, 5, 6)))), n, seed=1
    )
    assert (points.dtype, points.shape, colors.dtype, colors.shape) == (np.float32, (n, 3), np.uint8, (n, 3))
    small = points[:, 2] == 0
    sigma = np.sqrt(0.1 * 0.9 * n)
    assert abs(small.sum() - 0.1 * n) < 4 * sigma
    assert (colors[small] == (1, 2, 3)).all()
    assert (colors[~small] == (4, 5, 6)).all()
    # Within the large square: uniform in each of 3 x 3 cells, so also over both of its triangles.
    cells = np.histogram2d(points[~small, 0], points[~small, 1], bins=3, range=[[0, 3], [0, 3]])[0]
    share = (~small).sum() / 9
    assert np.abs(cells - share).max() < 4.5 * np.sqrt(share)


def test_samples_lie_on_the_surface() -> None:
    points, _ = sample_surface(Mesh((part(trimesh.creation.box((2, 2, 2))),)), 500, seed=0)
    np.testing.assert_allclose(np.abs(points).max(axis=1), 1.0, atol=1e-6)


def test_faces_of_no_area_get_no_sample() -> None:
    flat = MeshPart(np.ones((3, 3)), np.array([[0, 1, 2]], np.int32), color=(9, 9, 9))
    for parts in ((flat, square(1.0, 0.0)), (square(1.0, 0.0), flat)):
        assert (sample_surface(Mesh(parts), 1000, seed=0)[1] != 9).all()


def test_colours_come_from_texture_and_faces() -> None:
    texture = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]], np.uint8)
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)
    points, colors = sample_surface(Mesh((square(1.0, 0.0, uv=uv, texture=painted(texture)),)), 400, seed=0)
    row, column = (points[:, 1] < 0.5).astype(int), (points[:, 0] >= 0.5).astype(int)  # v = 0 is the bottom row
    np.testing.assert_array_equal(colors, texture[row, column])

    repeated = sample_surface(Mesh((square(1.0, 0.0, uv=uv - 3, texture=painted(texture)),)), 400, seed=0)[1]
    assert (repeated == colors).all(axis=1).mean() > 0.99  # texels at borders may differ

    faces = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)
    points, colors = sample_surface(Mesh((square(1.0, 0.0, face_colors=faces),)), 400, seed=0)
    np.testing.assert_array_equal(colors, faces[(points[:, 1] > points[:, 0]).astype(int)])


def test_normalise_is_centroid_and_largest_norm() -> None:
    points = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32) * 40 + 7
    centred = points.astype(np.float64) - points.astype(np.float64).mean(axis=0)
    expected = centred / np.linalg.norm(centred, axis=1).max()
    np.testing.assert_allclose(normalise(points), expected, atol=1e-7)
    with pytest.raises(DataError, match="no extent"):
        normalise(np.ones((4, 3)))
    with pytest.raises(DataError, match="NaN"):
        normalise(np.full((4, 3), np.nan))


def test_farthest_point_order_is_the_greedy_one() -> None:
    random = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    np.testing.assert_array_equal(farthest_point_order(random), reference_order(random.astype(np.float64)))
    # Many ties and duplicates, all exact: the lowest index each time, every point once.
    lattice = np.random.default_rng(1).integers(0, 4, (200, 3)).astype(np.float32)
    order = farthest_point_order(lattice)
    np.testing.assert_array_equal(order, reference_order(lattice.astype(np.float64)))
    np.testing.assert_array_equal(farthest_point_order(lattice, 50), order[:50])
    assert len(farthest_point_order(lattice, 0)) == 0
    with pytest.raises(ValueError, match="201 of 200"):
        farthest_point_order(lattice, 201)


def test_a_stored_prefix_is_the_farthest_point_sample() -> None:
    stored = cloud(Mesh((part(trimesh.creation.torus(1.0, 0.3)),)), 400, "torus-0001")
    assert (stored.dtype, stored.shape) == (np.float16, (400, 6))
    np.testing.assert_array_equal(farthest_point_order(stored[:, :3].astype(np.float32)), np.arange(400))
    norms = np.linalg.norm(stored[:, :3].astype(np.float64), axis=1)
    assert norms.max() == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(stored[:, 3:], 178 / 255, atol=1e-3)


def test_a_cloud_depends_on_mesh_and_key_alone() -> None:
    mesh = Mesh((part(trimesh.creation.icosphere(2)),))
    np.testing.assert_array_equal(cloud(mesh, 64, "a"), cloud(mesh, 64, "a"))
    assert (cloud(mesh, 64, "a") != cloud(mesh, 64, "b")).any()
    seed = int.from_bytes(hashlib.sha256(b"a").digest()[:8], "little")  # not Python's hash, which differs by process
    np.testing.assert_array_equal(cloud(mesh, 64, "a"), ordered(*sample_surface(mesh, 64, seed)))


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_units_do_not_matter(scale: float) -> None:
    shape = trimesh.creation.icosphere(1)
    shape.apply_scale(scale)
    stored = cloud(Mesh((part(shape),)), 64, "k")
    expected = cloud(Mesh((part(trimesh.creation.icosphere(1)),)), 64, "k")
    np.testing.assert_allclose(np.sort(stored[:, :3], axis=0), np.sort(expected[:, :3], axis=0), atol=2e-3)


@pytest.mark.parametrize(
    ("corners", "named"),
    [
        ([[0, 0, 0], [1, 1, 1], [2, 2, 2]], "no area"),
        ([[1, 1, 1], [1, 1, 1], [1, 1, 1]], "no extent"),
        ([[0, 0, 0], [1, 0, 0], [0, np.nan, 0]], "1 of 1 faces"),
        ([[0, 0, 0], [np.inf, 0, 0], [0, 1, 0]], "1 of 1 faces"),
        ([], "no faces"),
    ],
    ids=["line", "one-point", "nan", "infinite", "empty"],
)
def test_degenerate_meshes_are_reported(corners: list[list[float]], named: str) -> None:
    faces = np.arange(len(corners), dtype=np.int32).reshape(-1, 3)
    mesh = Mesh((MeshPart(np.array(corners, np.float64).reshape(-1, 3), faces),))
    with pytest.raises(DataError, match=named):
        cloud(mesh, 16, "k")
