"""Polygons cut into triangles, beside the area that their outline encloses, in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.precompute.meshes import polygons
from captionless.precompute.meshes.polygons import triangulated

Outline = NDArray[np.float64]
CHANCE = np.random.default_rng(0)


def enclosed(outline: Outline) -> float:
    """The signed area of an outline (N, 2)."""
    x, y = outline.T
    return float(0.5 * np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def cut(vertices: NDArray[np.float64]) -> NDArray[np.int32]:
    size = len(vertices)
    triangles, owners = triangulated(vertices, np.array([size], np.int32), np.arange(size, dtype=np.int32))
    assert owners.tolist() == [0] * (size - 2)
    return triangles


def check(outline: Outline, far: float = 0.0, near: float = 1e-9) -> None:
    """In any plane, turning either way and from any corner on: triangles turn as the outline does, and their areas add
    up to what it encloses, so that none lies outside or over another."""
    basis, _ = np.linalg.qr(CHANCE.normal(size=(3, 3)))
    for turned in (outline, outline[::-1], np.roll(outline, len(outline) // 3, axis=0)):
        vertices = np.column_stack([turned, np.zeros(len(turned))]) @ basis.T + far
        triangles = cut(vertices)
        a, b, c = (vertices[triangles[:, i]] for i in range(3))
        signed = 0.5 * np.cross(b - a, c - a) @ np.cross(basis[:, 0], basis[:, 1])
        assert (signed * np.sign(enclosed(turned)) > -near).all()
        assert signed.sum() == pytest.approx(enclosed(turned), rel=near, abs=near)


def star(corners: int, chance: np.random.Generator) -> Outline:
    angles = (np.arange(corners) + chance.uniform(0, 0.9, corners)) * 2 * np.pi / corners
    radii = chance.uniform(0.2, 1, corners)
    return np.column_stack([radii * np.cos(angles), radii * np.sin(angles)])


def spiral(corners: int) -> Outline:
    angles = np.linspace(0, 8 * np.pi, corners)
    directions = np.column_stack([np.cos(angles), np.sin(angles)])
    return np.concatenate([directions * (angles + 4)[:, None], (directions * (angles + 1)[:, None])[::-1]])


def comb(teeth: int) -> Outline:
    edge = [(float(x), 10.0 if x % 2 else 0.5) for x in range(2 * teeth)]
    return np.array([(0.0, 0.0), (2.0 * teeth, 0.0), *reversed(edge)])


@pytest.mark.parametrize("corners", range(4, 40, 3))
def test_stars(corners: int) -> None:
    for _ in range(3):
        check(star(corners, np.random.default_rng(corners)))


@pytest.mark.parametrize("corners", [20, 60, 300])
def test_spirals(corners: int) -> None:
    check(spiral(corners), near=1e-7)


@pytest.mark.parametrize("teeth", [2, 3, 40])
def test_combs(teeth: int) -> None:
    check(comb(teeth), near=1e-7)


def test_a_hole_joined_to_the_outline() -> None:
    outline = [(0, 0), (10, 0), (10, 10), (0, 10), (0, 0), (3, 3), (3, 7), (7, 7), (7, 3), (3, 3)]
    for start in range(len(outline)):
        check(np.roll(np.array(outline, np.float64), start, axis=0))


def test_straight_corners() -> None:
    outline = np.array([(0, 0), (1, 0), (2, 0), (4, 0), (4, 2), (3, 2), (2, 2), (2, 4), (1, 4), (0, 4), (0, 2)], float)
    for start in range(len(outline)):
        check(np.roll(outline, start, axis=0))


def test_coordinates_of_a_map() -> None:
    check(star(15, np.random.default_rng(3)) * 20, far=4_649_776.0, near=1e-4)


@pytest.mark.parametrize("scale", [1e-200, 1e-3, 1e150])
def test_any_size(scale: float) -> None:
    outline = star(12, np.random.default_rng(4))
    vertices = np.column_stack([outline, np.zeros(12)])
    assert (
        cut(vertices * scale).tolist()
        == cut(vertices * np.exp2(np.round(np.log2(scale)))).tolist()
        == cut(vertices).tolist()
    )


def test_convex_polygons_are_fans() -> None:
    for corners in range(4, 30):
        angles = np.arange(corners) * 2 * np.pi / corners
        vertices = np.column_stack([np.cos(angles), np.sin(angles), np.full(corners, 0.3)]).round(6)
        assert cut(vertices).tolist() == [[0, i + 1, i + 2] for i in range(corners - 2)]


def test_each_concave_quad_is_cut_at_its_inward_corner() -> None:
    arrow = np.array([(0, 0, 0), (2, -1, 0), (0, 3, 0), (-2, -1, 0)], np.float64)
    for start in range(4):
        triangles = cut(np.roll(arrow, start, axis=0))
        assert all(start in corners for corners in triangles.tolist())


@pytest.mark.parametrize(
    "vertices",
    [
        [(0, 0, 0), (1, 1, 0), (1, 0, 0), (0, 1, 0)],
        [(0, 0, 0), (np.nan, 1, 0), (1, 0, 0), (0, 1, 0)],
        [(0, 0, 0), (np.inf, 1, 0), (1, 0, 0), (0, 1, 0)],
        [(0, 0, 0)] * 5,
        [(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)],
        [(0, 0, 0), (1e308, 1, 0), (-1e308, 0, 0), (0, 1e308, 0)],
    ],
)
def test_what_has_no_right_answer_has_a_whole_one(vertices: list[tuple[float, float, float]]) -> None:
    triangles = cut(np.array(vertices, np.float64))
    assert set(triangles.ravel().tolist()) == set(range(len(vertices)))


def test_outlines_that_cross_themselves_end() -> None:
    for corners in range(4, 60):
        triangles = cut(np.random.default_rng(corners).normal(size=(corners, 3)))
        assert ((triangles >= 0) & (triangles < corners)).all()
        assert len({tuple(sorted(t)) for t in triangles.tolist()}) == corners - 2


def test_many_polygons_and_their_order() -> None:
    sizes = np.array([3, 5, 4, 3, 6], np.int32)
    outlines = [star(int(size), np.random.default_rng(i)) for i, size in enumerate(sizes)]
    vertices = np.column_stack([np.concatenate(outlines), np.zeros(int(sizes.sum()))])
    order = np.random.default_rng(1).permutation(len(vertices)).astype(np.int32)
    shuffled = np.empty_like(vertices)
    shuffled[order] = vertices
    triangles, owners = triangulated(shuffled, sizes, order)
    assert owners.tolist() == list(itertools.chain.from_iterable([i] * (s - 2) for i, s in enumerate(sizes.tolist())))
    a, b, c = (vertices[triangles[:, i], :2] for i in range(3))
    doubled = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    for polygon, outline in enumerate(outlines):
        assert doubled[owners == polygon].sum() / 2 == pytest.approx(enclosed(outline))


def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polygons, "_MOST_WORK", 1000)
    check(comb(3), near=1e-7)
    with pytest.raises(DataError, match="a polygon of 202 corners"):
        cut(np.column_stack([comb(100), np.zeros(202)]))
