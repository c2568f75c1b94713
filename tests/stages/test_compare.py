"""captionless compare, by the command: what eval leaves of a run, on a disk and elsewhere, and a checkpoint's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from captionless.cli.app import app
from captionless.errors import CaptionlessError, DataError, SpecError
from captionless.eval import checkpoint_figures as figures
from captionless.eval import classification, measurement, outcomes, results
from captionless.eval.outcomes import Outcomes
from captionless.eval.protocol import TestSplit
from captionless.store import objects
from tests.eval.evaluated import build

N, CLASSES = 48, ("chair", "mug")
LABELS = np.arange(N) % 2


def write_run(folder: str, noise: dict[str, float], seeds: tuple[int, ...] = (0, 1), prompt: str = "a {}") -> None:
    """An evaluated run's eval folder: losses whose encoders see objects through so much noise."""
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(2, 16))
    views = (texts[LABELS] + rng.normal(size=(N, 16)))[:, None] + 0.3 * rng.normal(size=(N, 3, 16))
    test = TestSplit([str(i) for i in range(N)], CLASSES, LABELS, views, texts, digest="of the objects")
    runs = []
    for mode, size in noise.items():
        for seed in seeds:
            shapes = views.mean(axis=1) + size * np.random.default_rng(seed).normal(size=(N, 16))
            runs.append(results.EvaluatedRun(mode, seed, *measurement.evaluate_run(shapes, test)))
            where = objects.join(folder, "eval", "runs", outcomes.file_of(f"{mode}-seed{seed}"))
            objects.write_bytes(where, outcomes.dumps(runs[-1].outcomes))
    about = {
        "dataset": {"kind": "folder", "url": "s3://me:secret-word@b/meshes"},
        "digests": {"test": "of the objects"},
        "clip": {"model": "captionless-demo", "pretrained": "", "digest": "c"},
        "prompt": {"name": "mine", "templates": [prompt]},
    }
    objects.write_bytes(objects.join(folder, "eval", "results.json"), results.dumps(build(test, runs, about)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("compare")
    write_run(str(folder / "near"), {"uniform": 0.2, "avg": 3.0})
    write_run("memory://compare/far", {"uniform": 3.0})
    yield folder
    objects.remove("memory://compare")


def call(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["compare", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def failure(*arguments: object) -> CaptionlessError:
    with pytest.raises(CaptionlessError, match=r"^[^\n]+$") as caught:
        call(*arguments)
    return caught.value


def test_the_rows_of_one_run_are_compared_with_its_first(folder: Path) -> None:
    found = json.loads(call(folder / "near", "--json"))
    assert [table["heading"] for table in found["tables"]] == ["zero-shot", "image → shape", "shape → image"]
    for table in found["tables"]:
        names = [row["name"] for row in table["rows"]]
        assert names == ["chance", "CLIP, all views", "CLIP, one view", "InfoNCE", "AVG"]
        assert table["baseline"] == "InfoNCE"
    stored = results.loads((folder / "near" / "eval" / "results.json").read_bytes())
    row = next(row for row in stored["figures"]["rows"] if row["name"] == "avg")
    shown = found["tables"][1]["rows"][4]["cells"]["gallery/image_to_shape/recall@1"]
    assert {k: v for k, v in shown.items() if k != "difference"} == row["figures"]["gallery"]["image_to_shape"][
        "recall@1"
    ]
    gap = stored["figures"]["differences"]["avg"]["gallery"]["image_to_shape"]["recall@1"]
    for key in ("mean", "low", "high"):  # the same resamples, so the same interval as in the run's own results
        assert shown["difference"][key] == pytest.approx(gap[key], abs=2e-6)
    assert shown["difference"]["p_holm"] < 0.05
    assert found["tests"] == 8
    assert "secret-word" not in json.dumps(found)
    assert found == json.loads(call(folder / "near" / "eval" / "results.json", "--json"))


def test_runs_here_and_elsewhere_stand_side_by_side(folder: Path) -> None:
    text = call(folder / "near", "memory://compare/far", "--figure", "zero_shot/top1", "--baseline", "far: InfoNCE")
    assert "near: InfoNCE" in text
    assert "near: AVG" in text
    assert "(baseline)" in text
    assert "None of 2 " in text or "of 2 tested" in text
    page = folder / "page.md"
    assert call(folder / "near", "memory://compare/far", "--papers", "--out", page) == ""
    assert "| far: InfoNCE | 2 | " in page.read_text()
    assert "papers: none shown beside near: InfoNCE: " in page.read_text()
    call(folder / "near", "--out", folder / "page.json")
    assert json.loads((folder / "page.json").read_text())["schema"] == 1


def test_another_prompt_stands_apart_in_zero_shot_alone(folder: Path, tmp_path: Path) -> None:
    write_run(str(tmp_path / "other"), {"uniform": 3.0}, prompt="one {}")
    found = json.loads(call(folder / "near", tmp_path / "other", "--json"))
    assert [table["heading"] for table in found["tables"]].count("zero-shot") == 2
    assert [table["heading"] for table in found["tables"]].count("image → shape") == 1
    assert [n for n in found["notes"] if n.startswith("zero-shot: ") and "other: InfoNCE" in n and n.endswith("prompt")]


def clouds(folder: Path, name: str, wrong: int, **changes: Any) -> Path:
    """What `captionless eval --checkpoint` writes for an encoder that takes `wrong` objects for others."""
    rank = np.where(np.arange(N) < wrong, 2, 1)
    kept = figures.outcomes({"zero_shot": rank[:, None]}, LABELS, "clouds")
    found = classification.summary(rank, LABELS, LABELS, 2, (1, 5))
    document = {
        "schema": 1,
        "figures": {
            "objects": N, "images": 0, "classes": CLASSES, "intervals": figures.intervals(kept),
            "chance": {"zero_shot": classification.chance(2)},
            "zero_shot": {"top1": found["top1"], "top5": 1.0, "class_mean": float((rank == 1).mean())},
        },
        "provenance": {
            "dataset": {"name": "c.npz", "content": {"objects": "clouds", "clouds": "points", "pictures": None}},
            "protocol": figures.described(("zero-shot",), 0), "seed": 0, "prompt": {"templates": ["a {}"]},
            "clip": {"model": "captionless-demo", "pretrained": "", "digest": "c"},
        },
        "outcomes": outcomes.to_json(kept),
        **changes,
    }  # fmt: skip
    (folder / f"{name}.json").write_bytes(results.dumps(results.plain(document)))
    return folder / f"{name}.json"


def test_checkpoints_on_clouds_are_compared_object_by_object(tmp_path: Path) -> None:
    found = json.loads(call(clouds(tmp_path, "a", 4), clouds(tmp_path, "b", 20), "--json"))
    zero_shot, *others = found["tables"]
    assert others == []
    assert [row["name"] for row in zero_shot["rows"]] == ["chance", "a", "b"]
    top1 = zero_shot["rows"][1]["cells"]["zero_shot/top1"]
    assert top1["mean"] == pytest.approx(44 / 48, abs=1e-6)
    assert top1["low"] < top1["mean"] < top1["high"]
    gap = zero_shot["rows"][2]["cells"]["zero_shot/top1"]["difference"]
    assert (gap["test"], gap["only_this"], gap["only_baseline"]) == ("McNemar, exact", 0, 16)
    assert gap["p"] == pytest.approx(2 / 2**16, abs=1e-6)
    assert [n for n in found["notes"] if n.startswith("image → shape: ") and n.endswith(" b")]


def test_damaged_and_wrong_inputs_are_reported(folder: Path, tmp_path: Path) -> None:
    assert str(failure(tmp_path / "none")).startswith(f"{tmp_path}/none: ")
    (tmp_path / "other.json").write_text('{"schema": 1, "figures": {"splits": {}}, "provenance": {}}')
    assert "`captionless eval`" in str(failure(tmp_path / "other.json"))
    (tmp_path / "torn.json").write_text("{")
    assert isinstance(failure(tmp_path / "torn.json"), DataError)
    lost = json.loads(clouds(tmp_path, "old", 3).read_text())
    (tmp_path / "old.json").write_text(json.dumps({k: v for k, v in lost.items() if k != "outcomes"}))
    assert "`captionless eval --checkpoint`" in str(failure(tmp_path / "old.json"))
    other = json.loads(clouds(tmp_path, "other", 4).read_text())["outcomes"]
    assert "zero-shot top-1" in str(failure(clouds(tmp_path, "x", 9, outcomes=other)))
    torn = {**other, "labels": "0, 1, z"}
    assert str(failure(clouds(tmp_path, "y", 4, outcomes=torn))).startswith(f"{tmp_path}/y.json: outcomes: ")
    write_run(str(tmp_path / "mixed"), {"uniform": 0.2})
    stale = tmp_path / "mixed" / "eval" / "runs" / "uniform-seed0.outcomes.npz"
    stale.write_bytes(outcomes.dumps(Outcomes(LABELS, {"zero_shot": np.ones((N, 1), int)}, "other objects")))
    assert str(failure(tmp_path / "mixed")).startswith(str(stale))
    stale.unlink()
    assert "(not tested)" in call(tmp_path / "mixed", folder / "near", "--markdown")
    assert isinstance(failure(folder / "near", "--baseline", "AVG2"), SpecError)
    assert CliRunner().invoke(app, ["compare", str(folder / "near"), "--json", "--markdown"]).exit_code == 2
