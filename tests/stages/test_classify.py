"""captionless classify: from a file of labelled clouds to a classifier, its figures, and errors for bad input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from captionless.cli.app import app
from captionless.errors import CaptionlessError, DataError, SpecError
from captionless.spec import load as spec_load
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.classification import ClassificationSpec
from captionless.stages import classify as stage
from captionless.trainer import classifier_training as trainer
from tests import clouds

SETTINGS: dict[str, Any] = {
    "steps": 60, "batchSize": 8, "points": 64, "validateEvery": 20, "validationShare": 0.2,
    "encoder": {"width": 8, "nsample": 8, "radius": 0.4, "dropout": 0},
    "optim": {"lr": 0.01, "warmup": 0.1},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def write_spec(folder: Path, source: dict[str, Any] | None = None, classify: dict[str, Any] | None = None) -> Path:
    """A spec of the clouds train.npz in `folder`; `source` and `classify` add to its sections."""
    eval_dataset = {"kind": "points", "url": str(folder / "train.npz"), "up": "z", **(source or {})}
    document = {
        "name": "boxes",
        "output": str(folder / "run"),
        "data": {"source": eval_dataset, "testFraction": 0},
        "classify": {**SETTINGS, **(classify or {})},
    }
    (folder / "boxes.yaml").write_text(yaml.safe_dump(document))
    return folder / "boxes.yaml"


def load(path: Path, *overrides: str) -> ClassificationSpec:
    return spec_load.validated(ClassificationSpec, spec_load.read_document(str(path)), overrides, str(path))


def call(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["classify", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with a test file, by the command."""
    folder = tmp_path_factory.mktemp("classify")
    clouds.write(folder / "train.npz")
    clouds.write(folder / "test.npz", **clouds.fields(per_class=8, points=80, seed=1))
    output = call(write_spec(folder, {"testUrl": str(folder / "test.npz")}))
    assert "overall accuracy" in output
    assert str(folder / "run" / "model.pt") in output
    return folder


def test_clouds_become_a_classifier_and_its_figures(done: Path) -> None:
    found = json.loads((done / "run" / "results.json").read_text())
    figures = found["figures"]
    assert figures["objects"] == {"training": 30, "validation": 6, "test": 24}
    assert figures["classes"] == sorted(clouds.CLASSES)
    assert figures["splits"]["test"]["overall_accuracy"] > 0.9
    assert figures["chance"]["overall_accuracy"] == pytest.approx(1 / 3)
    assert set(figures["splits"]) == {"validation", "test"}
    assert found["provenance"]["classify"]["seed"] == 0
    assert found["provenance"]["checkpoint"]["best"]["accuracy"] == pytest.approx(
        figures["splits"]["validation"]["overall_accuracy"]
    )
    assert found["timing"]["training_cpu"] > 0
    assert "| test | 24 |" in (done / "run" / "table.md").read_text()


def test_a_finished_run_computes_nothing_and_another_gives_the_same(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write_spec(tmp_path, {"url": str(done / "train.npz"), "testUrl": str(done / "test.npz")})
    stage.run(load(spec))
    ours, theirs = files(tmp_path / "run"), files(done / "run")
    assert ours["model.pt"] == theirs["model.pt"]
    results = [json.loads(run["results.json"]) for run in (ours, theirs)]
    assert results[0]["figures"] == results[1]["figures"]
    assert results[0]["provenance"] == results[1]["provenance"]
    monkeypatch.setattr(trainer, "train", lambda *args: pytest.fail("trained again"))
    stage.run(load(spec))
    assert files(tmp_path / "run") == ours


def test_the_test_split_has_no_say_in_the_model(tmp_path: Path) -> None:
    clouds.write(tmp_path / "train.npz", names=[f"a{i:02d}" for i in range(36)])
    spec = load(write_spec(tmp_path, classify={"steps": 20}))
    assert set(stage.run(spec)["figures"]["splits"]) == {"validation"}
    model = (tmp_path / "run" / "model.pt").read_bytes()
    for seed in (1, 2):
        eval_dataset = clouds.fields(per_class=8, points=80, seed=seed)
        clouds.write(tmp_path / "test.npz", **eval_dataset, names=[f"b{i:02d}" for i in range(24)])
        found = stage.run(load(tmp_path / "boxes.yaml", f"data.source.testUrl={tmp_path}/test.npz"))
        assert found["figures"]["objects"]["test"] == 24
        assert (tmp_path / "run" / "model.pt").read_bytes() == model  # not trained again


@pytest.mark.parametrize("labels", ["numbered", "numbers", "names"])
def test_a_model_is_measured_on_other_clouds(done: Path, tmp_path: Path, labels: str) -> None:
    eval_dataset = clouds.fields(per_class=8, points=80, seed=1)
    changes: dict[str, Any] = {"numbered": {}, "numbers": {"classes": None}}.get(
        labels, {"classes": None, "labels": np.array(clouds.CLASSES)[eval_dataset["labels"]]}
    )
    path = clouds.write(tmp_path / "unseen.npz", **{**eval_dataset, **changes})
    call("evaluate", done / "run", path, "--out", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    tree = json.loads((done / "run" / "results.json").read_text())["figures"]["splits"]["test"]
    assert found["figures"]["objects"] == {"all": 24}
    assert found["figures"]["splits"]["all"] == tree
    assert found["provenance"]["dataset"]["up"] == "z"


def test_a_yaml_file_and_some_of_the_classes_do_as_well(done: Path, tmp_path: Path) -> None:
    eval_dataset = clouds.fields(per_class=8, points=80, seed=1)
    few = eval_dataset["labels"] != 1
    clouds.write(
        tmp_path / "few.npz",
        points=eval_dataset["points"][few],
        labels=eval_dataset["labels"][few],
        classes=clouds.CLASSES,
    )
    found = stage.evaluate(str(done / "run" / "model.pt"), str(tmp_path / "few.npz"))
    assert found["figures"]["splits"]["all"]["per_class"]["plate"] is None
    assert found["figures"]["objects"] == {"all": 16}
    found = stage.evaluate(str(done / "run"), str(done / "boxes.yaml"))
    tree = json.loads((done / "run" / "results.json").read_text())["figures"]["splits"]["test"]
    assert found["figures"]["splits"] == {"test": tree}
    assert json.loads(call("evaluate", done / "run", done / "boxes.yaml", "--out", "-"))["figures"] == found["figures"]
    wrong_up = stage.evaluate(str(done / "run"), str(done / "test.npz"), up="x")
    assert wrong_up["figures"] != found["figures"]


def nan_cloud() -> np.ndarray:
    points: np.ndarray = clouds.fields()["points"]
    points[[2, 20], 5, 1] = np.nan
    return points


def test_broken_clouds_are_counted_named_and_limited(tmp_path: Path) -> None:
    clouds.write(tmp_path / "train.npz", points=nan_cloud())
    spec = write_spec(tmp_path, classify={"steps": 2})
    with pytest.raises(DataError, match=r"2 .*maxSkipped.*\b1\b.*rod-00002: 1 of 64") as caught:
        stage.run(load(spec, "data.maxSkipped=1"))
    assert "plate-00020: 1 of 64" in str(caught.value)
    assert not (tmp_path / "run" / "model.pt").exists()
    found = stage.run(load(spec, "data.maxSkipped=2"))
    assert [s["key"] for s in found["provenance"]["skipped"]] == ["plate-00020", "rod-00002"]
    assert found["figures"]["objects"] == {"training": 28, "validation": 6}


@pytest.mark.parametrize(
    ("changes", "overrides", "error", "named"),
    [
        pytest.param({}, ["classify.points=65"], DataError, r"\b64\b.*classify\.points.*\b65\b", id="points"),
        pytest.param({"labels": [0] * 36}, [], DataError, r"data\.source: 36 .*\b1\b.*rod", id="one-class"),
        pytest.param({"labels": [0] * 35 + [3]}, [], DataError, r"labels: .*\b0 to 3\b.*\b3\b", id="label-range"),
        pytest.param({"classes": None}, [], DataError, r"train\.npz: .*shape_names\.txt", id="unnamed-classes"),
        pytest.param({}, ["data.source.testUrl=other.npz"], DataError, 'cubes.*"cube"', id="unknown-class"),
        pytest.param({}, ["data.source.categories=[rod, cubes]"], SpecError, r'categories: .*"cubes"', id="category"),
        pytest.param({}, ["classify.init=gone.pt"], DataError, r"gone\.pt: ", id="missing-model"),
        pytest.param(
            {}, ["classify.optim.lr=1e30", "classify.optim.warmup=0"], SpecError, r"classify\.optim\.lr", id="diverging"
        ),
        pytest.param({}, ["classify.device=cuda"], SpecError, "CUDA", id="no-gpu"),
        pytest.param({}, ["classify.step=5"], SpecError, r'classify\.step: .*"steps"', id="unknown-field"),
        pytest.param({}, ["classify.frozen=maybe"], SpecError, r"classify\.frozen: .*'maybe'", id="wrong-value"),
        pytest.param({}, ["output=boxes.yaml"], SpecError, r"boxes\.yaml", id="output-is-a-file"),
    ],
)
def test_what_cannot_be_trained_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: Any, overrides: list[str], error: type, named: str
) -> None:
    if "cuda" in str(overrides) and torch.cuda.is_available():
        overrides = [*overrides, "classify.points=65"]
        error, named = DataError, r"\b65\b"
    monkeypatch.chdir(tmp_path)
    clouds.write(tmp_path / "train.npz", **changes)
    clouds.write(tmp_path / "other.npz", classes=["rod", "plate", "cubes"])
    with pytest.raises(error, match=named):
        stage.run(load(write_spec(tmp_path), *overrides))
    assert not (tmp_path / "run" / "model.pt").exists()


@pytest.mark.parametrize(
    ("changes", "options", "named"),
    [
        pytest.param({"classes": ["rod", "plates", "cube"]}, {}, 'plates.*"plate"', id="unknown-class"),
        pytest.param({"classes": None, "labels": [5] * 36}, {}, r"labels: .*\b5 to 5\b.*\b3\b", id="label-range"),
        pytest.param({"points": clouds.fields(points=40)["points"]}, {}, r"\b40\b.*\b64\b", id="points"),
        pytest.param({"points": nan_cloud()}, {}, r"2 .*data\.maxSkipped.*plate-00020: 1 of 64", id="broken"),
        pytest.param({"labels": None}, {}, "'labels'", id="missing-field"),
        pytest.param({}, {"split": "test", "where": "none.yaml"}, r"\btest\b.*--split all", id="empty-split"),
        pytest.param({}, {"up": "z", "where": "none.yaml"}, r"--up: .*none\.yaml", id="unsupported-option"),
        pytest.param({}, {"where": "gone.npz"}, r"gone\.npz: ", id="missing-file"),
        pytest.param({}, {"model": "gone"}, r"gone/model\.pt: ", id="missing-model"),
    ],
)
def test_what_cannot_be_evaluated_is_reported(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: Any, options: dict[str, Any], named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    clouds.write(tmp_path / "unseen.npz", **changes)
    Path("none.yaml").write_text("data: {source: {kind: points, url: unseen.npz, up: z}, testFraction: 0}")
    arguments = {"model": str(done / "run"), "where": "unseen.npz", **options}
    with pytest.raises(CaptionlessError, match=named):
        stage.evaluate(**arguments)


def test_wrong_calls_are_refused(done: Path) -> None:
    model, data = str(done / "run"), str(done / "test.npz")
    for wrong in ([], ["evaluate"], ["evaluate", model], ["evaluate", model, data, "--split", "val"], ["a.yaml", "b"]):
        assert CliRunner().invoke(app, ["classify", *wrong]).exit_code == 2


def test_an_encoder_trained_on_labels_knows_no_texts(done: Path) -> None:
    from captionless.stages import eval_checkpoint, eval_dataset

    data = eval_dataset.open_eval_dataset(str(done / "test.npz"), eval_dataset.Options(up="z"))
    with pytest.raises(DataError, match=r"model\.pt: .*captionless classify evaluate"):
        eval_checkpoint.evaluate(str(done / "run" / "model.pt"), data)


def test_an_alignment_of_clouds_is_led_here() -> None:
    source = {"kind": "points", "url": "x.npz", "up": "z"}
    with pytest.raises(SpecError, match="captionless classify"):
        spec_load.validated(AlignmentSpec, {"data": {"source": source}, "train": {"weights": ["uniform"]}})
