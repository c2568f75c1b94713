"""A newcomer's path: a folder of GLB files, `init`, `run`, a figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trimesh

from tests.flow.conftest import call

pytestmark = pytest.mark.flow


def _shapes(folder: Path) -> None:
    """Two categories of GLB files that no source made up for the tests knows."""
    for category in ("table", "stool"):
        (folder / category).mkdir(parents=True)
    for number in range(10):
        flat = trimesh.creation.box((2, 0.1, 1 + 0.1 * number))
        flat.apply_translation((0, 0.7, 0))
        legs = [trimesh.creation.box((0.1, 0.7, 0.1)) for _ in range(4)]
        for leg, (x, z) in zip(legs, ((-0.9, -0.4), (0.9, -0.4), (-0.9, 0.4), (0.9, 0.4)), strict=True):
            leg.apply_translation((x, 0.35, z))
        trimesh.Scene([flat, *legs]).export(folder / "table" / f"t{number}.glb")
        seat = trimesh.creation.cylinder(0.4, 0.1 + 0.02 * number)
        seat.apply_transform(trimesh.transformations.rotation_matrix(1.5708, (1, 0, 0)))
        post = trimesh.creation.box((0.1, 1.2, 0.1))
        post.apply_translation((0, -0.6, 0))
        trimesh.Scene([seat, post]).export(folder / "stool" / f"s{number}.glb")


def test_init_and_run_give_a_figure_of_ones_own_meshes(tmp_path: Path) -> None:
    _shapes(tmp_path / "shapes")
    wrote = call("init", "shapes", "--out", "mine.yaml", cwd=tmp_path)
    assert wrote.returncode == 0, wrote.stderr
    assert "captionless run mine.yaml" in wrote.stdout
    changes = ["train.steps=10", "train.batchSize=4", "train.points=64", "data.points=128", "data.views=6"]
    done = call("run", "mine.yaml", *(x for c in changes for x in ("--set", c)), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "runs" / "shapes" / "eval" / "results.json").read_text())
    assert results["figures"]["classes"] == ["stool", "table"]
    assert results["provenance"]["dataset"]["kind"] == "folder"
    assert (tmp_path / "runs" / "shapes" / "eval" / "report.html").stat().st_size > 100_000
    refused = call("init", "shapes", "--out", "mine.yaml", cwd=tmp_path)
    assert refused.returncode == 64
    assert "mine.yaml" in refused.stderr
