"""The published test sets from small copies in their official form, and errors for missing or invalid files."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from captionless.errors import DataError, SpecError
from captionless.precompute.testsets import NAMES, open_testset, pickles
from captionless.precompute.testsets.scanobjectnn import CLASSES
from tests import testsets

# What the owners' releases hold, and so what `official` must say.
OFFICIAL = {
    "modelnet40": 2468, "scanobjectnn-obj-bg": 581, "scanobjectnn-obj-only": 581, "scanobjectnn-pb-t50-rs": 2882,
    "objaverse-lvis": 46832, "pix3d": 10069, "pix3d-masked": 10069,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_set_is_reported_with_where_to_get_it(name: str, tmp_path: Path) -> None:
    for url in (None, str(tmp_path / "no")):
        with pytest.raises(SpecError) as caught:
            open_testset(name, url)
        first, *rest = str(caught.value).splitlines()
        assert first.startswith(f"{name}: ")
        assert url is None or url in first
        assert "http" in rest[0]
        assert f"--data {name}=FOLDER" in rest[1]
        assert len(rest) > 2


# ScanObjectNN


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("scanobjectnn-obj-bg", "main_split/test_objectdataset.h5"),
        ("scanobjectnn-obj-only", "main_split_nobg/test_objectdataset.h5"),
        ("scanobjectnn-pb-t50-rs", "main_split/test_objectdataset_augmentedrot_scale75.h5"),
    ],
)
@pytest.mark.parametrize("below", ["", "h5_files"], ids=["above", "inside"])
def test_scanobjectnn_reads_each_variant_by_its_file(name: str, path: str, below: str, tmp_path: Path) -> None:
    data = testsets.scanobjectnn(tmp_path, [14, 0, 9, 4])
    found = open_testset(name, str(tmp_path / below))
    refs = found.refs()
    assert [ref.category for ref in refs] == ["toilet", "bag", "table", "chair"]
    assert {ref.split for ref in refs} == {"test"}
    assert len({ref.key for ref in refs}) == 4
    for ref, cloud in zip(refs, data[path], strict=True):
        np.testing.assert_array_equal(found.load(ref).points, cloud)  # y up already
    assert [file.removeprefix(str(tmp_path)) for file in found.files] == [f"/h5_files/{path}"]
    assert found.about.count == OFFICIAL[name]
    assert found.photos is None


def test_scanobjectnn_tells_wrong_labels_and_broken_clouds(tmp_path: Path) -> None:
    assert len(CLASSES) == 15
    testsets.scanobjectnn(tmp_path / "labels", [0, 15])
    with pytest.raises(DataError, match=r"label: .*\b0 to 15\b.*\b15\b"):
        open_testset("scanobjectnn-obj-bg", str(tmp_path / "labels"))
    data = testsets.clouds(2)
    data[1, 5, 1] = np.nan
    testsets.scanobjectnn(tmp_path / "nan", [0, 1], data=data)
    found = open_testset("scanobjectnn-obj-bg", str(tmp_path / "nan"))
    with pytest.raises(DataError, match="1 of 80 points"):
        found.load(found.refs()[1])
    (tmp_path / "nan/h5_files/main_split/test_objectdataset.h5").write_bytes(b"none")
    with pytest.raises(DataError, match=r"test_objectdataset\.h5: "):
        open_testset("scanobjectnn-obj-bg", str(tmp_path / "nan"))


# ModelNet40


@pytest.mark.parametrize("below", ["", "modelnet40_ply_hdf5_2048"], ids=["above", "inside"])
def test_modelnet40_reads_all_files_of_pointnets_list(below: str, tmp_path: Path) -> None:
    first, second = testsets.modelnet40_hdf5(tmp_path)
    found = open_testset("modelnet40", str(tmp_path / below))
    assert [(ref.key, ref.category) for ref in found.refs()] == [
        ("ply_data_test0-00000", "airplane"), ("ply_data_test0-00001", "xbox"),
        ("ply_data_test1-00000", "night_stand"),
    ]  # fmt: skip
    for ref, cloud in zip(found.refs(), [*first, *second], strict=True):
        np.testing.assert_array_equal(found.load(ref).points, cloud)
    assert [os.path.basename(file) for file in found.files] == [
        "test_files.txt", "shape_names.txt", "ply_data_test0.h5", "ply_data_test1.h5",
    ]  # fmt: skip
    assert found.about.count == OFFICIAL["modelnet40"]


@pytest.mark.parametrize("dat", [True, False], ids=["pickle", "text-files"])
def test_modelnet40_reads_the_resampled_edition_and_ulips_pickle_of_it(dat: bool, tmp_path: Path) -> None:
    points = testsets.modelnet40_resampled(tmp_path, dat)
    found = open_testset("modelnet40", str(tmp_path / "modelnet40_normal_resampled"))
    assert [(ref.key, ref.category) for ref in found.refs()] == [
        ("airplane_0627", "airplane"), ("night_stand_0628", "night_stand"), ("xbox_0629", "xbox"),
    ]  # fmt: skip
    for ref, cloud in zip(found.refs(), points, strict=True):
        read = found.load(ref).points
        assert read is not None
        np.testing.assert_allclose(read, cloud[:, :3], atol=0 if dat else 1e-6)  # normals are left out
    assert any(file.endswith(".dat") for file in found.files) == dat


def test_modelnet40_tells_what_is_wrong_with_its_files(tmp_path: Path) -> None:
    testsets.modelnet40_hdf5(tmp_path / "h5")
    (tmp_path / "h5/modelnet40_ply_hdf5_2048/ply_data_test1.h5").unlink()
    with pytest.raises(SpecError, match=r"ply_data_test1\.h5"):
        open_testset("modelnet40", str(tmp_path / "h5"))
    testsets.modelnet40_resampled(tmp_path / "labels", dat=True, labels=(0, 2, 1))
    with pytest.raises(DataError, match=r"\.dat: night_stand_0628 .*\b2\b.*\b1\b"):
        open_testset("modelnet40", str(tmp_path / "labels"))
    testsets.modelnet40_resampled(tmp_path / "short", dat=True, labels=(0, 1))
    with pytest.raises(DataError, match=r"\.dat: 3\b.*\b2\b.*\b3\b"):
        open_testset("modelnet40", str(tmp_path / "short"))
    testsets.modelnet40_resampled(tmp_path / "text", dat=False)
    folder = tmp_path / "text/modelnet40_normal_resampled"
    (folder / "xbox/xbox_0629.txt").write_text("1,2,3\nx,y,z\n")
    (folder / "night_stand/night_stand_0628.txt").unlink()
    found = open_testset("modelnet40", str(folder))
    for ref in found.refs()[1:]:
        with pytest.raises(DataError, match=rf"{ref.key}\.txt: "):
            found.load(ref)
    (folder / "modelnet40_test.txt").write_text("airplane_0627\ndragon_0001\n")
    with pytest.raises(DataError, match=r'modelnet40_test\.txt: .*"dragon_0001"'):
        open_testset("modelnet40", str(folder))


# Objaverse-LVIS


def test_lvis_reads_openshapes_release(tmp_path: Path) -> None:
    wanted = testsets.lvis(tmp_path)
    found = open_testset("objaverse-lvis", str(tmp_path))
    refs = found.refs()
    assert [ref.key for ref in refs] == sorted(wanted)
    assert sorted(ref.category for ref in refs) == ["Band_Aid", "Band_Aid", "bow_(decorative_ribbons)"]
    for ref in refs:
        cloud = found.load(ref).points
        assert cloud is not None
        np.testing.assert_array_equal(cloud, wanted[ref.key])
    assert found.about.count == OFFICIAL["objaverse-lvis"]
    (tmp_path / "objaverse-processed/merged_for_training_final/Objaverse").rename(tmp_path / "Objaverse")
    moved = open_testset("objaverse-lvis", str(tmp_path))
    moved.load(moved.refs()[0])


def test_lvis_names_clouds_that_are_missing_or_broken(tmp_path: Path) -> None:
    testsets.lvis(tmp_path)
    found = open_testset("objaverse-lvis", str(tmp_path))
    gone, cut, other = (Path(str(ref.url)) for ref in found.refs())
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-40])
    np.save(other, {"points": np.zeros((4, 3))}, allow_pickle=True)  # type: ignore[arg-type]
    for ref, named in zip(found.refs(), ("", ".*pickle", ".*'xyz'"), strict=True):
        with pytest.raises(DataError, match=rf"{ref.key}\.npy: {named}"):
            found.load(ref)


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"uid": "a", "category": "b"}, "entry 0: .*'data_path'"),
        (
            {"uid": "a", "category": "b", "data_path": "/etc/passwd"},
            r"entry 0: data_path .*/Objaverse/000-XXX/UID\.npy",
        ),
        ({"uid": "a", "category": "b", "data_path": "/x/Objaverse/../../y.npy"}, "entry 0: data_path .*/Objaverse/000"),
        ("a", "entry 0: "),
    ],
    ids=["missing-field", "another-path", "path-outside", "not-an-object"],
)
def test_lvis_reports_a_wrong_list(entry: Any, named: str, tmp_path: Path) -> None:
    testsets.lvis(tmp_path)
    (tmp_path / "meta_data/split/lvis.json").write_text(json.dumps([entry]))
    with pytest.raises(DataError, match=named):
        open_testset("objaverse-lvis", str(tmp_path))


class Strange:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch was-run",)


def test_a_pickle_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"(posix|os)\.system"):
        pickles.loads(pickle.dumps([np.zeros(3), Strange()]))
    np.save("strange.npy", {"xyz": Strange()}, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"\.system"):
        pickles.loads_npy(Path("strange.npy").read_bytes())
    assert not Path("was-run").exists()
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        value = {"xyz": np.arange(6, dtype=">f4").reshape(2, 3), "n": [np.float32(2), "ä", None]}
        read = pickles.loads(pickle.dumps(value, protocol))
        np.testing.assert_array_equal(read["xyz"], value["xyz"])
        assert read["n"] == value["n"]
    old = pickle.dumps(np.arange(3), 2).replace(b"numpy._core", b"numpy.core")
    np.testing.assert_array_equal(pickles.loads(old), np.arange(3))
    np.save("plain.npy", np.arange(3))
    np.testing.assert_array_equal(pickles.loads_npy(Path("plain.npy").read_bytes()), np.arange(3))
    with pytest.raises(DataError, match=r"\.npy"):
        pickles.loads_npy(b"text")


# Pix3D


def test_pix3d_pairs_each_photograph_with_its_shape(tmp_path: Path) -> None:
    entries = testsets.pix3d(tmp_path)
    found = open_testset("pix3d", str(tmp_path))
    refs = found.refs()
    assert [(ref.key, ref.category) for ref in refs] == [
        ("model/bed/IKEA_MALM_2/malm_bed_obj0_object", "bed"), ("model/chair/SS_001/model", "chair"),
        ("model/tool/SS_002/model", "tool"),
    ]  # fmt: skip
    mesh = found.load(refs[0]).mesh
    assert mesh is not None
    np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0), (2, 0.6, 1.4), atol=1e-6)  # y up already
    assert found.photos is not None
    assert [(photo.key, f"{photo.shows}.obj") for photo in found.photos.listed] == [
        (entry["img"], entry["model"]) for entry in entries
    ]
    for photo, entry in zip(found.photos.listed, entries, strict=True):
        np.testing.assert_array_equal(photo.load(), np.asarray(Image.open(tmp_path / entry["img"]).convert("RGB")))
    assert found.photos.described == {"background": "kept", "crop": "none"}
    assert (found.about.count, found.about.unit) == (OFFICIAL["pix3d"], "picture")


def test_pix3d_masked_is_white_outside_the_silhouette(tmp_path: Path) -> None:
    testsets.pix3d(tmp_path)
    plain, masked = (open_testset(name, str(tmp_path)) for name in ("pix3d", "pix3d-masked"))
    assert plain.photos is not None
    assert masked.photos is not None
    assert masked.photos.described["background"] == "white"
    for before, after in zip(plain.photos.listed, masked.photos.listed, strict=True):
        wanted = np.full_like(before.load(), 255)
        wanted[10:30, 5:25] = before.load()[10:30, 5:25]
        np.testing.assert_array_equal(after.load(), wanted)


@pytest.mark.parametrize(
    ("bbox", "side", "left", "top"),
    [
        ([5, 10, 25, 30], 20, 5, 10),  # a square already
        ([5, 10, 25, 20], 20, 5, 5),  # grown above and below
        ([0, 0, 10, 40], 40, -15, 0),  # beyond the picture: white
        ([-3, 35, 10, 99], 10, 0, 32),  # cut to the picture first
    ],
    ids=["square", "wide", "beyond-the-edge", "clipped"],
)
def test_pix3d_cropped_is_the_square_about_the_box(
    bbox: list[int], side: int, left: int, top: int, tmp_path: Path
) -> None:
    entries = testsets.pix3d(tmp_path, pictures=1)
    (tmp_path / "pix3d.json").write_text(json.dumps([{**entries[0], "bbox": bbox}]))
    found = open_testset("pix3d", str(tmp_path), crop=True)
    assert found.photos is not None
    picture = np.asarray(Image.open(tmp_path / entries[0]["img"]).convert("RGB"))
    padded = np.full((140, 148, 3), 255, np.uint8)
    padded[50:90, 50:98] = picture
    wanted = padded[50 + top : 50 + top + side, 50 + left : 50 + left + side]
    np.testing.assert_array_equal(found.photos.listed[0].load(), wanted)


def test_pix3d_names_pictures_that_are_missing_or_broken(tmp_path: Path) -> None:
    entries = testsets.pix3d(tmp_path)
    (tmp_path / entries[0]["img"]).unlink()
    (tmp_path / entries[1]["img"]).write_bytes(b"none")
    Image.new("L", (9, 9)).save(tmp_path / entries[2]["mask"])
    found = open_testset("pix3d-masked", str(tmp_path))
    assert found.photos is not None
    named = (entries[0]["img"], entries[1]["img"], rf"{entries[2]['mask']}: .*9 x 9.*50 x 40")
    for photo, name in zip(found.photos.listed, named, strict=False):
        with pytest.raises(DataError, match=name):
            photo.load()
    (tmp_path / entries[1]["model"]).write_text("v 0 0 0\n")
    with pytest.raises(DataError, match="no faces"):
        found.load(found.refs()[1])


@pytest.mark.parametrize(
    ("change", "named"),
    [({"bbox": None}, "entry 0: bbox: "), ({"img": ""}, "entry 0: img: "), ({"img_size": [1]}, r"entry 0: img_size")],
    ids=["bbox", "img", "img_size"],
)
def test_pix3d_reports_a_wrong_list(change: dict[str, Any], named: str, tmp_path: Path) -> None:
    entries = testsets.pix3d(tmp_path)
    (tmp_path / "pix3d.json").write_text(json.dumps([{**entries[0], **change}]))
    with pytest.raises(DataError, match=named):
        open_testset("pix3d", str(tmp_path))
