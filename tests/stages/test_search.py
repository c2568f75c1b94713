"""`captionless search`: every kind of query against a plain float64 ranking, the gallery's life, the page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from captionless.cli.app import app
from captionless.clip import checkpoints, openclip
from captionless.clip.demo import NAME as DEMO
from captionless.errors import DataError, SpecError
from captionless.precompute.meshfile import load_mesh
from captionless.precompute.pointcloud import cloud
from captionless.stages import cloud_drawing
from captionless.stages.search import Search, terminal
from captionless.stages.search import build as stage
from captionless.stages.search.query import Query, parse
from captionless.store import gallery, objects
from captionless.store.ledger import Ledger
from captionless.store.packed import embedded_rows
from captionless.store.shards import encode_array, write_shard
from captionless.store.views import encode_view, on_white, view_name
from captionless.trainer import encoders, model_file
from captionless.trainer.infer import encode_points
from tests.embedded import everything, publish, record_embedded, unit
from tests.pages import assert_readable, assert_self_contained, parsed
from tests.store.faulty_s3 import reached_by_environment
from tests.store.web import serving

OPTIONS = {"width": 4, "nsample": 4, "embed_dim": 128, "radius": 0.4}
POINTS, SAMPLED, VIEWS = 48, 64, 10
SINGLY = 1e-6  # what the encoder makes of a cloud depends a little on how many are encoded at once
KINDS = {"ball": 6, "box <b>": 9, "rod": 7}


def view(red: int, green: int) -> bytes:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[2:6, 2:6] = red, green, 0, 255
    return encode_view(rgba)


def solid(category: str, rng: np.random.Generator) -> trimesh.Trimesh:
    sides = rng.uniform(0.5, 1.5, 3) * {"ball": 1, "box <b>": 1, "rod": np.array([0.2, 1, 0.2])}[category]
    return (trimesh.creation.icosphere(2) if category == "ball" else trimesh.creation.box()).apply_scale(sides)


def write_run(root: Path) -> dict[str, np.ndarray]:
    """meshes/, and of them what pack and embed leave, two training shards and one for test; every cloud by its key."""
    rng, clouds, categories = np.random.default_rng(0), {}, {}
    (root / "meshes").mkdir(parents=True)
    for category, count in KINDS.items():
        for i in range(count):
            key = f"{category.split()[0]}-{i:02d}"
            solid(category, rng).export(root / "meshes" / f"{key}.glb")
            clouds[key] = cloud(load_mesh(str(root / "meshes" / f"{key}.glb")), SAMPLED, key)
            categories[key] = category
    clouds["rod-03"] = clouds["rod-05"].copy()  # the same shape twice
    order = np.random.default_rng(1).permutation(sorted(clouds))
    for number, own in enumerate((order[::3], order[1::3], order[2::3])):
        split = "test" if number == 2 else "train"
        tar, name = f"{split}/{number:05d}.tar", f"{split}-{number:05d}"
        embed, pack = str(root / "embed"), str(root / "pack")
        pictures = [(k, {view_name(v): picture(k, v) for v in range(VIEWS)}) for k in own.tolist()]
        info = write_shard(objects.join(pack, tar), pictures)
        Ledger(pack).commit(name, info.sha256, {tar: info.sha256}, {"split": split, "shard": tar})
        record_embedded(
            embed, split, number, [(k, categories[k], {"points.npy": encode_array(clouds[k])}) for k in own.tolist()]
        )
    publish(str(root / "embed"), embedded_rows)
    publish(str(root / "pack"))
    return clouds


def picture(key: str, pose: int) -> bytes:
    return view(int(hashlib.sha256(key.encode()).hexdigest()[:2], 16), 20 * pose)


def save_encoder(root: Path, seed: int = 0, **meta: Any) -> None:
    torch.manual_seed(seed)
    about = {"model": DEMO, "pretrained": "", "identity": checkpoints.identity(DEMO, None), "embed_dim": 128}
    known = {"clip": about, "points": POINTS, "weights": "avg", "seed": seed, **meta}
    model = encoders.build("pointnext-s", **OPTIONS)
    model_file.save_model(str(root / "model.pt"), model, "pointnext-s", OPTIONS, known)


def build(root: Path, out: str = "gallery", split: stage.Split = "all") -> str:
    stage.build(str(root / "model.pt"), str(root / "embed"), str(root / out), split)
    return str(root / out)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    root = tmp_path_factory.mktemp("search")
    clouds = write_run(root)
    save_encoder(root)
    build(root)
    return root, clouds


@pytest.fixture(scope="module")
def root(made: tuple[Path, dict[str, np.ndarray]]) -> Path:
    return made[0]


@pytest.fixture(scope="module")
def rows(made: tuple[Path, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Every object's embedding by the encoder itself."""
    model, _ = model_file.load_model(str(made[0] / "model.pt"))
    keys = sorted(made[1])
    return dict(zip(keys, encode_points(model, np.stack([made[1][k] for k in keys]), POINTS), strict=True))


@pytest.fixture
def copied(root: Path, tmp_path: Path) -> Path:
    """The gallery alone, to be damaged."""
    return Path(shutil.copytree(root / "gallery", tmp_path / "gallery"))


def ranked(rows: dict[str, np.ndarray], vector: np.ndarray, without: str = "") -> list[tuple[str, float]]:
    """Keys and cosines in float64, greatest first, equal ones by key."""
    query = unit(vector.astype(np.float64))
    cosines = {key: float((unit(row.astype(np.float64)) * query).sum()) for key, row in rows.items() if key != without}
    return sorted(cosines.items(), key=lambda item: (-item[1], item[0]))


def check(search: Search, text: str, expected: list[tuple[str, float]], atol: float = 1e-12) -> None:
    found = search(text, k=1000).hits
    assert [hit.key for hit in found] == [key for key, _ in expected]
    np.testing.assert_allclose([hit.cosine for hit in found], [cosine for _, cosine in expected], rtol=0, atol=atol)
    assert [hit.rank for hit in found] == list(range(1, len(expected) + 1))
    assert [hit.key for hit in search(text, k=4).hits] == [key for key, _ in expected[:4]]


def test_words_are_compared_as_clip_sees_them(root: Path, rows: dict[str, np.ndarray]) -> None:
    model = openclip.load(DEMO)
    check(Search(str(root / "gallery")), "a round thing", ranked(rows, model.texts(["a round thing"])[0]))
    check(Search(str(root / "gallery")), "text:key:x", ranked(rows, model.texts(["key:x"])[0]))
    texts = model.texts(["a point cloud of a stool"])[0]
    check(Search(str(root / "gallery"), prompt="paper"), "stool", ranked(rows, texts))
    check(
        Search(str(root / "gallery"), prompt="one {} of oak"),
        "stool",
        ranked(rows, model.texts(["one stool of oak"])[0]),
    )


def test_a_picture_goes_through_clip_as_views_do(root: Path, rows: dict[str, np.ndarray], tmp_path: Path) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (90, 140, 4), dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "seen.png")
    expected = ranked(rows, openclip.load(DEMO).images([on_white(rgba)])[0])
    search = Search(str(root / "gallery"))
    check(search, str(tmp_path / "seen.png"), expected)
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down, as a camera says it
    Image.fromarray(on_white(rgba)[::-1, ::-1]).save(tmp_path / "turned.webp", lossless=True, exif=turned)
    check(search, f"file://{tmp_path}/turned.webp", expected)


def test_a_mesh_is_sampled_and_encoded_as_the_gallery_was(
    root: Path, rows: dict[str, np.ndarray], tmp_path: Path
) -> None:
    search = Search(str(root / "gallery"), str(root / "model.pt"))
    for key in ("box-03", "ball-01"):
        check(search, str(root / "meshes" / f"{key}.glb"), ranked(rows, rows[key]), SINGLY)
    assert search(str(root / "meshes" / "box-03.glb"), k=1).hits[0].cosine == pytest.approx(1, abs=SINGLY)
    mesh = trimesh.load_mesh(root / "meshes" / "box-03.glb")
    mesh.vertices = mesh.vertices @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]).T  # its y is z now
    (tmp_path / "lying").mkdir()
    mesh.export(tmp_path / "lying" / "box-03.ply")
    lying = Search(str(root / "gallery"), str(root), up="z")(str(tmp_path / "lying" / "box-03.ply"), k=1).hits[0]
    assert (lying.key, round(lying.cosine, 3)) == ("box-03", 1)
    with pytest.raises(SpecError, match=r"--up: .*box-03\.ply"):
        search(str(tmp_path / "lying" / "box-03.ply"))


def test_what_a_mesh_lacks_is_told(root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    box = trimesh.creation.box().export(file_type="obj")
    (tmp_path / "box.obj").write_text(f"mtllib none.mtl\nusemtl red\n{box}")
    assert Search(str(root / "gallery"), str(root / "model.pt"), up="y")(str(tmp_path / "box.obj")).hits
    assert "box.obj: lacks something that its file has: " in (told := capfd.readouterr().err)
    assert "none.mtl" in told


def test_a_cloud_is_normalised_and_thinned(root: Path, made: Any, rows: dict[str, np.ndarray], tmp_path: Path) -> None:
    points = made[1]["rod-05"][:, :3].astype(np.float32)
    np.save(tmp_path / "scan.npy", np.concatenate([3 * points + 1, np.ones_like(points)], axis=1))
    np.save(tmp_path / "large.npy", np.random.default_rng(0).standard_normal((5000, 3)))
    np.save(tmp_path / "few.npy", points[: POINTS - 1])
    np.save(tmp_path / "flat.npy", points[:, :2])
    search = Search(str(root / "gallery"), str(root / "model.pt"), up="y")
    hits = search(str(tmp_path / "scan.npy")).hits
    assert [hit.key for hit in hits[:2]] == ["rod-03", "rod-05"]
    np.save(tmp_path / "map.npy", 3 * points.astype(np.float64) + [500_000, 5_400_000, 250])
    assert [hit.cosine for hit in search(str(tmp_path / "map.npy")).hits] == pytest.approx([h.cosine for h in hits])
    assert hits[0].cosine == hits[1].cosine > 0.9999
    assert search(str(tmp_path / "large.npy"), k=3).hits == search(str(tmp_path / "large.npy"), k=3).hits
    scan, array = np.load(tmp_path / "scan.npy")[:, :3], search(str(tmp_path / "scan.npy")).hits
    colored = trimesh.PointCloud(scan.astype(np.float64), colors=np.full((len(scan), 4), 9, np.uint8))
    colored.export(tmp_path / "scan.ply")
    (tmp_path / "scan.ply").rename(tmp_path / "renamed.obj")  # what it is, its content says
    assert [h.key for h in search(str(tmp_path / "renamed.obj")).hits[:2]] == [h.key for h in array[:2]]
    rows = "".join(f"{x!r} {y!r} {z!r}\n" for x, y, z in scan.tolist())
    properties = "".join(f"property double {axis}\n" for axis in "xyz")
    head = f"ply\nformat ascii 1.0\nelement vertex {len(scan)}\n{properties}element face 0\n"
    (tmp_path / "scan.ply").write_text(f"{head}property list uchar int vertex_indices\nend_header\n{rows}")
    assert [h.cosine for h in search(str(tmp_path / "scan.ply")).hits] == pytest.approx([h.cosine for h in array])
    (tmp_path / "cut.ply").write_text(f"{head}end_header\n{rows[:200]}")
    with pytest.raises(DataError, match=r"cut\.ply: "):
        search(str(tmp_path / "cut.ply"))
    with pytest.raises(DataError, match=r"few\.npy: .*\b47\b.*\b48\b"):
        search(str(tmp_path / "few.npy"))
    with pytest.raises(DataError, match=r"flat\.npy: .*float32 \(64, 2\).*\(P, 3\)"):
        search(str(tmp_path / "flat.npy"))


def test_an_object_of_the_gallery_finds_its_twin_and_not_itself(root: Path, rows: dict[str, np.ndarray]) -> None:
    search = Search(str(root / "gallery"))
    for key in ("rod-05", "ball-00"):
        check(search, f"key:{key}", ranked(rows, rows[key], without=key))
    assert search("key:rod-05", k=1).hits[0].key == "rod-03"
    # of one category, and equal ones by key, whichever is asked for
    within = search("key:ball-00", k=1000, within="rod").hits
    assert [h.key for h in within] == [k for k, _ in ranked(rows, rows["ball-00"]) if k.startswith("rod")]
    places = {hit.key: hit.rank for hit in within}
    assert places["rod-05"] == places["rod-03"] + 1


def test_the_kind_of_a_query_follows_from_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("chair.PNG", "chair.obj", "a.chair/x", "notes.txt"):
        objects.write_bytes(name, b"x")
    objects.write_bytes("mesh.png", b"glTF and so on")  # what it is, not what it is called
    objects.write_bytes("picture", b"\x89PNG\r\n\x1a\n and so on")
    objects.write_bytes("page.npy", b"<!DOCTYPE html><html>")
    long = "a chair with four legs " * 300
    expected = {
        "chair.PNG": Query("picture", "chair.PNG"),
        "./chair.obj": Query("shape", "./chair.obj"),
        "key:a/b": Query("object", "a/b"),
        "text:chair.png": Query("text", "chair.png"),
        "a chair. Red": Query("text", "a chair. Red"),
        "a.chair": Query("text", "a.chair"),
        "chair/stool": Query("text", "chair/stool"),
        "mesh.png": Query("shape", "mesh.png"),
        "picture": Query("picture", "picture"),
        long: Query("text", long),
        f"{long}/{long}.": Query("text", f"{long}/{long}."),
    }
    assert {text: parse(text) for text in expected} == expected
    with pytest.raises(DataError, match=r"^lamp\.png: .*text:lamp\.png"):
        parse("lamp.png")
    with pytest.raises(SpecError, match=r"^notes\.txt: .*\.png.*\.npy.*text:"):
        parse("notes.txt")
    with pytest.raises(SpecError, match=r"^page\.npy: an HTML page.*\.png"):
        parse("page.npy")
    for folder in ("../", f"../{tmp_path.name}", "./a.chair", "a.chair/", "..", str(tmp_path)):
        with pytest.raises(SpecError, match=rf"^{re.escape(folder)}: a folder; expected .*text:WORDS$"):
            parse(folder)
    for name, title in (("many.npz", "an npz archive"), ("notes.txt", "neither a picture nor a shape")):
        objects.write_bytes(name, b"x")
        with pytest.raises(SpecError, match=rf"^{name}: {title}; expected a picture"):
            parse(name)
    with pytest.raises(SpecError, match="key:NAME"):
        parse(" ")


def test_another_model_is_refused(root: Path, tmp_path: Path) -> None:
    save_encoder(tmp_path, seed=1)
    digests = [objects.sha256(str(folder / "model.pt"))[:12] for folder in (tmp_path, root)]
    with pytest.raises(SpecError, match=rf"{tmp_path}/model\.pt: .*{root}/model\.pt .*{digests[0]}.*{digests[1]}"):
        Search(str(root / "gallery"), str(tmp_path / "model.pt"))
    with pytest.raises(DataError, match=r"none\.pt: "):
        Search(str(root / "gallery"), str(tmp_path / "none.pt"))
    other = Path(shutil.copytree(root / "gallery", tmp_path / "gallery"))
    manifest = json.loads((other / "gallery.json").read_text())
    manifest["about"]["clip"]["identity"] = "0" * 64
    (other / "gallery.json").write_text(json.dumps(manifest))
    with pytest.raises(SpecError, match=r"gallery: .*captionless-demo"):
        Search(str(other))("a chair")


def test_a_shape_is_encoded_by_the_model_that_the_gallery_names(
    root: Path, rows: dict[str, np.ndarray], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(root, tmp_path / "run"))
    expected = objects.sha256(str(root / "model.pt"))[:12]
    mesh = str(root / "meshes" / "box-03.glb")
    check(Search(str(root / "gallery")), mesh, ranked(rows, rows["box-03"]), SINGLY)
    assert CliRunner().invoke(app, ["search", "--index", str(root / "gallery"), mesh]).exit_code == 0

    manifest = json.loads((run / "gallery" / "gallery.json").read_text())
    manifest["about"]["model"]["url"] = str(run / "model.pt")
    (run / "gallery" / "gallery.json").write_text(json.dumps(manifest))
    save_encoder(run, seed=1)
    found = objects.sha256(str(run / "model.pt"))[:12]
    search = Search(str(run / "gallery"))
    assert search("a rod", k=1).hits  # words need no encoder
    with pytest.raises(SpecError, match=rf"{run}/model\.pt: .*gallery.*{found}.*{expected}"):
        search(mesh)
    (run / "model.pt").unlink()
    with pytest.raises(SpecError, match=rf"--checkpoint: .*{run}/model\.pt.*gallery.*{expected}"):
        Search(str(run / "gallery"))(mesh)
    assert Search(str(run / "gallery"), str(root))(mesh, k=1).hits[0].key == "box-03"


def test_unknown_names_are_reported(root: Path, tmp_path: Path) -> None:
    search = Search(str(root / "gallery"))
    with pytest.raises(DataError, match=r'"rod-5".*"rod-05"'):
        search("key:rod-5")
    with pytest.raises(SpecError, match=r'"rods".*"rod".*ball, box <b>, rod'):
        search("a rod", within="rods")
    with pytest.raises(SpecError, match=r'"papre".*"paper"'):
        Search(str(root / "gallery"), prompt="papre")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"broken\.png: "):
        search(str(tmp_path / "broken.png"))
    with pytest.raises(DataError, match=r"gallery\.json.*`captionless search build`"):
        Search(str(root / "embed"))


def test_damage_is_named(copied: Path) -> None:
    rows, listed = copied / "0.faiss", next(copied.glob("objects-*.json"))
    whole = rows.read_bytes()
    rows.write_bytes(whole[:-4] + b"\0\0\0\0")
    with pytest.raises(DataError, match=r"0\.faiss: .*checksum"):
        Search(str(copied))("key:rod-05")
    rows.write_bytes(whole[:-4])
    with pytest.raises(DataError, match=r"0\.faiss: .*bytes"):
        Search(str(copied))
    rows.unlink()
    with pytest.raises(DataError, match=r"0\.faiss: .*`captionless search build`"):
        Search(str(copied))
    rows.write_bytes(whole)
    listed.write_bytes(listed.read_bytes().replace(b"rod-05", b"rod-95"))
    with pytest.raises(DataError, match=r"objects-.*\.json: .*checksum"):
        Search(str(copied))


def test_missing_faiss_is_reported_with_how_to_install_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    line = r"faiss.*pip install 'captionless\[search\]'"
    with pytest.raises(SpecError, match=line):
        build(root, str(tmp_path / "new"))
    with pytest.raises(SpecError, match=line):
        Search(str(root / "gallery"))("key:rod-05")


def test_a_gallery_can_be_read_by_faiss_alone(
    root: Path, rows: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_ROWS", 8)
    folder = Path(build(root, "parts"))
    parts = json.loads((folder / "gallery.json").read_text())["parts"]
    index = faiss.read_index(str(folder / parts[0]["file"]))
    for part in parts[1:]:
        index.merge_from(faiss.read_index(str(folder / part["file"])))
    assert [part["rows"] for part in parts] == [[0, 8], [8, 16], [16, 22]]
    stored = index.reconstruct_n(0, index.ntotal)
    np.testing.assert_allclose(stored, np.stack([rows[key] for key in sorted(rows)]), rtol=0, atol=SINGLY)
    np.testing.assert_allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-6)
    whole, cut = (Search(str(root / name))("key:box-02", k=99).hits for name in ("gallery", "parts"))
    assert [hit.key for hit in whole] == [hit.key for hit in cut]
    np.testing.assert_allclose([hit.cosine for hit in whole], [hit.cosine for hit in cut], rtol=0, atol=SINGLY)


def test_a_build_goes_on_where_it_was_stopped_and_computes_nothing_twice(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stage, "_ROWS", 8)
    calm, hit = build(root, str(tmp_path / "calm")), str(tmp_path / "hit")
    write, made = gallery.write_rows, []

    def stopping(url: str, row: int, rows: np.ndarray) -> tuple[str, str]:
        made.append(row)
        if made == [0, 8]:
            raise KeyboardInterrupt
        return write(url, row, rows)

    monkeypatch.setattr(gallery, "write_rows", stopping)
    with pytest.raises(KeyboardInterrupt):
        build(root, hit)
    with pytest.raises(DataError, match=r"gallery\.json"):
        Search(hit)
    build(root, hit)
    assert made == [0, 8, 8, 16]
    assert everything(Path(hit)) == everything(Path(calm))
    capfd.readouterr()
    monkeypatch.setattr(model_file, "load_model", lambda url: pytest.fail("the model is loaded"))
    before = {path: path.stat().st_mtime_ns for path in Path(hit).rglob("*")}
    build(root, hit)
    assert "nothing left to do" in capfd.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in Path(hit).rglob("*")} == before


def test_another_model_or_split_makes_another_gallery(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "embed", tmp_path / "embed")
    save_encoder(tmp_path)
    sizes = {split: len(Search(build(tmp_path, "near", split)).gallery) for split in ("train", "test", "all")}
    assert sizes == {"train": 15, "test": 7, "all": 22}
    first = everything(tmp_path / "near")["0.faiss"]
    save_encoder(tmp_path, seed=1)
    build(tmp_path, "near")
    assert everything(tmp_path / "near")["0.faiss"] != first
    Search(str(tmp_path / "near"), str(tmp_path / "model.pt"))


def test_a_signed_model_is_used_and_its_signature_not_stored(root: Path, tmp_path: Path) -> None:
    with serving(root) as address:
        signed = f"{address.replace('//', '//ann:pa55word@')}/model.pt?X-Amz-Signature=5ecre7"
        stage.build(signed, str(root / "embed"), str(tmp_path / "gallery"))
    stored = everything(tmp_path / "gallery")
    assert not any(secret in data for secret in (b"pa55word", b"5ecre7") for data in stored.values())


def test_what_cannot_become_a_gallery_is_reported(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "embed", tmp_path / "embed")
    save_encoder(tmp_path, points=SAMPLED + 1)
    with pytest.raises(DataError, match=r'model\.pt: .*\b65\b.*"ball-00".*\b64\b'):
        build(tmp_path)
    torch.save({**model_file.read_model(str(root / "model.pt")), "clip": None}, tmp_path / "model.pt")
    document = model_file.read_model(str(root / "model.pt"))
    del document["clip"]
    torch.save(document, tmp_path / "model.pt")
    with pytest.raises(DataError, match=r"model\.pt: .*labels"):
        build(tmp_path)
    publish(str(tmp_path / "empty"), embedded_rows)
    with pytest.raises(DataError, match=r"empty: .*\(all\)"):
        stage.build(str(root / "model.pt"), str(tmp_path / "empty"), str(tmp_path / "out"))


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["search", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_line_prints_tables_or_json(root: Path) -> None:
    where = ["--checkpoint", str(root / "model.pt"), "--index", str(root / "gallery")]
    mesh = str(root / "meshes" / "box-03.glb")
    text = call(*where, "a box", mesh, "-k", "3")
    found = json.loads(call("query", *where, "a box", mesh, "-k", "3", "--within", "box <b>", "--json"))
    search = Search(str(root / "gallery"), str(root / "model.pt"))
    assert "“a box”" in text
    for line in (f"shape {mesh}", "22 shapes of", "(all its objects)", "seed 0", "captionless-demo (the small"):
        assert line in text.replace("\n", " ")
    for hit in (*search("a box", 3).hits, *search(mesh, 3).hits):
        assert f"{hit.rank}  {hit.key}" in text
        assert f"{hit.cosine:.4f}" in text
    assert [answer["query"]["kind"] for answer in found["answers"]] == ["text", "shape"]
    assert found["answers"][1]["query"] == {"kind": "shape", "what": mesh, "within": "box <b>"}
    assert found["answers"][1]["hits"] == [vars(hit) for hit in search(mesh, 3, "box <b>").hits]
    assert found["index"]["objects"] == 22
    assert found["index"]["model"]["sha256"] == hashlib.sha256((root / "model.pt").read_bytes()).hexdigest()
    assert found["prompt"] == "{}"


def test_a_terminal_with_colours_shows_pictures(root: Path) -> None:
    search = Search(str(root / "gallery"))
    answers = [search("key:rod-05", 3)]
    console = Console(force_terminal=True, color_system="truecolor", width=60, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    terminal.show(console, answers, search.pictures(answers), "described", None)
    drawn = console.export_text(styles=True)
    red = int(hashlib.sha256(b"rod-03").hexdigest()[:2], 16)
    assert terminal.draws(console)
    assert f"\x1b[38;2;{red};20;0;48;2;{red};20;0m▀" in drawn
    assert "1                     2" in drawn  # as many as fit
    assert not terminal.draws(Console(width=60))


def sources(text: str) -> list[bytes]:
    return [base64.b64decode(str(image["src"]).partition(",")[2]) for image in parsed(text).all("img")]


def test_the_page_shows_what_was_asked_beside_what_was_found(root: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((600, 300, 3), 200, np.uint8)).save(tmp_path / "large.jpg")
    mesh, out = str(root / "meshes" / "box-03.glb"), tmp_path / "made" / "page.html"
    asked = ["<i>words</i>", str(tmp_path / "large.jpg"), mesh, "key:rod-05"]
    where = ["--checkpoint", str(root / "model.pt"), "--index", str(root / "gallery")]
    assert f"page: {out}" in call(*where, *asked, "-k", "3", "--out", str(out))
    text = out.read_text()
    assert_self_contained(text)
    assert_readable(text)
    search = Search(str(root / "gallery"), str(root / "model.pt"))
    shown = sources(text)
    hits = [[picture(hit.key, 1) for hit in search(query, 3).hits] for query in asked]
    assert shown[:3] == hits[0]  # words have no picture
    assert shown[4:7] == hits[1]
    assert shown[8:11] == hits[2]
    assert shown[11:] == [picture("rod-05", 1), *hits[3]]
    assert search(asked[1]).asked.picture == shown[3]
    assert len(text) < 60_000
    assert "&lt;i&gt;words&lt;/i&gt;" in text
    assert "box &lt;b&gt; box-03" in text
    assert all(f"{hit.cosine:.4f}" in text for hit in search(mesh, 3).hits)


def test_without_pictures_the_page_says_why(root: Path, copied: Path, tmp_path: Path) -> None:
    manifest = json.loads((copied / "gallery.json").read_text())
    manifest["about"]["pack"] = str(tmp_path / "gone")
    (copied / "gallery.json").write_text(json.dumps(manifest))
    out = tmp_path / "page.html"
    call("--index", str(copied), "key:rod-05", "--out", str(out))
    assert "<strong>No pictures.</strong>" in out.read_text()
    assert str(tmp_path / "gone") in out.read_text()
    assert_readable(out.read_text())
    call("--index", str(copied), "key:rod-05", "--out", str(out), "--pack", str(root / "pack"))
    assert len(sources(out.read_text())) == 11
    with pytest.raises(DataError, match="gone"):
        call("--index", str(copied), "key:rod-05", "--out", str(out), "--pack", str(tmp_path / "gone"))


def test_the_drawing_of_a_cloud_is_seen_as_views_are() -> None:
    corners = np.zeros((4, 6), np.float16)
    corners[1:, :3] = np.eye(3)  # x to the right and a little up, y up, z to the left and down
    drawn = cloud_drawing.draw(corners, 200)
    points = [np.argwhere(cloud_drawing.draw(corners[i : i + 1], 200)[..., 3] > 0).mean(axis=0) for i in range(4)]
    centre, x, y, z = (point - (100, 100) for point in points)  # down, right
    assert np.abs(centre).max() < 1
    assert x @ (0.5, 1) > 70 > 0 < x[0]
    assert abs(y[1]) < 1 < 85 < -y[0]
    assert z[1] < -50 < 0 < z[0]
    assert set(np.unique(drawn[..., 3])) == {0, 255}


@pytest.fixture
def bucket() -> Iterator[str]:
    with reached_by_environment("search"):
        yield "s3://search"


def test_all_of_it_may_be_on_s3(root: Path, bucket: str, tmp_path: Path) -> None:
    for name in ("model.pt", "embed", "pack", "meshes/box-03.glb"):
        for path in (root / name).rglob("*") if (root / name).is_dir() else [root / name]:
            if path.is_file():
                objects.write_bytes(f"{bucket}/run/{path.relative_to(root)}", path.read_bytes())
    run = f"{bucket}/run"
    call("build", "--checkpoint", f"{run}/model.pt", "--dataset", f"{run}/embed", "--out", f"{run}/search")
    found = call("--checkpoint", f"{run}/model.pt", "--index", f"{run}/search", f"{run}/meshes/box-03.glb", "--json",
                 "--out", f"{run}/page.html")  # fmt: skip
    here = Search(str(root / "gallery"), str(root / "model.pt"))(str(root / "meshes" / "box-03.glb"))
    assert json.loads(found)["answers"][0]["hits"] == [vars(hit) for hit in here.hits]
    shown = sources(objects.read_bytes(f"{run}/page.html").decode())
    assert shown[1:] == [picture(hit.key, 1) for hit in here.hits]
