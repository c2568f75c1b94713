"""Small copies of the published test sets, in the official form: file names, keys, types and nesting."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import trimesh
from PIL import Image

SHAPES = ("airplane", "night_stand", "xbox")  # as modelnet40's shape_names.txt writes them


def clouds(count: int, points: int = 80, columns: int = 3, seed: int = 0) -> np.ndarray:
    """(count, points, columns) float32, neither centred nor of unit size."""
    rng = np.random.default_rng(seed)
    found: np.ndarray = (rng.uniform(-1, 1, (count, points, columns)) * rng.uniform(0.5, 2, 3)[0] + 0.3).astype("f4")
    return found


def h5(path: Path, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def scanobjectnn(root: Path, labels: list[int], **changes: np.ndarray) -> dict[str, np.ndarray]:
    """h5_files/ with the three variants' test files; returns each one's points by its path."""
    paths = ("main_split/test_objectdataset.h5", "main_split_nobg/test_objectdataset.h5",
             "main_split/test_objectdataset_augmentedrot_scale75.h5")  # fmt: skip
    found = {}
    for seed, path in enumerate(paths):
        data = clouds(len(labels), seed=seed)
        arrays = {"data": data, "label": np.array(labels, "i4"), "mask": np.zeros(data.shape[:2], "i4"), **changes}
        h5(root / "h5_files" / path, **arrays)
        found[path] = arrays["data"]
    return found


def modelnet40_hdf5(root: Path, labels: tuple[list[int], ...] = ([0, 2], [1])) -> list[np.ndarray]:
    """modelnet40_ply_hdf5_2048/; returns the points of each file."""
    folder = root / "modelnet40_ply_hdf5_2048"
    found = []
    for number, of_file in enumerate(labels):
        found.append(clouds(len(of_file), seed=number))
        h5(
            folder / f"ply_data_test{number}.h5",
            data=found[-1], normal=found[-1], label=np.array(of_file, "u1")[:, None],
            faceId=np.zeros(found[-1].shape[:2], "i4"),
        )  # fmt: skip
    lines = [f"data/modelnet40_ply_hdf5_2048/ply_data_test{number}.h5\n" for number in range(len(labels))]
    (folder / "test_files.txt").write_text("".join(lines))
    (folder / "shape_names.txt").write_text("".join(f"{name}\n" for name in SHAPES))
    return found


def modelnet40_resampled(root: Path, dat: bool, labels: tuple[int, ...] = (0, 1, 2)) -> np.ndarray:
    """modelnet40_normal_resampled/ with ULIP's pickle, or with a text file a model; returns (3, P, 6)."""
    folder = root / "modelnet40_normal_resampled"
    folder.mkdir(parents=True)
    (folder / "modelnet40_shape_names.txt").write_text("".join(f"{name}\n" for name in SHAPES))
    models = [f"{name}_{number:04d}" for number, name in enumerate(SHAPES, start=627)]
    (folder / "modelnet40_test.txt").write_text("".join(f"{model}\n" for model in models))
    points = clouds(len(models), columns=6)
    if dat:
        content = [list(points), [np.array([label], "i4") for label in labels]]
        (folder / "modelnet40_test_8192pts_fps.dat").write_bytes(pickle.dumps(content, protocol=3))
    else:
        for model, cloud in zip(models, points, strict=True):
            path = folder / model.rpartition("_")[0] / f"{model}.txt"
            path.parent.mkdir()
            path.write_text("".join(",".join(f"{value:.6f}" for value in row) + "\n" for row in cloud))
    return points


def lvis(root: Path, categories: tuple[str, ...] = ("Band_Aid", "bow_(decorative_ribbons)", "Band_Aid")) -> Any:
    """meta_data/split/lvis.json and one npy a cloud, as OpenShape's archives unpack; returns {uid: (P, 3)}."""
    prefix, entries, found = "objaverse-processed/merged_for_training_final/Objaverse", [], {}
    for number, category in enumerate(categories):
        uid, group = f"{15 - number:x}e{number:030x}", f"000-{number:03d}"
        xyz = clouds(1, seed=number)[0].astype(np.float16 if number else np.float32)
        content = {
            "dataset": "Objaverse", "group": group, "id": uid, "xyz": xyz, "rgb": np.full_like(xyz, 0.4),
            "text": ["a thing"], "text_feat": [{"original": np.zeros((1, 8), "f4")}], "blip_caption": "a thing",
        }  # fmt: skip
        path = root / prefix / group / f"{uid}.npy"
        path.parent.mkdir(parents=True)
        np.save(path, content, allow_pickle=True)  # type: ignore[arg-type]
        where = f"/mnt/data/{prefix}/{group}/{uid}.npy"
        entries.append({"uid": uid, "category": category, "group": group, "data_path": where})
        found[uid] = xyz
    index = root / "meta_data" / "split" / "lvis.json"
    index.parent.mkdir(parents=True)
    index.write_text(json.dumps(entries))
    return found


def pix3d(root: Path, pictures: int = 7) -> list[dict[str, Any]]:
    """pix3d.json, img/, mask/ and three OBJ models in model/; returns the entries, with fields that are not read."""
    shapes = {
        "model/bed/IKEA_MALM_2/malm_bed_obj0_object.obj": trimesh.creation.box((2, 0.6, 1.4)),
        "model/chair/SS_001/model.obj": trimesh.creation.cone(0.5, 1.2),
        "model/tool/SS_002/model.obj": trimesh.creation.cylinder(0.2, 1.5),
    }
    for path, mesh in shapes.items():
        (root / path).parent.mkdir(parents=True)
        mesh.export(root / path)
    rng, entries = np.random.default_rng(0), []
    for number in range(pictures):
        model = list(shapes)[number % len(shapes)]
        category = model.split("/")[1]
        width, height = 48 + number, 40
        suffix = ".png" if number % 2 else ".jpg"
        img, mask = f"img/{category}/{number:04d}{suffix}", f"mask/{category}/{number:04d}.png"
        silhouette = np.zeros((height, width), np.uint8)
        silhouette[10:30, 5:25] = 255
        for path, pixels in ((img, rng.integers(0, 255, (height, width, 3), np.uint8)), (mask, silhouette)):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / path)
        entries.append(
            {
                "img": img, "category": category, "img_size": [width, height], "2d_keypoints": [[[-1.0, -1.0]]],
                "mask": mask, "img_source": "ikea", "model": model, "model_raw": "", "model_source": "ikea",
                "3d_keypoints": "", "voxel": "", "rot_mat": [[1.0, 0.0, 0.0]] * 3, "trans_mat": [0.0, 0.0, 1.0],
                "focal_length": 35.0, "cam_position": [0.0, 0.0, 1.0], "inplane_rotation": 0.0, "truncated": False,
                "occluded": False, "slightly_occluded": False, "bbox": [5, 10, 25, 30],
            }
        )  # fmt: skip
    (root / "pix3d.json").write_text(json.dumps(entries))
    return entries
