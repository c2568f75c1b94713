"""What is cut out and what is seen through, beside compositing in float64, and what nobody sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.mesh import Mesh, MeshPart, Picture
from captionless.precompute import translucency
from captionless.precompute.pointcloud import cloud, sample_surface
from captionless.precompute.render import Renderer
from captionless.precompute.surface import check
from captionless.precompute.visibility import shown
from tests.parts import painted, quad

SIZE = 32
UV = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
RED, GREEN, BLUE = (250, 20, 20), (20, 250, 20), (20, 20, 250)


def square(z: float = 0.0, half: float = 1.0, **look: Any) -> MeshPart:
    corners = [[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]]
    return quad(corners, **{"unlit": True, **look})


def pane(z: float, opacity: float, color: tuple[int, int, int]) -> MeshPart:
    return square(z, color=color, factor=(1, 1, 1, opacity), alpha="blend")


def views(*parts: MeshPart, samples: int = 1) -> NDArray[np.uint8]:
    return Renderer(1, SIZE, supersampling=samples).render_at(Mesh(parts), [0.0, 37.0], [0.0, 20.0])


def disc(width: int = 32) -> Picture:
    """Green, and there only within a disc; what is outside is black and of opacity 0."""
    y, x = np.mgrid[0:width, 0:width] - (width - 1) / 2
    inside = np.hypot(x, y) < 0.3 * width
    return painted((inside[..., None] * np.array([*GREEN, 255])).astype(np.uint8))


def test_a_mask_is_cut_out_and_what_is_behind_it_is_seen() -> None:
    cut = square(0.0, uv=UV, texture=disc(), alpha="mask")
    alone = views(cut)[0]
    assert alone[16, 16].tolist() == [*GREEN, 255]
    assert alone[8, 8, 3] == alone[16, 6, 3] == 0
    assert 0.3 * 0.8 < (alone[..., 3] > 0).sum() / (views(square())[0][..., 3] > 0).sum() < 0.3 * 1.2  # pi 0.3^2
    behind = views(square(-0.2, color=RED), cut)[0]
    assert behind[16, 16].tolist() == [*GREEN, 255]
    assert behind[9, 9].tolist() == [*RED, 255]
    hidden = views(cut, square(0.2, color=RED))[0]
    assert hidden[16, 16].tolist() == [*RED, 255]


@pytest.mark.parametrize("cutoff", [0.2, 0.5, 0.8])
def test_the_cutoff_is_the_opacity_from_which_on_something_is_there(cutoff: float) -> None:
    ramp = np.full((4, 256, 4), 255, np.uint8)
    ramp[..., 3] = np.arange(256)
    vertex = np.ones((4, 4), np.float32)
    vertex[:, 3] = 0.9
    part = square(uv=UV, texture=painted(ramp, ("clamp", "clamp")), alpha="mask", cutoff=cutoff,
                  factor=(1, 1, 1, 0.95), vertex_colors=vertex)  # fmt: skip
    whole, found = (views(one)[0][16, :, 3] > 0 for one in (square(), part))
    share = found.sum() / whole.sum()
    assert share == pytest.approx(1 - cutoff / (0.9 * 0.95), abs=0.06)
    points = sample_surface(Mesh((part,)), 300, 0)[0]
    assert points[:, 0].min() >= 2 * cutoff / (0.9 * 0.95) - 1 - 0.02
    assert points[:, 0].min() < 2 * cutoff / (0.9 * 0.95) - 1 + 0.1


def test_masks_cover_the_samples_that_opaque_faces_cover() -> None:
    random = np.random.default_rng(0)
    vertices = random.uniform(-1, 1, (40, 1, 3)) + 10.0 ** random.uniform(-2, 0.3, (40, 1, 1)) * random.uniform(
        -1, 1, (40, 3, 3)
    )
    flat = np.concatenate([vertices.reshape(-1, 3), np.zeros((3, 3))])
    faces = np.arange(len(flat), dtype=np.int32).reshape(-1, 3)
    colors = random.integers(0, 256, (len(faces), 3), np.uint8)
    opaque = MeshPart(flat, faces, face_colors=colors, vertex_colors=np.ones((len(flat), 4), np.float32))
    # The last face covers nothing; its opacity keeps the part from being taken as opaque.
    vertex = np.ones((len(flat), 4), np.float32)
    vertex[-1, 3] = 0.0
    for alpha in ("mask", "blend"):
        other = replace(opaque, alpha=alpha, vertex_colors=vertex)
        assert shown(Mesh((other,))).parts[0].alpha == alpha
        np.testing.assert_array_equal(views(other, samples=2), views(opaque, samples=2))


@pytest.mark.parametrize("has_ground", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_panes_are_blended_in_their_order_of_depth(seed: int, has_ground: bool) -> None:
    random = np.random.default_rng(seed)
    depths = np.linspace(-0.4, 0.4, 5)
    panes = [(float(z), float(random.uniform(0.1, 0.9)), tuple(random.integers(0, 256, 3).tolist())) for z in depths]
    ground = [square(-0.6, color=BLUE)] if has_ground else []
    behind = [square(-0.9, color=RED)] if has_ground else []
    parts = [pane(*panes[i]) for i in random.permutation(len(panes))]
    color, alpha = np.array(BLUE) * 1.0 * has_ground, 1.0 * has_ground
    for _, opacity, pane_color in panes:
        color, alpha = color * (1 - opacity) + np.array(pane_color) * opacity, alpha * (1 - opacity) + opacity
    for samples in (1, 2):
        found = views(*behind, *parts, *ground, samples=samples)[0][16, 16]
        assert found[3] == pytest.approx(255 * alpha, abs=1)
        assert np.abs(found[:3] - color / alpha).max() <= 1.5


def test_what_stands_before_panes_hides_them_and_faces_in_one_plane_show_the_pane() -> None:
    assert views(pane(0.0, 0.5, RED), square(0.1, color=GREEN))[0][16, 16].tolist() == [*GREEN, 255]
    mixed = views(square(0.0, color=GREEN), pane(0.0, 0.5, RED))[0][16, 16]
    assert np.abs(mixed - [135, 135, 20, 255]).max() <= 1


def test_the_nearest_of_many_panes_are_seen() -> None:
    panes = [pane(float(z), 0.2, RED if z > 0 else BLUE) for z in np.linspace(-0.5, 0.5, 2 * translucency.LAYERS)]
    found = views(*panes)[0][16, 16]
    assert found[:3].tolist() == [*RED]
    assert found[3] == pytest.approx(255 * (1 - 0.8**translucency.LAYERS), abs=1)


def test_texels_have_opacities_too() -> None:
    texels = np.full((2, 2, 4), 255, np.uint8)
    texels[..., :3], texels[:, 0, 3], texels[:, 1, 3] = RED, 51, 204
    part = square(uv=UV, texture=painted(texels.repeat(16, 0).repeat(16, 1)), alpha="blend")
    view = views(part)[0]
    assert [view[16, 10, 3], view[16, 21, 3]] == [51, 204]
    assert view[16, 10, :3].tolist() == [*RED]


def hull(opacity: float, alpha: str) -> MeshPart:
    return square(0.0, 10.0, color=(0, 0, 0), factor=(1, 1, 1, opacity), alpha=alpha)


@pytest.mark.parametrize(
    "ghost",
    [
        hull(0.0, "blend"),
        hull(0.3, "mask"),
        square(0.0, 10.0, alpha="blend", vertex_colors=np.array([[1, 1, 1, 0]] * 4, np.float32)),
        square(0.0, 10.0, alpha="blend", uv=UV, texture=painted(np.zeros((4, 4, 4), np.uint8))),
        square(0.0, 10.0, alpha="mask", uv=UV * 0.25 + 0.02, texture=disc(64)),
    ],
    ids=["factor", "mask", "vertex", "texture", "corner-of-a-texture"],
)
def test_what_nobody_sees_is_not_drawn_not_sampled_and_no_part_of_the_bounds(ghost: MeshPart) -> None:
    plain = square(0.5, color=RED)
    np.testing.assert_array_equal(views(ghost, plain), views(plain))
    np.testing.assert_array_equal(cloud(Mesh((ghost, plain)), 64, "k"), cloud(Mesh((plain,)), 64, "k"))
    with pytest.raises(DataError, match="nothing of the mesh can be seen"):
        views(ghost)
    with pytest.raises(DataError, match="nothing of the mesh can be seen"):
        cloud(Mesh((ghost,)), 64, "k")


_AT = np.array([0.3, 0.1, 0.7])
_FAR_DOTS = {
    "point": [_AT * 1e3] * 3,
    "edge": [_AT * 0, _AT * 1e3, _AT * 1e3],
    "line": [_AT * 40, _AT * 7, _AT * 1e3],
    "line-far-away": [_AT + 1e6, _AT * 3 + 1e6, _AT * 8 + 1e6],
    "farther-than-precision": [_AT * 1e20] * 3,
}


@pytest.mark.parametrize("corners", _FAR_DOTS.values(), ids=_FAR_DOTS.keys())
@pytest.mark.parametrize("is_first", [True, False])
def test_faces_of_no_area_are_no_part_of_the_bounds(corners: list[np.ndarray], is_first: bool) -> None:
    plain = square(0.5, color=RED)
    flat = MeshPart(np.array(corners), np.array([[0, 1, 2]], np.int32), face_colors=np.zeros((1, 3), np.uint8))
    parts = (flat, plain) if is_first else (plain, flat)
    np.testing.assert_array_equal(views(*parts), views(plain))
    np.testing.assert_array_equal(cloud(Mesh(parts), 64, "k"), cloud(Mesh((plain,)), 64, "k"))
    check(shown(Mesh(parts)))


def test_faces_of_no_area_among_others_are_carried_along() -> None:
    plain = square(0.5, color=RED)
    mesh = Mesh((plain, MeshPart(plain.vertices, np.array([[0, 1, 1]], np.int32))))
    assert shown(mesh) is mesh
    assert shown(Mesh(mesh.parts[1:])).face_count == 1


def test_opacity_says_nothing_of_opaque_parts() -> None:
    texels = np.zeros((4, 4, 4), np.uint8)
    texels[..., 0] = 200
    part = square(uv=UV, texture=painted(texels), factor=(1, 1, 1, 0.0))
    assert views(part)[0][16, 16].tolist() == [200, 0, 0, 255]
    assert (sample_surface(Mesh((part,)), 50, 0)[1] == (200, 0, 0)).all()


def test_points_are_only_where_something_is_seen() -> None:
    part = square(uv=UV, texture=disc(128), alpha="mask")
    points, colors = sample_surface(Mesh((part,)), 600, 0)
    assert np.hypot(points[:, 0], points[:, 1]).max() <= 0.6 + 2 / 64
    assert (colors == GREEN).all()
    inner = np.hypot(points[:, 0], points[:, 1]) < 0.3
    assert inner.mean() == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 600))
    np.testing.assert_array_equal(sample_surface(Mesh((part,)), 600, 0)[0], points)


def test_a_surface_that_is_nearly_nowhere_is_told() -> None:
    texels = np.zeros((1024, 1024, 4), np.uint8)
    texels[500, 500] = 255
    with pytest.raises(DataError, match="almost nothing"):
        sample_surface(Mesh((square(uv=UV, texture=painted(texels), alpha="blend"),)), 50, 0)


def test_faces_by_the_box_around_their_place_on_a_texture() -> None:
    """A face that shows a texel is kept: by sampling it densely."""
    random = np.random.default_rng(5)
    weights = random.dirichlet((0.7, 0.7, 0.7), 3000)
    for wrap in ("repeat", "mirror", "clamp"):
        alpha = (random.random((16, 8)) < 0.08) * 255
        picture = Picture(np.dstack([np.zeros((16, 8, 3)), alpha]).astype(np.uint8), (wrap, wrap))
        uv = random.uniform(-1.5, 2.5, (60, 1, 2)) + random.uniform(-0.12, 0.12, (60, 3, 2))
        part = MeshPart(random.random((180, 3)), np.arange(180, dtype=np.int32).reshape(-1, 3),
                        uv=uv.reshape(-1, 2), texture=picture, alpha="blend")  # fmt: skip
        kept = {tuple(face) for face in shown(Mesh((part,))).parts[0].faces.tolist()}
        assert 5 < len(kept) < 60
        for f, face in enumerate(part.faces.tolist()):
            place = np.mod(weights @ uv[f], 2.0) if wrap == "mirror" else weights @ uv[f]
            place = np.where(place > 1, 2 - place, place) if wrap == "mirror" else place
            place = np.clip(place, 0, 1 - 1e-9) if wrap == "clamp" else place - np.floor(place)
            column, row = np.minimum((place * (8, 16)).astype(int), (7, 15)).T
            if alpha[15 - row, column].any():
                assert tuple(face) in kept
