"""What a file is, by its content and its name."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import trimesh
from PIL import Image

from captionless.errors import DataError
from captionless.precompute import file_kinds
from captionless.precompute.file_kinds import by_content, by_name, kind_of, mesh_kind

FIELD = Path(__file__).parent.parent / "data" / "field"


def exported(kind: str) -> bytes:
    data = trimesh.creation.box().export(file_type=kind)
    return data.encode() if isinstance(data, str) else bytes(data)


def picture(kind: str) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (2, 2)).save(sink, kind)
    return sink.getvalue()


def arrays(kind: str) -> bytes:
    sink = io.BytesIO()
    if kind == "h5":
        with h5py.File(sink, "w", userblock_size=512) as file:
            file["data"] = np.zeros(3)
    elif kind == "npz":
        np.savez(sink, points=np.zeros(3))
    else:
        np.save(sink, np.zeros(3))
    return sink.getvalue()


def zipped(name: str) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as file:
        file.writestr(name, "x")
    return sink.getvalue()


BOM = b"\xef\xbb\xbf"

CONTENTS = {
    "glb": ("glb", exported("glb")),
    "gltf, its members sorted": ("gltf", BOM + b'\n {"accessors": [], "asset": {"version": "2.0"}}'),
    "ply": ("ply", exported("ply")),
    "ply with Windows lines": ("ply", b"ply\r\nformat ascii 1.0\r\n"),
    "stl": ("stl", exported("stl")),
    "stl as text": ("stl", exported("stl_ascii")),
    "stl with a name": ("stl", b"SOLID box\n facet"),
    "off": ("off", exported("off")),
    "off in lower case": ("off", b"off\n8 6 0\n"),
    "off with its counts": ("off", b"OFF8 6 0\n"),
    "off with colours and comments": ("off", b"# made by hand\n# twice\nCOFF # here\n8 6 0\n"),
    "obj": ("obj", exported("obj")),
    "obj of Blender": ("obj", BOM + b"# Blender\r\nmtllib a.mtl\r\no Cube\r\n\tv 1.0 -1e0 .5\r\n"),
    "npz": ("npz", arrays("npz")),
    "npz without arrays": ("npz", b"PK\x05\x06" + bytes(18)),
    "npy": ("npy", arrays("npy")),
    "hdf5": ("h5", arrays("h5")),
    "png": ("png", picture("PNG")),
    "jpeg": ("jpeg", picture("JPEG")),
    "webp": ("webp", picture("WEBP")),
    "nothing": ("empty", b""),
    "a page": ("html", BOM + b"\n<!-- a -->\n<!-- <b> -->\n<!doctype HTML><html>"),
    "a bare page": ("html", b"<html lang=en><head>"),
    "a pointer": ("lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
    "an answer": ("json", b'{"error": "not found"}'),
    "an error": ("xml", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
    "collada": ("collada", b'<?xml version="1.0"?>\n<COLLADA xmlns="x">'),
    "zip": ("zip", zipped("3D/3dmodel.model")),
    "gzip": ("gzip", gzip.compress(b"v 0 0 0\n", mtime=0)),
    "fbx": ("fbx", b"Kaydara FBX Binary  \x00"),
    "numbers": (None, b"1 2 3\n4 5 6\n"),
    "words": (None, b"404: Not Found"),
    "a solid word": (None, b"solidity of chairs"),
    "verses": (None, b"v is the fifth roman numeral\n"),
    "faces before vertices": (None, b"f 1 2 3\nv 0 0 0\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTENTS)
def test_content_says_what_a_file_is(case: str) -> None:
    kind, content = CONTENTS[case]
    found = by_content(content)
    assert (found and found.name) == kind
    if len(content) > file_kinds.HEAD:
        assert by_content(content[: file_kinds.HEAD], len(content)) == found


def test_a_binary_stl_is_known_by_its_size_alone() -> None:
    assert by_content(bytes(80) + struct.pack("<I", 2) + bytes(100)) is not None
    assert by_content(bytes(80) + struct.pack("<I", 2) + bytes(99)) is None
    assert by_content(bytes(80) + struct.pack("<I", 0)) is None


@pytest.mark.parametrize(
    "content",
    [b"\n" * 100_000, b"<!-- -->" * 20_000, b"#\n" * 50_000, b" " * 100_000, b"{" * 100_000, b"<!--" * 30_000],
    ids=["lines", "comments", "hashes", "spaces", "braces", "opened"],
)
def test_hostile_beginnings_are_read_once(content: bytes) -> None:
    """A pattern that tries all ways to divide them would not end."""
    found = by_content(content)
    assert found is None or found.name in ("json", "html")


def test_names_say_what_a_file_is() -> None:
    named = {
        "a/b.GLB": "glb", "s3://b/x.HDF5": "h5", "https://h/x.npz?sig=a.obj": "npz",
        "zip://in/x.ply::s3://b/y.zip": "ply", "x.jpeg": "jpeg", "x.tar": None, "obj": None, "": None, ".obj": None,
    }  # fmt: skip
    assert {name: (kind := by_name(name)) and kind.name for name in named} == named


def test_content_counts_more_than_the_name() -> None:
    assert mesh_kind("chair.obj", exported("ply")) == "ply"
    assert mesh_kind("chair.stl", exported("obj")) == "obj"
    assert mesh_kind("https://host/download?id=7", exported("glb")) == "glb"
    assert mesh_kind("chair.obj", b"f 1 2 3\nv 0 0 0\n") == "obj"
    assert mesh_kind("chair.gltf", b'{"scene": 0}') == "gltf"  # what is wrong with it, its reader says


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("chair.glb", b"<html>", r"^is not a GLB file, but an HTML page"),
        ("chair.obj", gzip.compress(b"v", mtime=0), "^is not an OBJ file, but gzip-compressed; unpack it"),
        ("chair.ply", arrays("npy"), "^is not a PLY file, but a NumPy array"),
        ("chair.glb", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("chair.glb", b'{"error": "gone"}', "JSON document"),
        ("chair.glb", b"", "^the GLB file is empty"),
        ("chair", b"", "^the file is empty"),
        ("chair.xyz", b"1 2 3\n", r"^is not a mesh \(glb, .*neither its name nor its content"),
        ("chair.png", picture("PNG"), r"^is not a mesh \(glb, .*but a PNG picture"),
    ],
)
def test_what_is_no_mesh_is_told_by_what_it_is(name: str, content: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told):
        mesh_kind(name, content)


def test_the_field_s_files() -> None:
    page = (FIELD / "npz-is-html" / "48_html_instead.npz").read_bytes()
    with pytest.raises(DataError, match=r"^is not an npz archive, but an HTML page"):
        kind_of("48_html_instead.npz", page, file_kinds.CLOUDS, "a file of clouds")
    upper = FIELD / "h5-upper-case-suffix" / "50_ok.H5"
    assert kind_of(str(upper), upper.read_bytes(), file_kinds.CLOUDS, "a file of clouds") == "h5"
    meshes = [p for p in FIELD.glob("*/in/**/*") if p.suffix in (".glb", ".gltf", ".obj", ".ply", ".stl", ".off")]
    assert len(meshes) > 40
    assert [p.name for p in meshes if mesh_kind(p.name, p.read_bytes()) != p.suffix[1:]] == []
