"""What parts look like, in views and clouds, beside the formula in float64."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from captionless.mesh import Glow, Mesh, MeshPart, Picture, Wrap
from captionless.precompute.camera import DISTANCE, FIELD_OF_VIEW
from captionless.precompute.materials import seen, tinted
from captionless.precompute.meshes.colour import linear, srgb
from captionless.precompute.pointcloud import sample_surface
from captionless.precompute.render import Renderer
from tests.parts import painted, quad

SIZE = 48
CORNERS = [[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]
UV = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])


def square(**look: Any) -> MeshPart:
    return quad(CORNERS, **{"unlit": True, **look})


def front(*parts: MeshPart, size: int = SIZE) -> NDArray[np.uint8]:
    return Renderer(1, size, supersampling=1).render_at(Mesh(parts), [0.0], [0.0])[0]


def places(view: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The covered pixels (n, 2), and where on the plane z = 0 of the square they look, x and y in -1..1."""
    pixels = np.argwhere(view[..., 3] == 255)
    half = DISTANCE * math.tan(math.radians(FIELD_OF_VIEW / 2)) * math.sqrt(2)  # the square's sphere has that radius
    at = np.stack([2 * pixels[:, 1] + 1 - len(view), len(view) - 2 * pixels[:, 0] - 1], axis=1) / len(view) * half
    return pixels, at


def levels(light: NDArray[np.floating]) -> NDArray[np.float64]:
    return 255 * srgb(light)


@numba.njit  # type: ignore[untyped-decorator]
def kernel(level: np.float32, times: np.float32, plus: np.float32) -> np.float32:
    return tinted(level, times, plus)


def test_views_and_clouds_have_one_formula() -> None:
    random = np.random.default_rng(0)
    base = random.integers(0, 256, (2000, 3), np.uint8)
    vertex, glow = random.random((2000, 3)) * 1.3, random.random((2000, 3)) ** 4
    glow[::3] = 0
    factor = (0.9, 0.5, 0.05, 1.0)
    expected = levels(linear(base / 255) * factor[:3] * vertex + glow)
    cloud = seen(base, factor, vertex, glow)
    assert np.abs(cloud - expected).max() <= 0.5
    view = [
        [kernel(np.float32(b[k]), np.float32(factor[k] * v[k]), np.float32(g[k])) for k in range(3)]
        for b, v, g in zip(base, vertex, glow, strict=True)
    ]
    assert np.abs(np.array(view) - expected).max() < 0.05


def test_levels_between_whole_ones_are_between_them_too() -> None:
    at = np.linspace(0, 255, 1777)
    found = [kernel(np.float32(level), np.float32(1), np.float32(0)) for level in at]
    assert np.abs(np.array(found) - at).max() < 0.05


def test_base_factor_vertex_colours_and_glow_in_a_view() -> None:
    random = np.random.default_rng(1)
    vertex = random.random((4, 4)).astype(np.float32)
    vertex[2] = vertex[0] + vertex[1] - vertex[0] + vertex[3] - vertex[0]  # linear over both triangles
    part = square(color=(220, 120, 60), factor=(0.8, 0.6, 0.4, 0.5), vertex_colors=vertex, glow=Glow((0.02, 0.1, 0.3)))
    view = front(part)
    pixels, at = places(view)
    assert len(pixels) > 500
    across, up = (at + 1).T / 2
    colors = vertex[0] + across[:, None] * (vertex[1] - vertex[0]) + up[:, None] * (vertex[3] - vertex[0])
    light = linear(np.array([220, 120, 60]) / 255) * (0.8, 0.6, 0.4) * colors[:, :3] + (0.02, 0.1, 0.3)
    assert np.abs(view[tuple(pixels.T)][:, :3] - levels(light)).max() <= 1.0

    points, found = sample_surface(Mesh((part,)), 500, seed=0)
    across, up = (points[:, :2].astype(np.float64) + 1).T / 2
    colors = vertex[0] + across[:, None] * (vertex[1] - vertex[0]) + up[:, None] * (vertex[3] - vertex[0])
    light = linear(np.array([220, 120, 60]) / 255) * (0.8, 0.6, 0.4) * colors[:, :3] + (0.02, 0.1, 0.3)
    assert np.abs(found - levels(light)).max() <= 0.51


def test_a_texture_is_tinted_and_one_that_glows_has_places_of_its_own() -> None:
    four = np.array([[[250, 10, 10], [10, 250, 10]], [[10, 10, 250], [200, 200, 10]]], np.uint8)
    large, small = painted(four.repeat(16, 0).repeat(16, 1)), painted(four[:, ::-1].repeat(16, 0).repeat(16, 1))
    part = square(
        uv=UV, texture=large, factor=(0.5, 1.0, 0.25, 1.0), glow=Glow((0.3, 0.2, 0.1), UV[[1, 2, 3, 0]], small)
    )
    view = front(part)
    base = linear(four / 255) * (0.5, 1.0, 0.25)
    # The corners' places on the glow are a quarter of a turn further.
    glow = np.rot90(linear(four[:, ::-1] / 255), -1, (0, 1)) * (0.3, 0.2, 0.1)
    turned = [base + np.rot90(glow, k, (0, 1)) for k in range(4)]
    third = SIZE // 3
    found = np.array([[view[i, j, :3] for j in (third, 2 * third)] for i in (third, 2 * third)])
    errors = [np.abs(found - levels(one)).max() for one in turned]
    assert min(errors) <= 1.0
    assert sorted(errors)[1] > 30
    colors = sample_surface(Mesh((part,)), 300, seed=0)
    points = colors[0]
    row, column = (points[:, 1] < 0).astype(int), (points[:, 0] > 0).astype(int)
    assert np.abs(colors[1] - levels(turned[int(np.argmin(errors))])[row, column]).max() <= 0.51


def test_plain_parts_are_left_to_the_level() -> None:
    random = np.random.default_rng(2)
    picture = painted(random.integers(0, 256, (8, 8, 3), np.uint8))
    plain, same = square(uv=UV, texture=picture), square(uv=UV, texture=picture, glow=Glow((0.0, 0.0, 0.0)))
    assert np.abs(front(plain).astype(int) - front(same)).max() <= 1
    assert (sample_surface(Mesh((plain,)), 200, 0)[1] == sample_surface(Mesh((same,)), 200, 0)[1]).all()


def test_what_is_unlit_has_its_own_colour_from_everywhere() -> None:
    colors = [(200, 100, 50), (1, 2, 3), (255, 255, 255)]
    for color in colors:
        views = Renderer(3, SIZE).render(Mesh((square(color=color),)))
        assert (views[views[..., 3] == 255][:, :3] == color).all()
    lit = Renderer(3, SIZE).render(Mesh((square(color=colors[0], unlit=False),)))
    assert (lit[lit[..., 3] == 255][:, :3] != colors[0]).any()


@pytest.mark.parametrize("wrap", ["repeat", "mirror", "clamp"])
@pytest.mark.parametrize("along", [0, 1])
def test_textures_beyond_their_edges(wrap: Wrap, along: int) -> None:
    random = np.random.default_rng(3)
    texels = random.integers(0, 256, (8, 8, 3), np.uint8)
    mode: tuple[Wrap, Wrap] = ("repeat", "repeat")
    mode = (wrap, "repeat") if along == 0 else ("repeat", wrap)
    axis = 1 - along
    edges = {
        "repeat": [texels, texels, texels],
        "mirror": [np.flip(texels, axis), texels, np.flip(texels, axis)],
        "clamp": [
            np.repeat(np.take(texels, [0], axis), 8, axis), texels, np.repeat(np.take(texels, [7], axis), 8, axis),
        ],
    }[wrap]  # fmt: skip
    unrolled = painted(np.concatenate(edges, axis=axis), ("clamp", "repeat") if along == 0 else ("repeat", "clamp"))
    uv = UV.copy()
    uv[:, along] = uv[:, along] * 2.8 - 0.9
    flat = UV.copy()
    flat[:, along] = (uv[:, along] + 1) / 3
    wrapped, expected = square(uv=uv, texture=painted(texels, mode)), square(uv=flat, texture=unrolled)
    assert np.abs(front(wrapped, size=200).astype(int) - front(expected, size=200)).max() <= 1
    points, colors = sample_surface(Mesh((wrapped,)), 400, 0)
    assert (colors == sample_surface(Mesh((expected,)), 400, 0)[1]).all(axis=1).mean() > 0.99
    assert len(points) == 400


def test_enlarged_texels_have_edges_where_they_should() -> None:
    texels = np.random.default_rng(5).integers(0, 256, (5, 3, 3), np.uint8)
    smooth, sharp = painted(texels), replace(painted(texels), is_sharp=True)
    view = front(square(uv=UV, texture=sharp), size=200)
    inside = view[view[..., 3] == 255][:, :3]
    assert {*map(tuple, inside.tolist())} == {*map(tuple, texels.reshape(-1, 3).tolist())}
    many = {"uv": UV * 400}
    assert (front(square(texture=sharp, **many)) == front(square(texture=smooth, **many))).all(), "smaller ones blend"


def test_vertices_far_from_the_origin_are_where_they_are_to_the_bit() -> None:
    random = np.random.default_rng(4)
    vertices = random.integers(-64, 65, (60, 3)) / 64.0
    vertices[:2] = [[-1, -1, -1], [1, 1, 1]]
    colors = random.random((60, 4)).astype(np.float32)
    part = MeshPart(vertices, np.arange(60, dtype=np.int32).reshape(-1, 3), vertex_colors=colors)
    shift = np.array([4.5e6, 2.0**24, -1e7])
    far = replace(part, vertices=vertices + shift)
    renderer = Renderer(3, SIZE)
    np.testing.assert_array_equal(renderer.render(Mesh((far,))), renderer.render(Mesh((part,))))
    near_points, near_colors = sample_surface(Mesh((part,)), 300, 7)
    points, colors = sample_surface(Mesh((far,)), 300, 7)
    np.testing.assert_array_equal(colors, near_colors)
    np.testing.assert_allclose(points, near_points, atol=1e-6)


def test_parts_may_share_a_texture_with_different_wraps() -> None:
    texels = np.zeros((4, 4, 4), np.uint8)
    texels[...] = 255
    texels[:2, :, 1:3] = 0
    a, b = Picture(texels), Picture(texels, ("clamp", "clamp"))
    uv = UV * (1, 0) + (0, 1.75)
    left = quad([[-1, -1, 0], [0, -1, 0], [0, 1, 0], [-1, 1, 0]], uv=uv, texture=a, unlit=True)
    right = quad([[0, -1, 0], [1, -1, 0], [1, 1, 0], [0, 1, 0]], uv=uv, texture=b, unlit=True)
    view = front(left, right)
    assert view[24, 16, :3].tolist() == view[24, 32, :3].tolist() == [255, 0, 0]
