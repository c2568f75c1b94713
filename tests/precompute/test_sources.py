"""The four sources, from real files: names, splits, content, digests, and errors for invalid ones."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import trimesh

from captionless import demo_world
from captionless.errors import DataError, SpecError
from captionless.precompute.sources import MeshLoader, open_source, split_of
from captionless.precompute.sources.base import Source, clean_key
from captionless.runtime.redaction import public_address
from captionless.spec.data import DataSpec
from captionless.stages.source_clouds import stored_cloud


def source(kind: str, url: Path | str = "", data: dict[str, Any] | None = None, **spec: Any) -> Source:
    return open_source(DataSpec.model_validate({"source": {"kind": kind, "url": str(url), **spec}, **(data or {})}))


def test_split_is_stable_and_of_the_stated_share() -> None:
    keys = [f"chair/{i}" for i in range(20_000)]
    test = [k for k in keys if split_of(k, 0.2) == "test"]
    assert abs(len(test) / len(keys) - 0.2) < 4 * np.sqrt(0.2 * 0.8 / len(keys))
    assert split_of("chair/1", 0.0) == "train"
    # A larger share only adds: what was held out stays held out.
    assert all(split_of(k, 0.3) == "test" for k in test)
    number = int(hashlib.sha256(b"0:chair/7").hexdigest()[:16], 16)
    assert split_of("chair/7", 0.5) == ("test" if number < 2**63 else "train")


def test_keys_are_fit_for_webdataset() -> None:
    assert clean_key("my chairs/No. 1 (new)") == "my_chairs/No__1__new_"
    assert clean_key("Möbel/Stühle-01") == "Möbel/Stühle-01"


# parametric


def test_parametric_deals_evenly_and_holds_combinations_out() -> None:
    refs = source("parametric", objects=100, testObjects=40).refs()
    counts = Counter((r.split, r.category) for r in refs)
    for split, total in (("train", 100), ("test", 40)):
        dealt = [counts[split, c] for c in demo_world.CLASSES]
        assert sum(dealt) == total
        assert max(dealt) - min(dealt) <= 1
    assert [r.key for r in refs] == sorted({r.key for r in refs})
    for ref in refs:
        assert ref.attributes is not None
        assert demo_world.is_held_out(ref.category, ref.attributes) == (ref.split == "test")
    chair = next(r for r in refs if r.key == "chair-train-0003")
    assert chair.text
    assert chair.text == demo_world.build(chair.key, "chair", dict(chair.attributes or {}), 0).text


def test_parametric_loads_and_digests_by_what_an_object_is_made_from() -> None:
    one = source("parametric", objects=32, categories=["mug", "chair"])
    refs = one.refs()
    assert {r.category for r in refs} == {"mug", "chair"}
    mesh = one.load(refs[0]).mesh
    assert mesh is not None
    again = source("parametric", objects=64, categories=["mug", "chair"])
    assert one.digest(refs[0]) == again.digest(again.refs()[0])
    assert one.digest(refs[0]) != source("parametric", objects=32, seed=1).digest(refs[0])
    assert len({one.digest(r) for r in refs}) == len(refs)
    with pytest.raises(SpecError, match=r'categories: .*"chiar".*"chair"'):
        source("parametric", categories=["chiar"]).refs()


# folder


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    for name in ("cubes/small.obj", "cubes/new/large 2.glb", "balls/ball.v2.ply", "balls/b.off", "balls/readme.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            path.write_text("not a mesh")
        elif path.parts[-2] == "balls":
            trimesh.creation.icosphere(1).export(path)
        else:
            trimesh.creation.box((1, 2, 3)).export(path)
    return tmp_path


def test_folder_names_objects_by_their_place(shapes: Path) -> None:
    folder = source("folder", shapes, up="z")
    refs = folder.refs()
    assert [(r.key, r.category) for r in refs] == [
        ("balls/b", "balls"), ("balls/ball_v2", "balls"), ("cubes/new/large_2", "cubes"), ("cubes/small", "cubes"),
    ]  # fmt: skip
    meshes = [folder.load(r).mesh for r in refs]
    assert [m.face_count for m in meshes if m] == [80, 80, 12, 12]
    assert len({folder.digest(r) for r in refs}) == 4
    assert [r.split for r in refs] == [split_of(r.key, 0.2) for r in refs]
    assert [r.key for r in source("folder", shapes, categories=["cubes"]).refs()] == [r.key for r in refs[2:]]


def test_folder_digest_changes_with_the_file_and_its_axis(shapes: Path) -> None:
    refs = source("folder", shapes, up="z").refs()
    before = source("folder", shapes, up="z").digest(refs[0])
    assert source("folder", shapes, up="y").digest(refs[0]) != before
    trimesh.creation.icosphere(2).export(shapes / "balls" / "b.off")
    assert source("folder", shapes, up="z").digest(refs[0]) != before


def test_folder_errors_name_field_and_file(shapes: Path, caplog: pytest.LogCaptureFixture) -> None:
    (shapes / "notes").mkdir()
    (shapes / "notes" / "todo.txt").write_text("-")
    with caplog.at_level(logging.WARNING):
        refs = source("folder", shapes).refs()
    assert len(refs) == 4
    assert [r.levelname for r in caplog.records if r.getMessage().startswith(f"{shapes}/notes: ")] == ["WARNING"]
    (shapes / ".22 rifle").mkdir()
    with caplog.at_level(logging.WARNING):
        assert len(source("folder", shapes).refs()) == 4
    assert "1 hidden files and folders are left out, such as .22 rifle; rename" in caplog.text
    with pytest.raises(DataError, match=r"OFF .*data\.source\.up"):
        source("folder", shapes).load(refs[0])
    (shapes / "cubes" / "small.stl").write_bytes(b"")
    with pytest.raises(SpecError, match=r'"cubes/small": .*small\.(obj|stl) and .*small\.(obj|stl)'):
        source("folder", shapes).refs()
    with pytest.raises(SpecError, match=r"data\.source\.url: .*nowhere"):
        source("folder", shapes / "nowhere").refs()
    with pytest.raises(SpecError, match=r"data\.split"):
        source("folder", shapes, {"split": "manifest"})
    with pytest.raises(SpecError, match=r'"cube".*"cubes"'):
        source("folder", shapes, categories=["cube"]).refs()


@pytest.mark.parametrize("kind", ["folder", "manifest"])
def test_an_axis_that_all_objects_lack_is_a_forgotten_field(shapes: Path, kind: str) -> None:
    """One that only some lack is theirs."""

    def url(*names: str) -> Path:
        if kind == "folder":
            return shapes
        return write(shapes, *(line(key=f"k{i}", mesh=name) for i, name in enumerate(names)))

    assert len(source(kind, url("balls/b.off", "cubes/small.obj")).refs()) > 1
    (shapes / "cubes" / "small.obj").unlink()
    (shapes / "cubes" / "new" / "large 2.glb").rename(shapes / "balls" / "c.stl")
    with pytest.raises(SpecError, match=r"data\.source\.up: .*OFF"):
        source(kind, url("balls/b.off", "balls/c.stl")).refs()
    assert source(kind, url("balls/b.off", "balls/c.stl"), up="z").refs()


@pytest.mark.parametrize("layout", ["category first", "split first"])
def test_folders_of_splits_say_the_split(tmp_path: Path, caplog: pytest.LogCaptureFixture, layout: str) -> None:
    """A category may be called train."""
    expected = {}
    for category in ("night_stand", "train"):
        for split in ("train", "test"):
            below = (category, split) if layout == "category first" else (split, category)
            folder = tmp_path.joinpath(*below)
            folder.mkdir(parents=True)
            trimesh.creation.box().export(folder / "one.obj")
            expected["/".join((*below, "one"))] = (category, split)
    refs = source("folder", tmp_path, {"split": "folders"}).refs()
    assert {r.key: (r.category, r.split) for r in refs} == expected
    assert not caplog.records
    assert source("folder", tmp_path, {"split": "folders"}, categories=["train"]).refs() == [
        r for r in refs if r.category == "train"
    ]
    by_hash = source("folder", tmp_path, {"testFraction": 0}).refs()  # the folders are not used, and that is said
    assert {r.split for r in by_hash} == {"train"}
    assert "data.split is hash; it can be folders" in caplog.text
    (tmp_path / "night_stand" / "val").mkdir(parents=True)
    trimesh.creation.box().export(tmp_path / "night_stand" / "val" / "two.obj")
    with pytest.raises(SpecError, match=r"data\.split: folders, but .*night_stand/val/two\.obj is in neither"):
        source("folder", tmp_path, {"split": "folders"}).refs()


def test_only_folders_have_folders_of_splits(tmp_path: Path) -> None:
    write(tmp_path, line())
    with pytest.raises(SpecError, match=r"data\.split: "):
        source("manifest", tmp_path / "m.jsonl", {"split": "folders"})
    with pytest.raises(SpecError, match=r"data\.split: "):
        source("points", tmp_path / "c.npz", {"split": "folders"}, up="y")


# manifest


def line(**fields: Any) -> dict[str, Any]:
    return {"key": "a", "category": "cube", "mesh": "m/a.obj", "source": "made here", "licence": "CC0", **fields}


def write(folder: Path, *lines: dict[str, Any] | str) -> Path:
    path = folder / "list.jsonl"
    path.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines) + "\n")
    return path


def test_manifest_lists_objects_relative_to_itself(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    trimesh.creation.box((1, 2, 3)).export(tmp_path / "m" / "a.obj")
    trimesh.creation.box((1, 2, 3)).export(tmp_path / "m" / "50% b.stl")
    path = write(
        tmp_path,
        line(split="test", text="a cube"),
        "",
        line(key="x/b", mesh="m/50% b.stl", up="z", split="train"),
        line(key="c", category="other", mesh=f"file://{tmp_path}/m/a.obj", split="train", attributes={"size": "big"}),
    )
    listed = source("manifest", path, {"split": "manifest"})
    refs = listed.refs()
    assert [(r.key, r.split, r.category, r.text, r.licence) for r in refs] == [
        ("a", "test", "cube", "a cube", "CC0"),
        ("c", "train", "other", None, "CC0"),
        ("x/b", "train", "cube", None, "CC0"),
    ]
    sizes = [np.ptp(m.vertices, axis=0).round(5).tolist() for r in refs if (m := listed.load(r).mesh)]
    assert sizes == [[1, 2, 3], [1, 2, 3], [1, 3, 2]]
    assert refs[1].attributes == {"size": "big"}
    hashed = source("manifest", path, {"split": "hash", "testFraction": 0.5}).refs()
    assert [r.split for r in hashed] == [split_of(r.key, 0.5) for r in hashed]
    # A ref of another process is served by a source that has not listed yet.
    assert source("manifest", path).digest(refs[2]) == listed.digest(refs[2])


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ([line(), {"key": "b"}], r"list\.jsonl:2: category: "),
        ([line(licnece="x")], r"list\.jsonl:1: licnece: .*\"licence\""),
        ([line(up="w")], r"list\.jsonl:1: up: .*'x', 'y' or 'z'.*not 'w'"),
        ([line(key="a.b")], r"list\.jsonl:1: key 'a\.b'"),
        ([line(category=7)], r"list\.jsonl:1: category: .*string"),
        (["{not json"], r"list\.jsonl:1: .*JSON"),
        (["[1]"], r"list\.jsonl:1: the line"),
        ([line(), line()], 'key "a"'),
        ([line(split="test"), line(key="b")], r"list\.jsonl:2: split: "),
        ([""], r"list\.jsonl: "),
    ],
    ids=[
        "missing-field",
        "unknown-field",
        "wrong-value",
        "key",
        "wrong-type",
        "not-json",
        "not-an-object",
        "duplicate-key",
        "missing-split",
        "empty",
    ],
)
def test_manifest_errors_name_line_and_field(tmp_path: Path, lines: list[dict[str, Any] | str], named: str) -> None:
    split = "manifest" if "split" in named else "hash"
    with pytest.raises(SpecError, match=named) as caught:
        source("manifest", write(tmp_path, *lines), {"split": split}).refs()
    assert "\n" not in str(caught.value)


def test_manifest_and_meshes_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"gone\.jsonl: "):
        source("manifest", tmp_path / "gone.jsonl").refs()
    listed = source("manifest", write(tmp_path, line()))
    for ask in (listed.load, listed.digest):
        with pytest.raises(DataError, match=r"m/a\.obj: "):
            ask(listed.refs()[0])


# points


def clouds(n: int = 6, width: int = 3) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(size=(n, 32, width)).astype(np.float32)


def test_another_file_is_not_taken_for_the_one_that_was_listed(tmp_path: Path) -> None:
    def names(mesh: str) -> MeshLoader:
        found = source("manifest", write(tmp_path, line(mesh=mesh)))
        assert isinstance(found, MeshLoader)
        return found

    (given,) = source("manifest", write(tmp_path, line(mesh="https://h/get?id=1&sig=5ecre7"))).refs()
    listed = replace(given, url=public_address(str(given.url)))
    assert names("https://h/get?id=1&Policy=anew").mesh_file(listed).url == "https://h/get?id=1&Policy=anew"
    with pytest.raises(DataError, match=r"names https://h/get\?id=2&sig=\*\*\*, and.*rerun list"):
        names("https://h/get?id=2&sig=5ecre7").mesh_file(listed)


def test_points_from_npz(tmp_path: Path) -> None:
    points = clouds(width=6)
    np.savez(
        tmp_path / "c.npz", points=points, labels=[0, 1, 1, 0, 1, 1], classes=["bed", "sofa"], names=list("abcdef")
    )
    npz = source("points", tmp_path / "c.npz", up="z")
    refs = npz.refs()
    assert [(r.key, r.category) for r in refs[:3]] == [("a", "bed"), ("b", "sofa"), ("c", "sofa")]
    assert [r.split for r in refs] == [split_of(r.key, 0.2) for r in refs]
    loaded = npz.load(refs[2])
    assert loaded.mesh is None
    assert loaded.points is not None
    x, y, z = points[2, :, :3].T
    np.testing.assert_array_equal(loaded.points[:, :3], np.stack([x, z, -y], axis=1))  # z up -> y up
    np.testing.assert_array_equal(loaded.points[:, 3:], points[2, :, 3:])
    assert len({npz.digest(r) for r in refs}) == 6
    assert [r.key for r in source("points", tmp_path / "c.npz", up="z", categories=["bed"]).refs()] == ["a", "d"]


def test_points_from_h5_with_a_test_file(tmp_path: Path) -> None:
    for name, count in (("train", 4), ("test", 2)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["data"] = clouds(count)
            file["label"] = np.arange(count, dtype=np.uint8).reshape(-1, 1) % 2
    (tmp_path / "shape_names.txt").write_text("bag\nbin\n")
    refs = source("points", tmp_path / "train.h5", up="y", testUrl=str(tmp_path / "test.h5")).refs()
    assert [(r.key, r.split) for r in refs] == [
        ("bag-test-00000", "test"), ("bag-train-00000", "train"), ("bag-train-00002", "train"),
        ("bin-test-00001", "test"), ("bin-train-00001", "train"), ("bin-train-00003", "train"),
    ]  # fmt: skip
    for name in ("b\u00e4g", "bag"):
        for raw in (name.encode("latin-1"), name.encode("utf-8-sig")):
            (tmp_path / "shape_names.txt").write_bytes(raw + b"\nbin\n")
            assert {r.category for r in source("points", tmp_path / "train.h5", up="y").refs()} == {name, "bin"}
    (tmp_path / "shape_names.txt").unlink()
    with pytest.raises(DataError, match=r"train\.h5: .*shape_names\.txt"):
        source("points", tmp_path / "train.h5", up="y").refs()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"points": clouds(5)}, r"labels: 6\b.*\b5\b"),
        ({"points": clouds(width=4)}, r"points: .*\(N, P, 3\)"),
        ({"labels": [0, 1, 1, 0, 1, 2]}, r"labels: .*\b0 to 2\b.*\b2\b"),
        ({"names": ["a"]}, r"names: 1\b.*\b6\b"),
        ({"labels": None}, "'labels'"),
    ],
    ids=["number-of-labels", "width", "label-range", "number-of-names", "missing-field"],
)
def test_wrong_clouds_are_reported(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    fields = {"points": clouds(), "labels": [0, 1, 1, 0, 1, 1], "classes": ["bed", "sofa"], **change}
    np.savez(tmp_path / "c.npz", **{k: v for k, v in fields.items() if v is not None})
    with pytest.raises(DataError, match=named):
        source("points", tmp_path / "c.npz", up="y").refs()


@pytest.mark.parametrize("kind", ["<f4", "<f8", ">f8", "<f2", "u1", "<i8"])
def test_labels_are_numbers_as_any_program_writes_them(tmp_path: Path, kind: str) -> None:
    labels = np.array([[0], [1], [1], [0], [1], [1]], kind)
    np.savez(tmp_path / "c.npz", points=clouds(), labels=labels, classes=["bed", "sofa"])
    refs = source("points", tmp_path / "c.npz", up="y").refs()
    assert [r.key for r in refs if r.category == "bed"] == ["bed-00000", "bed-00003"]
    assert {r.category for r in refs} == {"bed", "sofa"}


@pytest.mark.parametrize(
    ("labels", "found"),
    [([0, 1, 0.5, 0, 1, 1], "not whole"), ([0, 1, np.nan, 0, 1, 1], "not whole"),
     ([0, 1, np.inf, 0, 1, 1], "not whole"), ([True] * 6, "bool"), ([1j] * 6, "complex")],
)  # fmt: skip
def test_labels_that_are_neither_numbers_nor_names(tmp_path: Path, labels: list[Any], found: str) -> None:
    np.savez(tmp_path / "c.npz", points=clouds(), labels=labels, classes=["bed", "sofa"])
    with pytest.raises(DataError, match=rf"c\.npz: labels: .*{found}"):
        source("points", tmp_path / "c.npz", up="y").refs()


@pytest.mark.parametrize("suffix", [".npz", ".H5", ".hdf5", ".dat", ""])
def test_a_file_of_clouds_is_known_by_its_content(tmp_path: Path, suffix: str) -> None:
    np.savez(tmp_path / "c", points=clouds(), labels=["bed"] * 6)
    whole = (tmp_path / "c.npz").read_bytes()
    with h5py.File(tmp_path / "c.bin", "w") as file:
        file["data"], file["label"] = clouds(), np.zeros(6, np.uint8)
    (tmp_path / "classes.txt").write_text("bed\n")
    for content in (whole, (tmp_path / "c.bin").read_bytes()):
        (tmp_path / f"x{suffix}").write_bytes(content)
        assert {r.category for r in source("points", tmp_path / f"x{suffix}", up="y").refs()} == {"bed"}


def test_clouds_keep_their_shape_at_map_coordinates(tmp_path: Path) -> None:
    """They are stored as their copies at the origin are, to the last bit of a half."""
    offset = np.array([500_000.0, 5_400_000.0, 250.0])
    at_origin = np.round(clouds().astype(np.float64) * 4096) / 4096  # exact in float64 with the offset as well
    for name, points in (("origin", at_origin), ("map", at_origin + offset)):
        np.savez(tmp_path / f"{name}.npz", points=points, labels=["bed"] * 6)
    stored = []
    for name in ("origin", "map"):
        npz = source("points", tmp_path / f"{name}.npz", up="z")
        stored.append([stored_cloud(npz.load(ref), ref.key, 32, 32, "the test") for ref in npz.refs()])
    np.testing.assert_array_equal(stored[0], stored[1])


def test_damaged_and_undeclared_clouds(tmp_path: Path) -> None:
    points = clouds()
    points[3, 5, 1] = np.nan
    np.savez(tmp_path / "c.npz", points=points, labels=["bed"] * 6)
    npz = source("points", tmp_path / "c.npz", up="y")
    with pytest.raises(DataError, match="1 of 32 points"):
        npz.load(npz.refs()[3])
    whole = (tmp_path / "c.npz").read_bytes()
    (tmp_path / "c.npz").write_bytes(whole[:500])
    (tmp_path / "c.h5").write_bytes(b"\x89HDF\r\n\x1a\nthe rest is missing")
    for name in ("c.npz", "c.h5"):
        with pytest.raises(DataError, match=rf"{name}: "):
            source("points", tmp_path / name, up="y").refs()
    with pytest.raises(SpecError, match=r"gone\.npz: "):
        source("points", tmp_path / "gone.npz", up="y").refs()
    (tmp_path / "c.bak").write_bytes(b"1 2 3\n")
    with pytest.raises(SpecError, match=r"c\.bak: .*\.npz"):
        source("points", tmp_path / "c.bak", up="y").refs()
    with pytest.raises(SpecError, match=r"data\.source\.up"):
        source("points", tmp_path / "c.npz")
