"""Every variation of `gltf_files` shows what the specification says, or is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.precompute.meshes.gltf import read
from captionless.precompute.meshes.reading import Reading
from captionless.precompute.object_files import ObjectFiles
from captionless.spec.data import ReadingLimits
from tests.precompute.meshes import gltf_files
from tests.precompute.meshes.faces import middles, triangles
from tests.precompute.meshes.gltf_document import Files
from tests.precompute.meshes.gltf_shapes import picture_box

CASES = gltf_files.cases()


def reading(files: Files, folder: Path, limits: ReadingLimits = ReadingLimits()) -> Reading:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    opened = ObjectFiles(str(folder / next(iter(files))))
    return read(opened.own(), opened, limits)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.error])
def test_file_shows_what_it_says(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    found = reading(case.files, tmp_path)
    assert tuple(loss.kind for loss in found.losses) == case.losses
    seen = triangles(found.mesh)
    assert seen.shape == case.triangles.shape
    assert np.abs(seen - case.triangles).max() <= case.near * max(1, np.abs(case.triangles).max())
    colors, opacity = middles(found.mesh)
    np.testing.assert_allclose(colors, case.colors, atol=case.tolerance)
    np.testing.assert_allclose(opacity, np.broadcast_to(case.opacity, len(opacity)), atol=3e-3)
    for part in found.mesh.parts:
        assert part.vertices.dtype == np.float64
        assert part.faces.dtype == np.int32
        for field, value in case.expected.items():
            assert getattr(part, field) == value


@pytest.mark.parametrize(("sampler", "is_sharp"), [(None, False), ({}, False), ({"magFilter": 9728}, True)])
def test_enlarged_texels_have_edges_where_the_sampler_says_so(
    tmp_path: Path, sampler: dict[str, int] | None, is_sharp: bool
) -> None:
    given = {} if sampler is None else {"sampler": sampler}
    (part,) = reading(picture_box(**given).glb(), tmp_path).mesh.parts
    assert part.texture is not None
    assert part.texture.is_sharp == is_sharp


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.error])
def test_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    with pytest.raises(DataError) as refused:
        reading(case.files, tmp_path)
    line = str(refused.value)
    assert re.search(case.error, line)
    assert "\n" not in line
    assert len(line) < 400
