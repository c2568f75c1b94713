"""OBJ, PLY, STL and OFF in many variations, each against what is right for it."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from captionless.precompute.meshes.reading import Reading
from captionless.precompute.object_files import ObjectFiles, Scope
from captionless.spec.data import ReadingLimits
from tests.precompute.meshes import text_files
from tests.precompute.meshes.sampling import look_at
from tests.precompute.meshes.text_files import CASES, Files


def read(folder: Path, files: Files, limits: ReadingLimits = ReadingLimits()) -> Reading:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    own = next(iter(files))
    opened = ObjectFiles(str(folder / own), Scope((str(folder),)))
    reader = importlib.import_module(f"captionless.precompute.meshes.{own.rpartition('.')[2]}")
    found: Reading = reader.read(opened.own(), opened, limits)
    return found


def test_coordinates_that_a_map_scales_beyond_all_numbers_are_told(tmp_path: Path) -> None:
    far = text_files.obj().replace(b"vt 1.0 1.0", b"vt 1.0 1e308", 1)
    library = b"newmtl m\nmap_Kd -s 2 3 1 tex.png\nmap_Ke -o 1 -s 2 3 1 tex.png\n"
    found = read(tmp_path, {"x.obj": far, "x.mtl": library, "tex.png": text_files.picture()})
    assert [loss.kind for loss in found.losses] == ["texture coordinates missing"]
    (part,) = found.mesh.parts
    for uv in (part.uv, part.glow and part.glow.uv):
        assert uv is not None
        assert np.isfinite(uv).all()


def test_there_are_many() -> None:
    assert len(CASES) >= 300


@pytest.mark.parametrize("name", CASES)
def test_what_is_read_is_right(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    reading = read(tmp_path, case.files)
    mesh = reading.mesh
    corners = np.concatenate([p.vertices[p.faces] for p in mesh.parts])
    assert len(corners) == case.faces
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
    assert area == pytest.approx(case.area, rel=1e-9)
    assert tuple(corners.min(axis=(0, 1))) == case.low
    assert tuple(corners.max(axis=(0, 1))) == case.high
    assert {loss.kind for loss in reading.losses} == case.losses
    for look in case.looks:
        color, opacity = look_at(mesh, look.point)
        assert color == pytest.approx(look.color, abs=0.6), look
        assert opacity == pytest.approx(look.opacity, abs=1e-6), look
    for part in mesh.parts:
        assert (part.vertices.dtype, part.faces.dtype) == (np.float64, np.int32)
        assert set(np.unique(part.faces)) == set(range(len(part.vertices)))
        assert (part.uv is None) == (part.texture is None)
