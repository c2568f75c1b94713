"""Nothing but DataError comes out of files that are damaged in every way, and no numbers that are not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.precompute.meshes.gltf import read
from captionless.precompute.object_files import ObjectFiles, Scope
from captionless.spec.data import ReadingLimits
from tests.precompute.meshes.gltf_files import cases
from tests.precompute.meshes.gltf_mutations import mutated

BASES = {name: case.files for name, case in cases().items() if not case.error}
LIMITS = ReadingLimits(bytes=1 << 24, faces=10_000, vertices=30_000, pixels=1 << 20, depth=20)


@pytest.mark.parametrize("part", range(8))
def test_only_data_errors_come_out(part: int, tmp_path: Path) -> None:
    reasons = []
    for number in range(part * 100, part * 100 + 100):
        folder = tmp_path / str(number)
        files = mutated(BASES, number)
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        opened = ObjectFiles(str(folder / next(iter(files))), Scope((str(folder),)))
        try:
            found = read(opened.own(), opened, LIMITS)
        except DataError as error:
            reasons.append(str(error))
            continue
        for mesh_part in found.mesh.parts:
            assert mesh_part.faces.min() >= 0, number
            assert mesh_part.faces.max() < len(mesh_part.vertices), number
            for values in (mesh_part.uv, mesh_part.vertex_colors):
                assert values is None or (len(values) == len(mesh_part.vertices) and np.isfinite(values).all()), number
    assert 10 < len(reasons) < 100
    assert [reason for reason in reasons if "\n" in reason or not reason] == []
