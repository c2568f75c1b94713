"""The small OBJ, PLY, STL and OFF files that failed in the field (tests/data/field), each with what its README says."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from captionless.precompute.meshes.reading import Reading
from captionless.precompute.object_files import ObjectFiles, Scope
from captionless.spec.data import ReadingLimits
from tests.precompute.meshes.sampling import look_at
from tests.precompute.meshes.text_files import GREY, PAINT, Look, everywhere, painted, textured

FIELD = Path(__file__).parents[2] / "data" / "field"

TEXTURED = (
    "obj-bom", "obj-comment-mtllib", "obj-gso-layout", "obj-map_Kd-options", "obj-map_Kd-tab", "obj-mtllib-tab",
    "obj-no-usemtl", "obj-texture-case", "obj-texture-windows-path", "obj-two-mtllib-lines",
)  # fmt: skip
GREY_BOXES = (
    "obj-relative-indices", "obj-tabs", "off-lower-case-header", "ply-binary-mixed-polygons", "ply-tristrips",
    "stl-no-endsolid", "stl-trailing-bytes",
)  # fmt: skip


def reading(case: str) -> Reading:
    (path,) = (p for p in sorted((FIELD / case / "in").rglob("*")) if p.suffix in (".obj", ".ply", ".stl", ".off"))
    files = ObjectFiles(str(path), Scope((str(FIELD / case / "in"),)))
    reader = importlib.import_module(f"captionless.precompute.meshes.{path.suffix[1:]}")
    found: Reading = reader.read(files.own(), files, ReadingLimits())
    return found


def check(found: Reading, looks: tuple[Look, ...], faces: int = 12) -> None:
    assert found.mesh.face_count == faces
    for look in looks:
        color, opacity = look_at(found.mesh, look.point)
        assert color == pytest.approx(look.color, abs=0.6)
        assert opacity == pytest.approx(look.opacity)


@pytest.mark.parametrize("case", TEXTURED)
def test_the_four_coloured_box(case: str) -> None:
    found = reading(case)
    assert not found.losses
    check(found, textured())


@pytest.mark.parametrize("case", GREY_BOXES)
def test_a_box(case: str) -> None:
    found = reading(case)
    assert not found.losses
    check(found, everywhere(GREY))
    assert found.mesh.vertices.min(axis=0).tolist() == [-0.5] * 3
    assert found.mesh.vertices.max(axis=0).tolist() == [0.5] * 3


@pytest.mark.parametrize("case", ["obj-colours-with-mtl", "off-colours"])
def test_red_green_and_blue_sides(case: str) -> None:
    assert len(PAINT) == 3
    check(reading(case), painted())


def test_one_plain_triangle_among_textured_ones() -> None:
    found = reading("obj-face-without-vt")
    check(found, textured(), 13)
    plain = [part for part in found.mesh.parts if part.texture is None]
    assert [len(part.faces) for part in plain] == [1]
    assert [loss.kind for loss in found.losses] == ["texture coordinates missing"]


def test_what_is_invisible_is_marked_so() -> None:
    found = reading("obj-invisible-d0")
    check(found, textured(), 14)
    (ghost,) = (part for part in found.mesh.parts if part.texture is None)
    assert (ghost.alpha, ghost.factor[3], len(ghost.faces)) == ("blend", 0.0, 2)


def test_a_missing_texture_is_grey_and_named() -> None:
    found = reading("obj-texture-missing-Kd0")
    check(found, everywhere(GREY))
    assert [(loss.kind, loss.detail) for loss in found.losses] == [("texture missing", "missing.png")]


def test_a_sphere_on_a_map() -> None:
    vertices = reading("ply-utm-sphere").mesh.vertices
    assert vertices.dtype == np.float64
    radii = np.linalg.norm(vertices - (vertices.min(axis=0) + vertices.max(axis=0)) / 2, axis=1)
    assert radii == pytest.approx(0.5, abs=1e-4)


def test_a_grey_ramp_of_16_bits() -> None:
    texture = reading("png16-grey").mesh.parts[0].texture
    assert texture is not None
    assert np.unique(texture.texels[..., 0])[[0, -1]].tolist() == [0, 255]
