"""`captionless init`: it writes only specs that `captionless validate` accepts, whatever the meshes are called."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from captionless.cli.app import app
from captionless.clip import names
from captionless.clip.demo import FOLDER as DEMO_FOLDER
from captionless.clip.demo import NAME as DEMO
from captionless.errors import SpecError
from captionless.precompute.sources import open_source
from captionless.spec.init import run_name
from captionless.spec.load import load_spec

FIELD = Path(__file__).parent.parent / "data" / "field"
CUBE = (FIELD / "reference" / "03_vcol_nomat.glb").read_bytes()
OFF = (FIELD / "off-lower-case-header" / "in" / "box" / "13_lower.off").read_bytes()


def put(folder: Path, *paths: str, content: bytes = CUBE) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def init(*arguments: object) -> str:
    """What it prints. Raises what the command raises."""
    done = CliRunner().invoke(app, ["init", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def started(tmp_path: Path, meshes: object, *options: str) -> dict[str, Any]:
    """The spec that `init` writes, which `validate` accepts."""
    where = tmp_path / "spec.yaml"
    init(meshes, "--out", where, *options)
    done = CliRunner().invoke(app, ["validate", str(where)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = yaml.safe_load(where.read_text())
    return found


@pytest.mark.parametrize(
    "folder",
    ["3d-models", "3D-FUTURE", "02691156", "Möbel für alle", "椅子", "a" * 60, "-x-", "9" * 60, "my.shapes: v2",
     "it's #1", "tab\there", "{x}", "café—über", "TRUE", "null", "1e3", "x" * 39 + "-y", "%s", "a=b"],
)  # fmt: skip
def test_a_folder_of_any_name_gives_a_valid_spec(tmp_path: Path, folder: str) -> None:
    shapes = put(tmp_path / folder, "box/a.glb")
    found = started(tmp_path, shapes)
    assert found["data"]["source"] == {"kind": "folder", "url": str(shapes)}
    assert found["name"] == run_name(str(shapes))


def test_the_name_is_that_of_the_meshes() -> None:
    expected = {
        "/x/3D-FUTURE": "run-3d-future", "/x/02691156/": "run-02691156", "/x/Möbel für alle": "mobel-fur-alle",
        "/x/椅子": "alignment", "s3://bucket": "bucket", "https://h/my%20set.jsonl?signature=secret": "my-20set",
        "/x/List.JSONL": "list", "/": "alignment", "zip://shapes::s3://b/all.zip": "shapes", "/x/a--b__c": "a-b-c",
    }  # fmt: skip
    assert {url: run_name(url) for url in expected} == expected
    assert run_name("9" * 60) == "run-" + "9" * 36
    assert run_name("x" * 39 + "-y") == "x" * 39


def test_a_url_and_a_home_folder_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = put(tmp_path / "shapes", "box/a.glb")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert started(tmp_path, f"file://{shapes}")["data"]["source"]["url"] == str(shapes)
    (tmp_path / "spec.yaml").unlink()
    assert started(tmp_path, "~/shapes")["data"]["source"]["url"] == str(shapes)


def test_what_is_neither_a_folder_nor_a_manifest_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "box.glb")
    (tmp_path / "empty").mkdir()
    for meshes, told in (("box.glb", "is a file"), ("empty", "missing or empty"), ("gone", "missing or empty"),
                         ("gone.jsonl", "no such manifest")):  # fmt: skip
        with pytest.raises(SpecError, match=told):
            init(tmp_path / meshes, "--out", tmp_path / "spec.yaml")
    assert not (tmp_path / "spec.yaml").exists()
    put(tmp_path, "m.JSONL", content=b"")
    assert started(tmp_path, tmp_path / "m.JSONL")["data"]["source"]["kind"] == "manifest"


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        (DEMO, {"model": DEMO}),
        ("ViT-B-32/laion2b_s34b_b79k", {"model": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"}),
        ("ViT-B-32/laion2b-s34b-b79k", {"model": "ViT-B-32", "pretrained": "laion2b-s34b-b79k"}),
        ("ViT-B/32/openai", {"model": "ViT-B/32", "pretrained": "openai"}),
        ("ViT-B-32-quickgelu/openai", {"model": "ViT-B-32-quickgelu", "pretrained": "openai"}),
        ("ViT-B-32/{folder}/ck.pt", {"model": "ViT-B-32", "pretrained": "{folder}/ck.pt"}),
        ("ViT-B/32/s3://b/ck.pt", {"model": "ViT-B/32", "pretrained": "s3://b/ck.pt"}),
        ("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K", {"model": "hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"}),
        ("hf-hub:org/name@v1.0", {"model": "hf-hub:org/name@v1.0"}),
        ("local-dir:{folder}/own model", {"model": "local-dir:{folder}/own model"}),
    ],
)
def test_a_model_in_every_form_that_open_clip_takes(tmp_path: Path, clip: str, expected: dict[str, str]) -> None:
    put(tmp_path, "ck.pt", "own model/open_clip_config.json")
    shapes = put(tmp_path / "shapes", "box/a.glb")
    found = started(tmp_path, shapes, "--clip", clip.format(folder=tmp_path))
    assert found["clip"] == {name: value.format(folder=tmp_path) for name, value in expected.items()}
    loaded = load_spec(str(tmp_path / "spec.yaml")).clip
    assert (loaded.model, loaded.pretrained) == names.parse(clip.format(folder=tmp_path))


@pytest.mark.parametrize(
    ("clip", "told"),
    [
        ("ViT-B-32", r'--clip ViT-B-32: .*"ViT-B-32" needs weights: a tag'),
        ("ViT-B-32/", "needs weights"),
        ("ViT-B-32/laion2b_s34b_b79", "did you mean"),
        ("VitB-32/openai", "did you mean"),
        ("", "has no model"),
        ("hf-hub:name", "hf-hub:ORG/NAME"),
        ("ViT-B-32//no/such.pt", "no checkpoint file"),
        (f"{DEMO}/openai", "has its own weights"),
        (f"local-dir:{DEMO_FOLDER}/nowhere", "open_clip_config.json"),
    ],
)
def test_a_model_that_is_not_there_is_told_and_nothing_written(tmp_path: Path, clip: str, told: str) -> None:
    shapes = put(tmp_path / "shapes", "box/a.glb")
    with pytest.raises(SpecError, match=told):
        init(shapes, "--out", tmp_path / "spec.yaml", "--clip", clip)
    assert not (tmp_path / "spec.yaml").exists()


@pytest.mark.parametrize("layout", ["{category}/{split}", "{split}/{category}"])
def test_train_and_test_folders_become_the_split(tmp_path: Path, layout: str) -> None:
    paths = [
        layout.format(category=category, split=split) + f"/{category}_{n}.off"
        for category in ("chair", "02818832")
        for split in ("train", "test")
        for n in range(2)
    ]
    data = started(tmp_path, put(tmp_path / "set", *paths, content=OFF), "--up", "z")["data"]
    assert (data["split"], "testFraction" in data) == ("folders", False)
    assert data["classNames"] == ["02818832=bed"]
    refs = open_source(load_spec(str(tmp_path / "spec.yaml")).data).refs()
    assert {(r.category, r.split) for r in refs} == {(c, s) for c in ("chair", "02818832") for s in ("train", "test")}
    assert all(f"{r.split}/" in r.key for r in refs)


def test_folders_without_meshes_are_no_categories(tmp_path: Path) -> None:
    there = [f"{category}/{split}/x.off" for category in ("chair", "bed") for split in ("train", "test")]
    beside = ["__MACOSX/chair/train/._x.off", ".cache/huggingface/x.off", "figures/a/overview.png", "README.md"]
    data = started(tmp_path, put(tmp_path / "set", *there, *beside, content=OFF), "--up", "z")["data"]
    assert data["split"] == "folders"
    assert len(open_source(load_spec(str(tmp_path / "spec.yaml")).data).refs()) == 4


def test_modelnet_as_it_unpacks(tmp_path: Path) -> None:
    started(tmp_path, FIELD / "modelnet-own-split" / "ModelNet", "--up", "z")
    refs = open_source(load_spec(str(tmp_path / "spec.yaml")).data).refs()
    assert Counter((r.category, r.split) for r in refs) == {
        ("chair", "train"): 6, ("chair", "test"): 3, ("night_stand", "train"): 6, ("night_stand", "test"): 3,
    }  # fmt: skip


def test_a_folder_called_train_is_no_split_by_itself(tmp_path: Path) -> None:
    """A category of trains; categories of which one only is divided."""
    assert "split" not in started(tmp_path, put(tmp_path / "a", "train/x.glb", "boat/y.glb"))["data"]
    (tmp_path / "spec.yaml").unlink()
    shapes = put(tmp_path / "b", "chair/train/x.glb", "chair/test/x.glb", "boat/y.glb")
    assert "split" not in started(tmp_path, shapes)["data"]


def test_links_to_categories_are_allowed(tmp_path: Path) -> None:
    store = put(tmp_path / "store" / "02691156", "a/model.glb").parent
    shapes = put(tmp_path / "shapes", "box/a.glb")
    (shapes / "airplane").symlink_to(store / "02691156")
    (shapes / "cube").symlink_to(shapes / "box")  # inside: nothing to allow
    (shapes / "broken").symlink_to(tmp_path / "nowhere")
    assert started(tmp_path, shapes)["data"]["allow"] == [str(store / "02691156")]
    source = open_source(load_spec(str(tmp_path / "spec.yaml")).data)
    ref = next(r for r in source.refs() if r.category == "airplane")
    assert source.load(ref).mesh is not None
    assert source.digest(ref)


def test_synsets_are_named(tmp_path: Path) -> None:
    paths = (
        "02691156/1a/models/model_normalized.obj",
        "n03001627/a.obj",
        "00000001/b.obj",
        "99999999/c.obj",
        "mug/d.obj",
    )
    shapes = put(tmp_path / "ShapeNetCore.v2", *paths, content=b"v 0 0 0\n")
    assert started(tmp_path, shapes)["data"]["classNames"] == ["02691156=airplane", "n03001627=chair"]
    taxonomy = b'[{"synsetId": "00000001", "name": "spinning wheel, wheel"}, {"synsetId": "03001627", "name": "chair"}]'
    (shapes / "taxonomy.json").write_bytes(taxonomy)
    (tmp_path / "spec.yaml").unlink()
    assert started(tmp_path, shapes)["data"]["classNames"] == [
        "00000001=spinning wheel", "02691156=airplane", "n03001627=chair",
    ]  # fmt: skip
    put(shapes, "n02691156/a.obj", "00000002/b.obj", "Wheel/c.obj", content=b"v 0 0 0\n")
    alike = b'{"synsetId": "00000001", "name": "wheel"}, {"synsetId": "00000002", "name": "mug,beaker"}'
    (shapes / "taxonomy.json").write_bytes(b"[%b]" % alike)
    (tmp_path / "spec.yaml").unlink()
    # of two folders of one synset the first is named, and nothing as another category is
    assert started(tmp_path, shapes)["data"]["classNames"] == [
        "00000002=beaker", "02691156=airplane", "n03001627=chair",
    ]  # fmt: skip
    for damaged in (b"{", b"[1]", b'{"synsetId": 1}', b'[{"synsetId": "00000001"}]'):
        (shapes / "taxonomy.json").write_bytes(damaged)
        (tmp_path / "spec.yaml").unlink()
        assert len(started(tmp_path, shapes)["data"]["classNames"]) == 2


def test_an_axis_that_must_be_set_is_told(tmp_path: Path) -> None:
    shapes = put(tmp_path / "shapes", "box/a.off", content=OFF)
    assert "set data.source.up" in init(shapes, "--out", tmp_path / "spec.yaml")
    assert "# up: z   # required: OFF files" in (tmp_path / "spec.yaml").read_text()
    assert "set data.source.up" not in init(shapes, "--out", tmp_path / "2.yaml", "--up", "z")
    put(shapes, "box/b.glb")
    assert "set data.source.up" not in init(shapes, "--out", tmp_path / "3.yaml")
    refused = CliRunner().invoke(app, ["init", str(shapes), "--out", str(tmp_path / "4.yaml"), "--up", "w"])
    assert refused.exit_code == 2


def test_a_spec_is_printed_with_escapes_where_stdout_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = put(tmp_path / "Möbel-椅子", "box/a.glb")
    printed = {}
    for charset in ("utf-8", "latin-1", "ascii"):
        done = CliRunner(charset=charset).invoke(app, ["init", str(shapes), "-o", "-"], catch_exceptions=False)
        printed[charset] = done.stdout_bytes.decode(charset)
        assert yaml.safe_load(printed[charset])["data"]["source"]["url"] == str(shapes)
    assert "椅子" in printed["utf-8"]
    assert printed["ascii"].isascii()


def test_a_starter_is_not_written_twice(tmp_path: Path) -> None:
    shapes = put(tmp_path / "shapes", "box/a.glb")
    started(tmp_path, shapes)
    with pytest.raises(SpecError, match="already exists"):
        init(shapes, "--out", tmp_path / "spec.yaml")
    shutil.rmtree(shapes)
