"""The rasteriser and its shading beside a plain reference: whole numbers and float64, a sample at a time."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from captionless.mesh import Mesh, MeshPart
from captionless.precompute import rasterizer
from captionless.precompute.camera import (
    AMBIENT,
    DIFFUSE,
    DISTANCE,
    FIELD_OF_VIEW,
    SHININESS,
    SPECULAR,
    STUDIO,
    axes,
)
from captionless.precompute.rasterizer import HALF, SNAP
from captionless.precompute.render import Renderer
from captionless.precompute.shading import corner_normals
from captionless.precompute.surface import bounds, triangles
from captionless.precompute.textures import atlas
from tests import parts

WIDTH = 24


class Picture:
    """What the rasteriser makes of a mesh, and what it is made from."""

    def __init__(self, vertices: NDArray[np.float32], faces: NDArray[np.int32], azimuth: float, width: int = WIDTH):
        self.faces = faces
        self.place = np.empty((len(vertices), 2), np.int32)
        self.inverse = np.empty(len(vertices), np.float32)
        self.owner = np.empty((width, width), np.int32)
        rasterizer.project(vertices, axes(azimuth, 20.0), width, self.place, self.inverse)
        self.draw(faces)

    def draw(self, faces: NDArray[np.int32]) -> NDArray[np.int32]:
        nearest = np.empty(self.owner.shape, np.float32)
        rasterizer.cover(faces, self.place, self.inverse, nearest, self.owner)
        return self.owner


def inside(picture: Picture, face: NDArray[np.int32], row: int, column: int) -> tuple[int, int, int] | None:
    """The exact weights of a face's corners at a sample that it covers, or None. On an edge, a sample is covered by the
    face that is to the right of it or below."""
    (xa, ya), (xb, yb), (xc, yc) = ((int(v) for v in picture.place[corner]) for corner in face)
    x, y = column * SNAP + HALF, row * SNAP + HALF
    area = (xb - xa) * (yc - ya) - (yb - ya) * (xc - xa)
    if area == 0:
        return None
    sign = 1 if area > 0 else -1
    found = []
    for (px, py), (qx, qy) in (((xb, yb), (xc, yc)), ((xc, yc), (xa, ya)), ((xa, ya), (xb, yb))):
        weight = sign * ((qx - px) * (y - py) - (qy - py) * (x - px))
        along = (sign * (qx - px), sign * (qy - py))
        if weight < 0 or (weight == 0 and not (along[1] > 0 or (along[1] == 0 and along[0] < 0))):
            return None
        found.append(weight)
    return found[0], found[1], found[2]


def scattered(seed: int, count: int = 40) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Triangles of all sizes in the unit sphere: some tiny, some thin, some with corners on samples."""
    random = np.random.default_rng(seed)
    centres = random.uniform(-2, 2, (count, 1, 3))
    size = 10.0 ** random.uniform(-2, 0.5, (count, 1, 1))
    corners = centres + size * random.uniform(-1, 1, (count, 3, 3))
    corners[::5, 2] = corners[::5, 1] + 1e-3 * random.uniform(-1, 1, (len(corners[::5]), 3))
    corners /= np.linalg.norm(corners, axis=2).max()
    return corners.reshape(-1, 3).astype(np.float32), np.arange(3 * count, dtype=np.int32).reshape(-1, 3)


@pytest.mark.parametrize("seed", range(6))
def test_every_sample_has_the_nearest_of_the_faces_that_cover_it(seed: int) -> None:
    vertices, faces = scattered(seed)
    picture = Picture(vertices, faces, azimuth=50.0 * seed)
    covered = 0
    for row in range(WIDTH):
        for column in range(WIDTH):
            near = {}
            for f, face in enumerate(faces):
                weights = inside(picture, face, row, column)
                if weights is not None:
                    parts = [Fraction(float(picture.inverse[c])) * w for c, w in zip(face, weights, strict=True)]
                    near[f] = float(sum(parts) / sum(weights))
            owner = int(picture.owner[row, column])
            if not near:
                assert owner == -1
                continue
            covered += 1
            assert near[owner] >= max(near.values()) - 1e-6
    assert covered > 30


def test_corners_are_where_the_camera_sees_them() -> None:
    vertices, faces = scattered(1)
    picture = Picture(vertices, faces, azimuth=77.0)
    seen = vertices.astype(np.float64) @ axes(77.0, 20.0).T
    distance = DISTANCE - seen[:, 2]
    half = math.tan(math.radians(FIELD_OF_VIEW / 2))
    expected = (1 + seen[:, :2] / distance[:, None] / half * (1, -1)) * WIDTH / 2 * SNAP
    assert np.abs(picture.place - expected).max() <= 0.5 + 1e-6
    np.testing.assert_allclose(picture.inverse, 1 / distance, rtol=1e-6)


@pytest.mark.parametrize("width", [24, 150])
def test_faces_that_share_edges_cover_each_sample_once(width: int) -> None:
    random = np.random.default_rng(3)
    side = 9
    across, down = np.meshgrid(np.linspace(-0.6, 0.6, side), np.linspace(-0.6, 0.6, side))
    grid = np.stack([across, down, 0 * across], axis=-1)
    grid[1:-1, 1:-1] += random.uniform(-0.06, 0.06, (side - 2, side - 2, 3))
    corner = np.arange(side * side).reshape(side, side)
    a, b, c, d = (q.ravel() for q in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([d, b, c], 1)]).astype(np.int32)
    picture = Picture(grid.reshape(-1, 3).astype(np.float32), faces, azimuth=0.0, width=width)
    together = (picture.owner >= 0).astype(int)
    apart = sum((picture.draw(face[None]) >= 0).astype(int) for face in faces)
    np.testing.assert_array_equal(apart, together)
    first, last = np.flatnonzero(together.any(axis=1))[[0, -1]]
    middle = together[first + 1 : last, width // 3 : 2 * width // 3]
    assert middle.all()


def test_of_faces_that_coincide_the_later_is_seen() -> None:
    vertices, faces = scattered(2, count=8)
    twice = np.concatenate([faces, faces[:, [1, 2, 0]]])
    owner = Picture(vertices, twice, azimuth=0.0).owner
    assert (owner[owner >= 0] >= len(faces)).all()


def shaded(picture: Picture, mesh: Mesh, row: int, column: int, azimuth: float) -> NDArray[np.float64]:
    """The colour of a sample that is covered, after Phong, in float64; of one colour a face."""
    corners = triangles(mesh)
    centre, radius = bounds(corners)
    normals = corner_normals((corners - centre) / radius).astype(np.float64)
    camera = axes(azimuth, 20.0)
    f = int(picture.owner[row, column])
    weights = inside(picture, picture.faces[f], row, column)
    assert weights is not None
    near = picture.inverse[picture.faces[f]].astype(np.float64)
    share = np.array(weights) * near
    share /= share.sum()
    half = math.tan(math.radians(FIELD_OF_VIEW / 2))
    x, y = (2 * column + 1) / WIDTH - 1, 1 - (2 * row + 1) / WIDTH
    eye = camera[2] - half * (x * camera[0] + y * camera[1])
    eye /= np.linalg.norm(eye)
    normal = share @ normals[f]
    normal /= np.linalg.norm(normal)
    (xa, ya), (xb, yb), (xc, yc) = ((int(v) for v in picture.place[corner]) for corner in picture.faces[f])
    if (xb - xa) * (yc - ya) - (yb - ya) * (xc - xa) > 0:  # clockwise, with y downwards up: its back is seen
        normal = -normal
    body, gloss = AMBIENT, 0.0
    for light in STUDIO:
        towards = np.array(light.towards) @ camera / np.linalg.norm(light.towards)
        facing = max(0.0, float(normal @ towards))
        body += DIFFUSE * light.intensity * facing
        mirrored = 2 * (normal @ eye) * normal - eye
        if facing > 0:
            gloss += SPECULAR * light.intensity * max(0.0, float(mirrored @ towards)) ** SHININESS
    assert mesh.parts[0].face_colors is not None
    return np.minimum(255.0, body * mesh.parts[0].face_colors[f] + 255 * gloss)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_seen_is_lit_after_phong(seed: int) -> None:
    vertices, faces = scattered(seed)
    corners = vertices[faces].astype(np.float64)
    centre, radius = bounds(corners)
    colors = np.random.default_rng(seed).integers(0, 256, (len(faces), 3), np.uint8)
    mesh = Mesh((MeshPart(vertices.astype(np.float64), faces, face_colors=colors),))
    azimuth = 31.0
    view = Renderer(1, WIDTH, supersampling=1).render_at(mesh, [azimuth], [20.0])[0]
    picture = Picture(((vertices - centre) / radius).astype(np.float32), faces, azimuth)
    np.testing.assert_array_equal(view[..., 3], np.where(picture.owner >= 0, 255, 0))
    for row, column in np.argwhere(picture.owner >= 0):
        expected = shaded(picture, mesh, row, column, azimuth)
        assert np.abs(view[row, column, :3] - expected).max() <= 1.0


def quad(uv_scale: float, texture: NDArray[np.uint8], shift: float = 0.0) -> Mesh:
    uv = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]) * uv_scale + shift
    corners = [[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]
    return Mesh((parts.quad(corners, uv=uv, texture=parts.painted(texture)),))


def front(mesh: Mesh, size: int = 64) -> NDArray[np.uint8]:
    return Renderer(1, size, supersampling=1).render_at(mesh, [0.0], [0.0])[0]


def test_a_texture_that_is_enlarged_is_blended_between_its_texels() -> None:
    ramp = np.zeros((2, 2, 3), np.uint8)
    ramp[:, 1] = 200
    row = front(quad(1.0, ramp))[32]
    level = row[row[:, 3] > 0, 0].astype(int)
    quarter = len(level) // 4  # the centres of the texels are at a quarter and three quarters
    steps = np.diff(level[quarter : 3 * quarter])
    assert (steps >= 0).all()
    assert steps.max() <= 255 / len(level) * 2 + 2


def test_a_texture_that_is_too_fine_is_seen_as_its_mean() -> None:
    fine = (np.indices((1024, 1024)).sum(axis=0) % 2 * 200)[..., None].repeat(3, axis=2).astype(np.uint8)
    plain = np.full((4, 4, 3), 100, np.uint8)
    seen, mean = front(quad(1.0, fine)), front(quad(1.0, plain))
    assert np.abs(seen.astype(int) - mean).max() <= 2


@pytest.mark.parametrize("turns", [3.0, -7.0, 250.0])
def test_textures_repeat(turns: float) -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (8, 16, 3), np.uint8)
    np.testing.assert_array_equal(front(quad(1.0, picture, turns)), front(quad(1.0, picture)))


def test_smaller_copies_are_means() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (4, 8, 3), np.uint8)
    found = atlas([parts.painted(picture)])
    start, width, height = found.levels[0, 1]
    assert (width, height) == (4, 2)
    texels = found.texels[start : start + 8].reshape(2, 4)
    seen = np.stack([texels >> shift & 255 for shift in (0, 8, 16)], axis=-1)[::-1]  # the bottom row is first
    expected = picture.reshape(2, 2, 4, 2, 3).mean(axis=(1, 3))
    assert np.abs(seen - expected).max() <= 1
    assert found.levels[0, -1, 1:].tolist() == [1, 1]
