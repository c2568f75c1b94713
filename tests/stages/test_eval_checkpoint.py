"""A checkpoint on published test sets, files of clouds and sources: figures against plain loops, and errors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from typer.testing import CliRunner

from captionless.cli.app import app
from captionless.clip import checkpoints, openclip
from captionless.errors import CaptionlessError, DataError, SpecError
from captionless.precompute.pointcloud import cloud
from captionless.precompute.testsets.scanobjectnn import CLASSES
from captionless.stages import eval_checkpoint
from captionless.stages.eval_dataset import Options, open_eval_dataset
from captionless.trainer import encoders
from captionless.trainer.infer import encode_points
from captionless.trainer.model_file import load_model, save_model
from tests import clouds, testsets
from tests.eval import reference

POINTS = 64
OPTIONS = {"width": 4, "nsample": 8, "in_channels": 3, "radius": 0.4, "dropout": 0.0, "embed_dim": 128}
META = {"clip": {"model": "captionless-demo", "pretrained": "", "embed_dim": 128}, "points": POINTS, "seed": 5}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An encoder that was trained on nothing: what is measured here is the measuring."""
    torch.manual_seed(0)
    url = str(tmp_path_factory.mktemp("run") / "model.pt")
    meta = {**META, "clip": {**META["clip"], "identity": checkpoints.identity("captionless-demo", None)}}  # type: ignore[dict-item]
    save_model(url, encoders.build("pointnext-s", **OPTIONS), "pointnext-s", OPTIONS, meta)
    return url


def plain_cloud(points: np.ndarray) -> np.ndarray:
    """(P, 3) centred, in the unit sphere, the first POINTS of it in farthest-point order, step by step."""
    centred = points.astype(np.float64) - points.astype(np.float64).mean(axis=0)
    xyz = (centred / np.linalg.norm(centred, axis=1).max()).astype(np.float32).astype(np.float16).astype(np.float32)
    chosen = [0]
    while len(chosen) < POINTS:
        nearest = np.min([((xyz - xyz[i]) ** 2).sum(axis=1) for i in chosen], axis=0)
        nearest[chosen] = -1
        chosen.append(int(nearest.argmax()))
    return xyz[chosen]


def plain_rows(model: str, points: np.ndarray) -> np.ndarray:
    return encode_points(load_model(model)[0], np.stack([plain_cloud(each) for each in points]), POINTS)


def test_zero_shot_figures_equal_plain_loops(model: str, tmp_path: Path) -> None:
    labels = [0, 4, 9, 14, 4, 0, 7, 9, 9, 2, 4, 13]
    data = testsets.scanobjectnn(tmp_path, labels)["main_split_nobg/test_objectdataset.h5"]
    found = eval_checkpoint.evaluate(model, open_eval_dataset(f"scanobjectnn-obj-only={tmp_path}"), prompt="released")
    present = sorted({CLASSES[label] for label in labels})
    texts = openclip.load("captionless-demo").texts([f"a point cloud model of a {name}" for name in present])
    ranks = []
    for row, label in zip(reference.unit(plain_rows(model, data)), labels, strict=True):
        scores = [float(row @ text) for text in reference.unit(texts)]
        own = scores[present.index(CLASSES[label])]
        ranks.append(1 + sum(s >= own - 1e-9 for n, s in zip(present, scores, strict=True) if n != CLASSES[label]))
    figures, about = found["figures"], found["provenance"]
    assert figures["classes"] == present
    assert (figures["objects"], figures["images"]) == (12, 0)
    assert figures["zero_shot"]["top1"] == pytest.approx(np.mean(np.array(ranks) == 1), abs=1e-6)
    assert figures["zero_shot"]["top5"] == pytest.approx(np.mean(np.array(ranks) <= 5), abs=1e-6)
    shares = {n: np.mean([r == 1 for r, y in zip(ranks, labels, strict=True) if CLASSES[y] == n]) for n in present}
    assert figures["zero_shot"]["per_class"] == pytest.approx(shares, abs=1e-6)
    assert figures["zero_shot"]["class_mean"] == pytest.approx(np.mean(list(shares.values())), abs=1e-6)
    assert figures["zero_shot"]["support"]["chair"] == 3
    assert figures["chance"]["zero_shot"]["top1"] == pytest.approx(1 / len(present), abs=1e-6)
    assert set(figures) == {"objects", "images", "classes", "without_objects", "zero_shot", "chance", "intervals"}
    assert found["outcomes"]["ranks"] == {"zero_shot": ", ".join(map(str, ranks))}
    file = tmp_path / "h5_files/main_split_nobg/test_objectdataset.h5"
    assert about["dataset"]["files"] == {str(file): hashlib.sha256(file.read_bytes()).hexdigest()}
    assert (about["dataset"]["name"], about["dataset"]["official"]) == ("scanobjectnn-obj-only", 581)
    assert about["prompt"] == {"name": "released", "templates": ["a point cloud model of a {}"]}
    assert about["checkpoint"] == {"url": model, "sha256": hashlib.sha256(Path(model).read_bytes()).hexdigest()}
    assert about["points"] == {"used": POINTS, "trained": POINTS}
    assert (about["seed"], about["skipped"]) == (5, [])
    assert about["clip"]["digest"] == openclip.load("captionless-demo").digest


def test_retrieval_figures_equal_plain_loops(model: str, tmp_path: Path) -> None:
    entries = testsets.pix3d(tmp_path)
    given = open_eval_dataset(f"pix3d-masked={tmp_path}")
    found = eval_checkpoint.evaluate(model, given, seed=2)
    figures, about = found["figures"], found["provenance"]
    meshes = [(ref.key, given.source.load(ref).mesh) for ref in given.refs]
    sampled = np.stack([cloud(mesh, 10_000, key)[:POINTS] for key, mesh in meshes if mesh])
    shapes = encode_points(load_model(model)[0], sampled, POINTS)
    assert given.photos is not None
    images = openclip.load("captionless-demo").images([photo.load() for photo in given.photos.listed])
    models = sorted({entry["model"] for entry in entries})
    shown = [models.index(entry["model"]) for entry in entries]
    assert [f"{key}.obj" for key, _ in meshes] == models
    wanted = reference.gallery(images, shapes, [{row} for row in shown], (1, 5))
    pictured = [{i for i, row in enumerate(shown) if row == shape} for shape in range(3)]
    back = reference.gallery(shapes, images, pictured, (1, 5))
    for direction, plain in (("image_to_shape", wanted), ("shape_to_image", back)):
        for name in ("recall@1", "recall@5", "map"):
            assert figures["gallery"][direction][name] == pytest.approx(plain[name], abs=1e-6)
    # Seven pairs are one batch, each shape in it twice or thrice: no pair is found first.
    assert figures["in_batch"]["image_to_shape"]["pairs"] == 7
    assert figures["in_batch"]["image_to_shape"]["top1"] == 0
    assert figures["reachable"]["in_batch"]["image_to_shape"] == {"top1": 0, "top5": 1}
    assert figures["reachable"]["in_batch"]["shape_to_image"] == {"top1": pytest.approx(3 / 7, abs=1e-6), "top5": 1}
    assert (figures["objects"], figures["images"], figures["classes"]) == (3, 7, ["bed", "chair", "tool"])
    assert "zero_shot" not in figures
    assert about["protocol"]["in-batch"]["seed"] == 2
    assert about["dataset"]["pictures"] == {"background": "white", "crop": "none"}
    kept = eval_checkpoint.evaluate(model, open_eval_dataset(f"pix3d={tmp_path}", Options(crop=True)), ["all"])
    assert set(kept["figures"]) >= {"zero_shot", "gallery", "in_batch"}
    content, other = (f["provenance"]["dataset"]["content"] for f in (found, kept))
    assert content["clouds"] == other["clouds"]
    assert content["pictures"] != other["pictures"]


def test_broken_objects_are_counted_and_named(model: str, tmp_path: Path) -> None:
    entries = testsets.pix3d(tmp_path)
    Path(tmp_path / entries[1]["model"]).write_text("v 0 0 0\n")
    Path(tmp_path / entries[3]["img"]).unlink()
    # the chair's shape, its two photographs, and one of the bed's
    with pytest.raises(DataError, match=r"^1 .*--max-skipped\D*\b0\b.*model/chair/SS_001/model: "):
        eval_checkpoint.evaluate(model, open_eval_dataset(f"pix3d={tmp_path}"))
    with pytest.raises(DataError, match=rf"^4 .*--max-skipped\D*\b3\b.*{entries[3]['img']}: "):
        eval_checkpoint.evaluate(model, open_eval_dataset(f"pix3d={tmp_path}", Options(max_skipped=3)))
    found = eval_checkpoint.evaluate(model, open_eval_dataset(f"pix3d={tmp_path}", Options(max_skipped=4)))
    skipped = [entry["key"] for entry in found["provenance"]["skipped"]]
    assert sorted(skipped) == sorted(
        ["model/chair/SS_001/model", entries[1]["img"], entries[4]["img"], entries[3]["img"]]
    )
    assert (found["figures"]["objects"], found["figures"]["images"]) == (2, 4)
    assert found["figures"]["classes"] == ["bed", "chair", "tool"]


def test_clouds_of_a_file_and_objects_of_a_source_are_measured_alike(model: str, tmp_path: Path) -> None:
    clouds.write(tmp_path / "clouds.npz")
    (tmp_path / "data.yaml").write_text(f"data: {{source: {{kind: points, url: {tmp_path}/clouds.npz, up: z}}}}")
    of_file = eval_checkpoint.evaluate(model, open_eval_dataset(str(tmp_path / "clouds.npz"), Options(up="z")))
    of_yaml = eval_checkpoint.evaluate(model, open_eval_dataset(str(tmp_path / "data.yaml"), Options(split="all")))
    assert of_file["figures"] == of_yaml["figures"]
    assert of_file["provenance"]["dataset"]["content"] == of_yaml["provenance"]["dataset"]["content"]
    turned = eval_checkpoint.evaluate(model, open_eval_dataset(str(tmp_path / "clouds.npz"), Options(up="y")))
    assert turned["provenance"]["dataset"]["content"] != of_file["provenance"]["dataset"]["content"]
    fewer = eval_checkpoint.evaluate(model, open_eval_dataset(str(tmp_path / "clouds.npz"), Options(up="z")), points=48)
    assert fewer["provenance"]["points"] == {"used": 48, "trained": POINTS}
    digests = [f["provenance"]["dataset"]["content"] for f in (of_file, of_yaml, fewer, turned)]
    assert [d["objects"] == digests[0]["objects"] for d in digests] == [True, True, True, False]
    assert fewer["provenance"]["dataset"]["content"]["clouds"] != digests[0]["clouds"]
    with pytest.raises(DataError, match=r"\b64\b.*--points.*\b65\b"):
        eval_checkpoint.evaluate(model, open_eval_dataset(str(tmp_path / "clouds.npz"), Options(up="z")), points=65)


def test_a_manifest_of_meshes_is_measured(model: str, tmp_path: Path) -> None:
    lines = []
    for name in ("door", "vase"):
        trimesh.creation.box((1, 2, 0.2 if name == "door" else 1)).export(tmp_path / f"{name}.obj")
        lines.append({"key": name, "category": name, "mesh": f"{name}.obj", "source": "made here", "licence": "CC0"})
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "data.yaml").write_text(f"source: {{kind: manifest, url: {tmp_path}/list.jsonl}}")
    given = open_eval_dataset(str(tmp_path / "data.yaml"), Options(split="all"))
    found = eval_checkpoint.evaluate(model, given)
    assert (found["figures"]["objects"], found["figures"]["classes"]) == (2, ["door", "vase"])
    assert list(found["provenance"]["dataset"]["files"]) == [f"{tmp_path}/list.jsonl"]
    with pytest.raises(SpecError, match=r"--protocol gallery: .*data\.yaml .*pix3d"):
        eval_checkpoint.evaluate(model, given, ["gallery"])


def test_classes_without_an_object_of_the_split_are_candidates(
    model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = []
    for name, split in (("door", "test"), ("vase", "test"), ("lamp", "train")):
        trimesh.creation.box((1, 2, len(lines) + 0.2)).export(tmp_path / f"{name}.obj")
        more = {"key": name, "category": name, "split": split, "source": "made here", "licence": "CC0"}
        lines.append({"mesh": f"{name}.obj"} | more)
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    section = f"source: {{kind: manifest, url: {tmp_path}/list.jsonl}}\nsplit: manifest\n"
    (tmp_path / "data.yaml").write_text(section)
    found = eval_checkpoint.evaluate(model, open_eval_dataset(str(tmp_path / "data.yaml")))
    figures, content = found["figures"], found["provenance"]["dataset"]["content"]
    assert (figures["objects"], figures["classes"]) == (2, ["door", "lamp", "vase"])
    assert figures["without_objects"] == ["lamp"]
    assert figures["chance"]["zero_shot"]["top1"] == pytest.approx(1 / 3, abs=1e-6)
    assert figures["zero_shot"]["per_class"]["lamp"] is None
    assert "lamp" in capfd.readouterr().err
    (tmp_path / "data.yaml").write_text(f'{section}classNames: ["vase=vessel"]\n')
    renamed = eval_checkpoint.evaluate(model, open_eval_dataset(str(tmp_path / "data.yaml")))
    other = renamed["provenance"]["dataset"]["content"]
    assert {name for name in content if other[name] != content[name]} == {"candidates"}
    texts = openclip.load("captionless-demo").texts([f"a point cloud of a {n}" for n in ("door", "lamp", "vessel")])
    given = open_eval_dataset(str(tmp_path / "data.yaml"))
    meshes = [(ref.key, given.source.load(ref).mesh) for ref in given.refs]
    rows = encode_points(load_model(model)[0], np.stack([cloud(mesh, 10_000, key) for key, mesh in meshes if mesh]), 64)
    ranks = [1 + sum(row @ text >= row @ texts[own] for i, text in enumerate(texts) if i != own)
             for row, own in zip(rows, (0, 2), strict=True)]  # fmt: skip
    assert renamed["outcomes"]["ranks"] == {"zero_shot": ", ".join(map(str, ranks))}
    (tmp_path / "data.yaml").write_text(f'{section}classNames: ["vase=Lamp"]\n')
    with pytest.raises(DataError, match=r'"lamp" and "vase".*data\.classNames'):
        eval_checkpoint.evaluate(model, open_eval_dataset(str(tmp_path / "data.yaml")))


@pytest.mark.parametrize(
    ("where", "options", "named"),
    [
        pytest.param("modelnet=x", {}, r'--data modelnet=x: .*NAME=FOLDER.*"modelnet40"', id="misspelt-folder"),
        pytest.param("pix-3d", {}, r'"pix3d"', id="misspelt-name"),
        pytest.param("clouds.npz", {}, r"--up: .*clouds\.npz", id="clouds-without-up"),
        pytest.param("clouds.npz", {"up": "z", "crop": True}, r"--crop: ", id="clouds-crop"),
        pytest.param("gone.npz", {"up": "z"}, r"gone\.npz: ", id="missing-file"),
        pytest.param("data.yaml", {"up": "z"}, r"--up: .*data\.yaml", id="yaml-up"),
        pytest.param("data.yaml", {"max_skipped": 3}, r"--max-skipped: .*data\.yaml", id="yaml-max-skipped"),
        pytest.param("modelnet40=.", {"up": "z"}, r"--up: .*modelnet40", id="test-set-up"),
        pytest.param("modelnet40=.", {"split": "test"}, r"--split: .*modelnet40", id="test-set-split"),
        pytest.param("scanobjectnn-obj-bg=.", {"crop": True}, r"--crop: .*scanobjectnn-obj-bg", id="test-set-crop"),
        pytest.param("pix3d", {"crop": True}, r"^pix3d: .*Pix3D", id="no-folder"),
    ],
)
def test_wrong_data_is_reported(
    where: str, options: dict[str, Any], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clouds.write(Path("clouds.npz"))
    Path("data.yaml").write_text("data: {source: {kind: points, url: clouds.npz, up: z}}")
    with pytest.raises(CaptionlessError, match=named) as error:
        open_eval_dataset(where, Options(**options))
    assert error.value.exit_code == 64


def test_another_clip_than_the_checkpoints_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {**OPTIONS, "width": 2}
    meta = {**META, "clip": {**META["clip"], "identity": "other"}}  # type: ignore[dict-item]
    save_model(f"{tmp_path}/model.pt", encoders.build("pointnext-s", **options), "pointnext-s", options, meta)
    clouds.write(tmp_path / "clouds.npz")
    eval_checkpoint.evaluate(str(tmp_path), open_eval_dataset(str(tmp_path / "clouds.npz"), Options(up="z")))
    assert [
        (r.levelname, str(tmp_path) in r.getMessage()) for r in caplog.records if "captionless-demo" in r.getMessage()
    ] == [("WARNING", True)]


def test_the_command_prints_a_table_and_writes_what_was_asked_for(model: str, tmp_path: Path) -> None:
    testsets.modelnet40_hdf5(tmp_path)
    given = ["eval", "--checkpoint", model, "--data", f"modelnet40={tmp_path}"]
    done = CliRunner().invoke(app, [*given, "--out", f"{tmp_path}/x.json", "--table", f"{tmp_path}/x.md"])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "x.json").read_text())
    top1 = f"{100 * found['figures']['zero_shot']['top1']:.1f}"
    assert "this checkpoint" in done.stdout
    assert top1 in done.stdout
    assert "3 shapes of 3 classes (2,468 objects in the official set)" in done.stdout
    assert "CLIP: captionless-demo" in done.stdout
    assert f"| this checkpoint | {top1} [" in (tmp_path / "x.md").read_text()
    assert json.loads(CliRunner().invoke(app, [*given, "--out", "-"]).stdout)["figures"] == found["figures"]


def test_wrong_calls_are_refused(model: str, tmp_path: Path) -> None:
    for wrong in (
        [], ["--checkpoint", model], ["a.yaml", "--checkpoint", model], ["a.yaml", "--data", "b.yaml"],
        ["--data", "pix3d", "--protocol", "galery"], ["--data", "pix3d", "--points", "0"],
    ):  # fmt: skip
        assert CliRunner().invoke(app, ["eval", *wrong]).exit_code == 2, wrong
    missing = CliRunner().invoke(app, ["eval", "--data", "pix3d"])
    assert isinstance(missing.exception, SpecError)
    assert "http://pix3d.csail.mit.edu/data/pix3d.zip" in str(missing.exception)
