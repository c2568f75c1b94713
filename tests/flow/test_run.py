"""The whole flow as a user runs it: to figures and a report; a rerun computes nothing, or only what changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import webdataset

from captionless import demo_world
from captionless.precompute.pointcloud import sample_surface
from tests.flow.conftest import Finished, call, comparable

pytestmark = pytest.mark.flow


def _times(folder: Path) -> dict[str, int]:
    """When each output was last written; locks and logs are not outputs."""
    outputs = (p for p in folder.rglob("*") if p.is_file() and p.name != ".lock" and "logs" not in p.parts)
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in outputs}


def test_the_run_ends_with_figures_and_a_report(finished: Finished) -> None:
    figures = finished.results["figures"]
    assert figures["objects"] == 9
    assert figures["classes"] == ["chair", "lamp", "table"]
    assert [r["name"] for r in figures["rows"]] == ["chance", "clip_mean", "clip_single", "uniform", "avg"]
    provenance = finished.results["provenance"]
    assert provenance["gallery_size"] == 9
    assert provenance["seeds"] == [0]
    assert set(provenance["checkpoints"]) == {"uniform-seed0", "avg-seed0"}
    assert provenance["prompt"]["templates"] == ["a point cloud of a {}"]
    page = (finished.folder / "out" / "eval" / "report.html").read_text()
    assert "<img" in page
    for outward in ('src="http', "src='http", 'href="http', "@import"):
        assert outward not in page.split("<script", 1)[0]
    assert "InfoNCE" in finished.output
    assert "report.html" in finished.output


def test_the_third_time_nothing_is_computed(finished: Finished) -> None:
    before = _times(finished.folder / "out")
    again = call("run", str(finished.spec), cwd=finished.folder)
    assert again.returncode == 0, again.stderr
    assert _times(finished.folder / "out") == before


def test_webdataset_reads_packed_and_embedded_shards(finished: Finished) -> None:
    packed = next((finished.folder / "out" / "pack" / "train").glob("*.tar"))
    sample = next(iter(webdataset.WebDataset(str(packed), shardshuffle=False).decode("rgb8")))
    assert sample["points.npy"].shape == (128, 6)
    assert sample["view00.webp"].shape[:2] == (64, 64)
    assert sample["json"]["category"] in ("chair", "lamp", "table")
    embedded = next((finished.folder / "out" / "embed" / "train").glob("*.tar"))
    sample = next(iter(webdataset.WebDataset(str(embedded), shardshuffle=False).decode()))
    assert sample["views.npy"].shape[0] == 6


def test_a_changed_setting_recomputes_what_depends_on_it_and_no_more(finished: Finished, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished.folder / "out", out)
    before = _times(out)
    changed = call("run", str(finished.spec), "--set", f"output={out}", "--set", "eval.prompt=ensemble", cwd=tmp_path)
    assert changed.returncode == 0, changed.stderr
    renewed = {p.split("/")[0] for p, t in _times(out).items() if before.get(p) != t}
    assert renewed == {"eval"}
    other = comparable((out / "eval" / "results.json").read_bytes())
    assert other["provenance"]["prompt"]["name"] == "ensemble"
    assert other["provenance"]["checkpoints"] == finished.results["provenance"]["checkpoints"]


def test_from_and_only_choose_stages(finished: Finished, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for stage in ("list", "pack"):
        only = call("run", str(finished.spec), "--set", f"output={out}", "--only", stage, cwd=tmp_path)
        assert only.returncode == 0, only.stderr
    assert sorted(p.name for p in out.iterdir() if p.is_dir()) == ["list", "logs", "pack"]
    early = call("run", str(finished.spec), "--set", f"output={out}", "--from", "eval", cwd=tmp_path)
    assert early.returncode == 65
    assert "manifest.json" in early.stderr
    assert str(out) in early.stderr
    wrong = call("run", str(finished.spec), "--set", f"output={out}", "--only", "pakc", cwd=tmp_path)
    assert wrong.returncode == 64
    assert '"pack"' in wrong.stderr


def test_stages_by_hand_in_shards_give_the_same_data(finished: Finished, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert call("list", str(finished.spec), "--set", f"output={out}", cwd=tmp_path).returncode == 0
    for index in ("1", "0"):
        done = call("pack", str(finished.spec), "--set", f"output={out}", "--shard", f"{index}/2", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    done = call(
        "embed", str(finished.spec), "--set", f"output={out}",
        cwd=tmp_path, JOB_COMPLETION_INDEX="0", CAPTIONLESS_SHARDS="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for part in ("pack", "embed"):
        theirs = {p.name: p.read_bytes() for p in (finished.folder / "out" / part / "train").iterdir()}
        ours = {p.name: p.read_bytes() for p in (out / part / "train").iterdir()}
        assert ours == theirs
    done = call(
        "similarity", "--dataset", f"{out}/embed", "--out", f"{tmp_path}/sim", "--metric", "i2i", "--shard", "0/1",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (theirs,) = (finished.folder / "out" / "similarity" / "i2i").glob("chair.0-0-*.sim")
    assert (tmp_path / "sim" / theirs.name).read_bytes() == theirs.read_bytes()


def test_a_checkpoint_is_measured_on_labelled_clouds(finished: Finished, tmp_path: Path) -> None:
    classes = ["chair", "lamp", "table"]
    clouds, labels = [], []
    for label, category in enumerate(classes):
        for index in range(4):
            key = f"{category}-{index}"
            built = demo_world.build(key, category, demo_world.draw(category, index, 5, held_out=True), seed=5)
            points, _ = sample_surface(built.mesh, 128, index)
            clouds.append(points[:, [0, 2, 1]] * [1, -1, 1])  # as a z-up file has them
            labels.append(label)
    np.savez(tmp_path / "clouds.npz", points=np.array(clouds, np.float32), labels=labels, classes=classes)
    (tmp_path / "clouds.yaml").write_text(f"source: {{kind: points, url: {tmp_path}/clouds.npz, up: z}}")
    checkpoint = finished.folder / "out" / "train" / "avg-seed0" / "model.pt"
    done = call(
        "eval", "--checkpoint", str(checkpoint), "--data", "clouds.yaml", "--split", "all", "--out", "found.json",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["figures"]["objects"] == 12
    assert found["figures"]["classes"] == classes
    assert len(found["outcomes"]["ranks"]["zero_shot"].split(",")) == 12
    side_by_side = call("compare", "found.json", str(finished.folder / "out"), "--json", cwd=tmp_path)
    assert side_by_side.returncode == 0, side_by_side.stderr
    compared = json.loads(side_by_side.stdout)
    rows = [[row["name"] for row in table["rows"] if row["kind"] == "run"] for table in compared["tables"]]
    assert ["found"] in rows  # in a table of its own: another test set
    assert sum("found" in names for names in rows) == rows.count(["found"])
    assert any("found" in note for note in compared["notes"])
    assert 0 <= found["figures"]["zero_shot"]["top1"] <= 1
    assert found["provenance"]["clip"]["model"] == "captionless-demo"
    lost = call("eval", "--checkpoint", "nowhere.pt", "--data", "clouds.yaml", cwd=tmp_path)
    assert lost.returncode == 65
    assert "nowhere.pt" in lost.stderr
