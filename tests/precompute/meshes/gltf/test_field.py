"""The glTF and GLB cases of `tests/data/field`, reported by users or made after reports, each with what is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.precompute.meshes.gltf import read
from captionless.precompute.meshes.reading import Loss, Reading
from captionless.precompute.object_files import ObjectFiles
from captionless.spec.data import ReadingLimits
from tests.precompute.meshes.faces import middles, triangles

FIELD = Path(__file__).parents[3] / "data" / "field"


def reading(path: Path) -> Reading:
    files = ObjectFiles(str(path))
    return read(files.own(), files, ReadingLimits())


def case(name: str) -> Reading:
    (path,) = (path for path in (FIELD / name / "in").rglob("*.gl*"))
    return reading(path)


def reference(name: str) -> Reading:
    return reading(FIELD / "reference" / name)


def same_surface(found: Reading, other: Reading, offset: tuple[float, float, float] = (0, 0, 0)) -> None:
    np.testing.assert_allclose(triangles(found.mesh) - offset, triangles(other.mesh), atol=1e-6)


def same_colors(found: Reading, other: Reading) -> None:
    np.testing.assert_allclose(middles(found.mesh)[0], middles(other.mesh)[0], atol=0.6)


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("glb-emissive-only", "00_ref_texture.glb"),
        ("glb-texture-transform", "00_ref_texture.glb"),
        ("glb-uv-normalized-u16", "00_ref_texture.glb"),
        ("glb-colour0-with-material", "03_vcol_nomat.glb"),
    ],
)
def test_it_looks_like_the_reference(name: str, like: str) -> None:
    found = case(name)
    assert found.losses == ()
    same_surface(found, reference(like))
    same_colors(found, reference(like))


def test_reference_is_a_box_of_four_colours() -> None:
    colors = middles(reference("00_ref_texture.glb").mesh)[0]
    assert len({tuple(color) for color in colors.round().tolist()}) >= 2
    sides = middles(reference("03_vcol_nomat.glb").mesh)[0].round()
    assert {tuple(color) for color in sides.tolist()} == {(255, 0, 0), (0, 255, 0), (0, 0, 255)}


def test_far_node_keeps_its_box() -> None:
    found = case("glb-node-offset-1e7")
    same_surface(found, reference("00_ref_texture.glb"), (1e7, 0, -3e6))
    same_colors(found, reference("00_ref_texture.glb"))


@pytest.mark.parametrize("name", ["glb-sparse-accessor", "crash-mesh-below-camera"])
def test_it_is_a_box(name: str) -> None:
    same_surface(case(name), reference("00_ref_texture.glb"))


def test_vertex_colours_darken_a_texture() -> None:
    found, bright = case("glb-colour0-times-texture"), reference("00_ref_texture.glb")
    same_surface(found, bright)
    part = found.mesh.parts[0]
    assert part.vertex_colors is not None
    np.testing.assert_allclose(part.vertex_colors[:, :3], 40 / 255, atol=1e-6)
    assert (middles(found.mesh)[0] < 0.5 * middles(bright.mesh)[0] + 6).all()


def test_instances_are_three_boxes() -> None:
    found = triangles(case("glb-gpu-instancing").mesh)
    box = triangles(reference("00_ref_texture.glb").mesh)
    np.testing.assert_allclose(found, np.concatenate([box + np.array([x, 0, 0]) for x in (0, 2, 4)]), atol=1e-6)


def test_texture_is_cut_out() -> None:
    (part,) = case("glb-alpha-mask").mesh.parts
    assert part.alpha == "mask"
    assert part.texture is not None
    shown = part.texture.texels[..., 3] >= 255 * part.cutoff
    assert 0.2 < shown.mean() < 0.9
    green = part.texture.texels[shown][:, :3].astype(int)
    assert (green[:, 1] > green[:, 0]).all()
    assert (green[:, 1] > green[:, 2]).all()


def test_large_texture_is_red() -> None:
    colors = middles(case("glb-texture-16384").mesh)[0]
    np.testing.assert_allclose(colors, np.tile([200.0, 40, 40], (12, 1)), atol=0.6)


def test_missing_picture_is_told_and_grey() -> None:
    found = case("gltf-image-missing")
    assert found.losses == (Loss("texture missing", "tex.png"),)
    np.testing.assert_allclose(middles(found.mesh)[0], 178, atol=0.6)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("crash-glb-2d-positions", r"POSITION: expected VEC3, found VEC2"),
        ("crash-glb-colours-index-out-of-range", r"a face names vertex 99, but there are 24"),
        ("glb-embedded-picture-garbage", r"cannot read the texture images\[0\] as a picture"),
        ("glb-ktx2", r"cannot read the texture images\[0\], a KTX2 file: its header"),
        ("gltf-1.0", r"^glTF 1\.0 is not read$"),
        ("gltf-draco", r"meshes\[0\]\.primitives\[0\]: its KHR_draco_mesh_compression stream is damaged"),
    ],
)
def test_it_is_refused_by_name(name: str, line: str) -> None:
    with pytest.raises(DataError, match=line):
        case(name)
