"""Views: conventions, mask, invariances, determinism, and what cannot be rendered."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.mesh import Mesh, MeshPart
from captionless.precompute.camera import Light
from captionless.precompute.render import Renderer
from captionless.precompute.shading import corner_normals
from captionless.precompute.surface import triangles
from captionless.store.views import on_white
from tests.parts import painted, part, quad

ROOT = Path(__file__).parents[2]
RED, GREEN, BLUE, YELLOW, GREY = (220, 30, 30), (30, 200, 30), (30, 30, 220), (220, 220, 30), (128, 128, 128)


def cube() -> Mesh:
    """Sides by colour: +z red, +x green, -z blue, -x yellow, top and bottom grey."""
    box = trimesh.creation.box((1, 1, 1))
    sides = {(0, 0, 1): RED, (1, 0, 0): GREEN, (0, 0, -1): BLUE, (-1, 0, 0): YELLOW}
    colors = [sides.get(tuple(np.rint(n).astype(int).tolist()), GREY) for n in box.face_normals]
    return Mesh((part(box, face_colors=np.array(colors, np.uint8)),))


def lamp() -> Mesh:
    stand = trimesh.creation.cylinder(0.05, segment=[(0, 0, 0), (0, 1, 0)], sections=16)
    ball = trimesh.creation.icosphere(2, 0.25)
    ball.apply_translation((0.1, 1.1, 0.2))
    uv = np.stack([ball.vertices[:, 0], ball.vertices[:, 1]], axis=1)
    texture = np.indices((16, 16)).sum(axis=0)[..., None] % 2 * np.array(YELLOW) + 20
    return Mesh((part(stand, color=BLUE), part(ball, uv=uv, texture=painted(texture.astype(np.uint8)))))


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(views=4, size=64, elevation=0.0)


def nearest(pixel: NDArray[np.uint8]) -> tuple[int, int, int]:
    """The side's colour that a shaded pixel has, by direction in RGB."""
    colors = [RED, GREEN, BLUE, YELLOW, GREY]
    unit = [np.array(c) / np.linalg.norm(c) for c in colors]
    return colors[int(np.argmax([u @ pixel[:3] / max(1, np.linalg.norm(pixel[:3])) for u in unit]))]


def test_views_go_round_the_object_from_its_front(renderer: Renderer) -> None:
    views = renderer.render(cube())
    assert views.shape == (4, 64, 64, 4)
    assert views.dtype == np.uint8
    assert [nearest(v[32, 32]) for v in views] == [RED, GREEN, BLUE, YELLOW]


def test_30_views_are_12_degrees_apart() -> None:
    turning = Renderer(views=30, size=32)
    views = turning.render(lamp())
    assert views.shape[0] == 30
    np.testing.assert_array_equal(views[[1, 29]], turning.render_at(lamp(), [12.0, 348.0], [20.0, 20.0]))


def test_right_and_up_are_where_they_belong(renderer: Renderer) -> None:
    marks = [((1, 0, 0), GREEN), ((0, 1, 0), RED), ((-1, -1, 0), BLUE)]
    balls = []
    for at, color in marks:
        ball = trimesh.creation.icosphere(2, 0.3)
        ball.apply_translation(at)
        balls.append(part(ball, color=color))
    view = renderer.render_at(Mesh(tuple(balls)), [0.0], [0.0])[0]
    rows, columns = np.nonzero(view[..., 3] == 255)
    where = {c: [] for c in (RED, GREEN, BLUE)}  # type: ignore[var-annotated]
    for i, j in zip(rows, columns, strict=True):
        where[nearest(view[i, j])].append((i, j))
    red, green, blue = (np.mean(where[c], axis=0) for c in (RED, GREEN, BLUE))
    assert red[0] < green[0] < blue[0]
    assert blue[1] < red[1] < green[1]


def test_elevation_looks_from_above(renderer: Renderer) -> None:
    above, below = renderer.render_at(cube(), [0.0, 0.0], [90.0, -90.0])
    assert nearest(above[32, 32]) == nearest(below[32, 32]) == GREY


def test_a_sphere_fills_the_frame_as_the_camera_geometry_says() -> None:
    views = Renderer(views=2, size=128).render(Mesh((part(trimesh.creation.icosphere(5, 7.0)),)))
    half = math.radians(10.0)
    radius = math.tan(math.asin(math.sin(half) / 1.02)) / math.tan(half)
    covered = views[..., 3].astype(np.float64).mean(axis=(1, 2)) / 255
    np.testing.assert_allclose(covered, math.pi * radius**2 / 4, rtol=0.01)


def test_what_is_not_covered_is_white_and_transparent(renderer: Renderer) -> None:
    views = renderer.render(lamp())
    outside = views[..., 3] == 0
    assert 0.5 < outside.mean() < 0.99
    assert (views[outside] == (255, 255, 255, 0)).all()
    assert (views[..., :3][views[..., 3] == 255] < 255).any(axis=-1).all()


def test_edges_keep_the_objects_colour(renderer: Renderer) -> None:
    ball = Mesh((part(trimesh.creation.icosphere(4), color=(255, 0, 0)),))
    edge = renderer.render(ball)
    edge = edge[(edge[..., 3] > 0) & (edge[..., 3] < 255)]
    assert len(edge) > 50
    assert set(np.unique(edge[:, 3])) <= {64, 128, 191}
    assert (edge[:, 0] > edge[:, 1].astype(int) + 60).all()  # not blended with white


def test_on_white_is_the_composite() -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (7, 9, 4), np.uint8)
    alpha = rgba[..., 3:].astype(np.float64) / 255
    expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(on_white(rgba).astype(np.float64) - expected).max() <= 0.5 + 1e-9


def test_units_and_place_do_not_matter(renderer: Renderer) -> None:
    def moved(scale: float, shift: float) -> Mesh:
        return Mesh(tuple(replace(p, vertices=p.vertices * scale + shift) for p in lamp().parts))

    reference = renderer.render(lamp())
    np.testing.assert_array_equal(renderer.render(moved(2.0**20, 0.0)), reference)
    other = renderer.render(moved(0.0254, 0.5))
    assert np.abs(on_white(other).astype(int) - on_white(reference)).mean() < 0.1


def test_winding_does_not_matter(renderer: Renderer) -> None:
    flipped = Mesh(tuple(replace(p, faces=p.faces[:, ::-1].copy()) for p in cube().parts))
    assert np.abs(renderer.render(flipped).astype(int) - renderer.render(cube())).max() <= 1


def test_a_vertex_that_no_face_uses_does_not_matter(renderer: Renderer) -> None:
    stray = [[np.nan, 0, 0], [np.inf, 0, 0], [1e30, -1e30, 0]]
    with_stray = Mesh(tuple(replace(p, vertices=np.concatenate([p.vertices, stray])) for p in cube().parts))
    np.testing.assert_array_equal(renderer.render(with_stray), renderer.render(cube()))


def test_places_on_a_texture_that_are_no_numbers_cost_nothing_but_their_faces_look(renderer: Renderer) -> None:
    stand, ball = lamp().parts
    assert ball.uv is not None
    uv = ball.uv.copy()
    uv[::7], uv[1::7], uv[2::7] = np.nan, np.inf, 3e38
    broken = MeshPart(ball.vertices, ball.faces, uv=uv, texture=ball.texture)
    views = renderer.render(Mesh((stand, broken)))
    np.testing.assert_array_equal(views[..., 3], renderer.render(lamp())[..., 3])


def test_texture_is_upright(renderer: Renderer) -> None:
    square = quad(
        [[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]],
        uv=np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]),
        texture=painted(np.array([[RED, GREEN], [BLUE, YELLOW]], np.uint8).repeat(8, 0).repeat(8, 1)),
    )
    view = renderer.render_at(Mesh((square,)), [0.0], [0.0])[0]
    assert [nearest(view[i, j]) for i in (20, 44) for j in (20, 44)] == [RED, GREEN, BLUE, YELLOW]


def test_each_view_has_its_own_lights(renderer: Renderer) -> None:
    left, right, dim = (
        [Light((-1.0, 0.0, 0.2), 1.0)],
        [Light((1.0, 0.0, 0.2), 1.0)],
        [Light((0.0, 0.0, 1.0), 0.1)],
    )
    ball = Mesh((part(trimesh.creation.icosphere(4), color=(200, 200, 200)),))
    views = renderer.render_at(ball, [0.0] * 3, [0.0] * 3, [left, right, dim])[..., 0].astype(int)
    assert views[0, 32, 12] > views[0, 32, 52] + 20
    assert views[1, 32, 52] > views[1, 32, 12] + 20
    assert views[2, 32, 32] < 130


_PROGRAM = """
import hashlib, os
os.environ["NUMBA_NUM_THREADS"] = "3"
from tests.precompute.test_render import lamp
from captionless.precompute.render import Renderer
print(hashlib.sha256(Renderer(views=4, size=64, elevation=0.0).render(lamp()).tobytes()).hexdigest())
"""


def test_same_bytes_in_every_process_with_any_threads_and_after_other_objects(renderer: Renderer) -> None:
    renderer.render(cube())
    here = hashlib.sha256(renderer.render(lamp()).tobytes()).hexdigest()
    done = subprocess.run([sys.executable, "-c", _PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == here
    assert done.stderr == ""


def test_a_million_faces(renderer: Renderer) -> None:
    y, x = np.mgrid[0:708, 0:708]
    vertices = np.stack([x, 40 * np.sin(x / 50) * np.cos(y / 50), y], axis=-1).reshape(-1, 3)
    corner = (y[:-1, :-1] * 708 + x[:-1, :-1]).ravel()
    faces = np.concatenate([
        np.stack([corner, corner + 708, corner + 1], 1),
        np.stack([corner + 1, corner + 708, corner + 709], 1),
    ]).astype(np.int32)  # fmt: skip
    view = renderer.render_at(Mesh((MeshPart(vertices, faces),)), [0.0], [45.0])
    assert 0.2 < (view[..., 3] > 0).mean() < 0.9


@pytest.mark.parametrize(
    ("vertices", "named"),
    [
        (np.zeros((0, 3)), "no faces"),
        (np.array([[0, 0, 0], [1, 0, 0], [0, np.nan, 0]]), "NaN"),
        (np.array([[0, 0, 0], [1, 0, 0], [0, np.inf, 0]]), "NaN"),
        (np.ones((3, 3)), "no extent"),
        (np.zeros((2, 3)), r"vertex 2\b"),
    ],
    ids=["empty", "nan", "infinite", "one-point", "vertex-index"],
)
def test_what_cannot_be_rendered_is_reported(renderer: Renderer, vertices: NDArray[np.float64], named: str) -> None:
    faces = np.array([[0, 1, 2]] if len(vertices) else np.zeros((0, 3)), np.int32)
    with pytest.raises(DataError, match=named):
        renderer.render(Mesh((MeshPart(vertices, faces),)))


def test_normals_are_sharp_at_creases_and_smooth_on_round_surfaces() -> None:
    box = triangles(cube())
    flat = np.cross(box[:, 1] - box[:, 0], box[:, 2] - box[:, 0])
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    np.testing.assert_allclose(corner_normals(box), np.repeat(flat[:, None], 3, axis=1), atol=1e-6)

    ball = triangles(Mesh((part(trimesh.creation.icosphere(4)),)))
    np.testing.assert_allclose(corner_normals(ball), ball, atol=0.02)
    ball[::2] = ball[::2, ::-1]  # half of the faces wound the other way
    agreement = np.einsum("fkd,fkd->fk", corner_normals(ball), ball)
    np.testing.assert_allclose(np.abs(agreement), 1.0, atol=1e-3)
    assert (agreement[::2] < 0).all()
    assert (agreement[1::2] > 0).all()
