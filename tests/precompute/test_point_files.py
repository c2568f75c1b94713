"""Clouds in files of their own."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.precompute.point_files import points

FIELD = Path(__file__).parent.parent / "data" / "field"
XYZ = np.array([[500_000.125, 5_400_000.5, 250.0625], [0, -1, 1e-7], [1, 2, 3]])


def ply(form: str, kind: str, more: str = "", rows: np.ndarray[Any, np.dtype[np.float64]] = XYZ) -> bytes:
    head = f"ply\nformat {form} 1.0\nelement vertex {len(rows)}\n"
    head += "".join(f"property {kind} {axis}\n" for axis in "xyz") + f"{more}end_header\n"
    if form == "ascii":
        return (head + "".join(" ".join(map(repr, row)) + "\n" for row in rows.tolist())).encode()
    order = "<" if form == "binary_little_endian" else ">"
    return head.encode() + rows.astype(order + {"float": "f4", "double": "f8"}[kind]).tobytes()


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_points_of_ply_files_keep_their_precision(form: str) -> None:
    for more in ("", "element face 0\nproperty list uchar int vertex_indices\n"):
        found = points("ply", ply(form, "double", more))
        assert found is not None
        np.testing.assert_array_equal(found, XYZ)
    single = points("ply", ply(form, "float", rows=XYZ[1:]))
    assert single is not None
    np.testing.assert_array_equal(single.astype(np.float32), XYZ[1:].astype(np.float32))


def test_a_ply_file_with_a_surface_is_no_cloud() -> None:
    for case in ("ply-tristrips", "ply-utm-sphere", "ply-binary-mixed-polygons"):
        (mesh,) = (FIELD / case / "in" / "box").iterdir()
        assert points("ply", mesh.read_bytes()) is None
    assert points("obj", b"v 0 0 0\n") is None
    cloud = points("ply", (FIELD / "search-cloud-ply" / "cloud_rgb.ply").read_bytes())
    assert cloud is not None
    assert cloud.shape == (500, 3)


def test_points_of_arrays() -> None:
    sink = io.BytesIO()
    np.save(sink, np.concatenate([XYZ, XYZ], axis=1))
    found = points("npy", sink.getvalue())
    assert found is not None
    np.testing.assert_array_equal(found, XYZ)


@pytest.mark.parametrize(
    "data",
    [
        ply("ascii", "float")[:-9],
        ply("binary_little_endian", "double")[:-1],
        ply("ascii", "float").replace(b"vertex 3", b"vertex 3000000000"),
        ply("ascii", "float").replace(b"property float z\n", b""),
        ply("ascii", "float").replace(b"float", b"flaot"),
    ],
    ids=["cut text", "cut", "count", "axis", "type"],
)
def test_damaged_files_are_told(data: bytes) -> None:
    with pytest.raises(DataError):
        points("ply", data)
