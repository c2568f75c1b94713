"""Real files of every format, whole and damaged."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
import trimesh
from PIL import Image

from captionless.errors import DataError
from captionless.mesh import Mesh
from captionless.precompute import meshfile
from captionless.precompute.meshes.colour import linear
from captionless.precompute.meshes.pictures import MAX_TEXTURE
from captionless.precompute.meshfile import digest, load_mesh, read_object
from captionless.precompute.object_files import ObjectFiles
from captionless.spec.data import ReadingLimits

OBJ = """mtllib box.mtl
v 0 0 0
v 2 0 0
v 2 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl painted
f 1/1 2/2 3/3
usemtl plain
f 1/1 3/3 4/4
"""
MTL = "newmtl painted\nKd 1 1 1\nmap_Kd maps/paint.png\nnewmtl plain\nKd 1.0 0.5 0.0\n"


def textured_obj(folder: Path) -> Path:
    (folder / "maps").mkdir(parents=True)
    Image.fromarray(np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [9, 9, 9]]], np.uint8)).save(
        folder / "maps" / "paint.png"
    )
    (folder / "box.mtl").write_text(MTL)
    (folder / "box.obj").write_text(OBJ)
    return folder / "box.obj"


def extent(mesh: Mesh) -> list[float]:
    return np.ptp(mesh.vertices, axis=0).astype(float).round(5).tolist()


@pytest.mark.parametrize("kind", ["obj", "ply", "stl", "off", "glb"])
def test_every_format_is_read_and_turned(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"box.{kind}"
    trimesh.creation.box((1, 2, 3)).export(path)
    assert extent(load_mesh(str(path), "y")) == [1, 2, 3]
    turned = load_mesh(str(path), "z")
    assert extent(turned) == [1, 3, 2]
    assert turned.face_count == 12


def test_gltf_with_its_buffers(tmp_path: Path) -> None:
    for name, data in trimesh.Scene(trimesh.creation.box((1, 2, 3))).export(file_type="gltf").items():
        (tmp_path / name).write_bytes(data)
    assert extent(load_mesh(str(tmp_path / "model.gltf"))) == [1, 2, 3]
    before = digest(ObjectFiles(str(tmp_path / "model.gltf")))
    buffer = next(tmp_path.glob("*.bin"))
    moved = buffer.rename(tmp_path / "two words.bin")
    tree = json.loads((tmp_path / "model.gltf").read_text())
    for entry in tree["buffers"]:
        if entry["uri"] == buffer.name:
            entry["uri"] = "two%20words.bin"  # names in glTF are URIs
    (tmp_path / "model.gltf").write_text(json.dumps(tree))
    assert extent(load_mesh(str(tmp_path / "model.gltf"))) == [1, 2, 3]
    assert digest(ObjectFiles(str(tmp_path / "model.gltf"))) != before
    moved.unlink()
    with pytest.raises(DataError, match=r"two%20words\.bin"):
        load_mesh(str(tmp_path / "model.gltf"))


def test_up_must_be_said_where_the_format_does_not(tmp_path: Path) -> None:
    for kind in ("ply", "stl", "off"):
        path = tmp_path / f"box.{kind}"
        trimesh.creation.box().export(path)
        with pytest.raises(DataError, match=r"data\.source\.up"):
            load_mesh(str(path))


def test_obj_keeps_texture_and_material_colour(tmp_path: Path) -> None:
    mesh = load_mesh(str(textured_obj(tmp_path)))
    painted, plain = sorted(mesh.parts, key=lambda p: p.texture is None)
    assert painted.texture is not None
    assert painted.uv is not None
    assert painted.texture.texels[..., :3].tolist() == [[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [9, 9, 9]]]
    by_corner = {tuple(v): tuple(t) for v, t in zip(painted.vertices.tolist(), painted.uv.tolist(), strict=True)}
    assert by_corner[(0, 0, 0)] == (0, 0)
    assert by_corner[(2, 1, 0)] == (1, 1)
    assert plain.texture is None
    assert np.abs(np.array(plain.color) - (255, 128, 0)).max() <= 1


def test_glb_keeps_texture_tint_and_transforms(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 2), (200, 100, 50))
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=picture, baseColorFactor=(255, 55, 255, 255))
    box = trimesh.creation.box((1, 1, 1))
    box.visual = trimesh.visual.TextureVisuals(uv=box.vertices[:, :2] + 0.5, material=material)
    scene = trimesh.Scene()
    scene.add_geometry(box, transform=trimesh.transformations.translation_matrix((5, 0, 0)))
    scene.add_geometry(box, transform=trimesh.transformations.translation_matrix((9, 0, 0)))
    scene.export(tmp_path / "two.glb")
    mesh = load_mesh(str(tmp_path / "two.glb"))
    assert len(mesh.parts) == 2
    assert mesh.vertices[:, 0].min() == 4.5
    assert mesh.vertices[:, 0].max() == 9.5
    texture, uv = mesh.parts[0].texture, mesh.parts[0].uv
    assert texture is not None
    assert uv is not None
    assert texture.texels.shape == (2, 4, 4)
    assert texture.texels[0, 0].tolist() == [200, 100, 50, 255]
    np.testing.assert_allclose(mesh.parts[0].factor, (1, 55 / 255, 1, 1), atol=1e-6)
    assert uv[:, 1].min() == pytest.approx(0)
    assert uv[:, 1].max() == pytest.approx(1)


def test_ply_vertex_colours_are_light(tmp_path: Path) -> None:
    triangle = trimesh.Trimesh(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0]],
        [[0, 1, 2]],
        vertex_colors=[[30, 0, 0, 255], [60, 90, 0, 255], [0, 0, 9, 255]],
        process=False,
    )
    triangle.export(tmp_path / "t.ply")
    (part,) = load_mesh(str(tmp_path / "t.ply"), "y").parts
    assert part.color == (255, 255, 255)
    assert part.vertex_colors is not None
    expected = linear(np.array([[30, 0, 0], [60, 90, 0], [0, 0, 9]]) / 255)
    np.testing.assert_allclose(part.vertex_colors[:, :3], expected, atol=1e-6)


def test_large_textures_are_made_smaller(tmp_path: Path) -> None:
    path = textured_obj(tmp_path)
    Image.new("RGB", (3000, 16), (10, 20, 30)).save(tmp_path / "maps" / "paint.png")
    texels = next(p.texture for p in load_mesh(str(path)).parts if p.texture is not None).texels
    assert max(texels.shape) <= MAX_TEXTURE
    assert (texels == (10, 20, 30, 255)).all()


def test_any_storage_and_archives(tmp_path: Path) -> None:
    path = textured_obj(tmp_path / "files")
    memory = fsspec.filesystem("memory")
    archive = tmp_path / "models.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        for name in ("box.obj", "box.mtl", "maps/paint.png"):
            memory.pipe_file(f"/meshes/{name}", (path.parent / name).read_bytes())
            bundle.write(path.parent / name, f"boxes/{name}")
    urls = [str(path), f"file://{path}", "memory://meshes/box.obj", f"zip://boxes/box.obj::file://{archive}"]
    for url in urls:
        assert sum(p.texture is not None for p in load_mesh(url).parts) == 1
    assert len({digest(ObjectFiles(url)) for url in urls}) == 1


def test_digest_covers_every_file_that_counts(tmp_path: Path) -> None:
    path = textured_obj(tmp_path)
    seen = [digest(ObjectFiles(str(path)))]
    Image.new("RGB", (2, 2), (1, 2, 3)).save(tmp_path / "maps" / "paint.png")
    seen.append(digest(ObjectFiles(str(path))))
    (tmp_path / "maps" / "paint.png").unlink()
    seen.append(digest(ObjectFiles(str(path))))
    (tmp_path / "box.mtl").write_text(MTL.replace("0.5", "0.6"))
    seen.append(digest(ObjectFiles(str(path))))
    path.write_text(OBJ.replace("v 2 1 0", "v 2 3 0"))
    seen.append(digest(ObjectFiles(str(path))))
    (tmp_path / "note.txt").write_text("of no concern")
    assert len(set(seen)) == len(seen)
    assert digest(ObjectFiles(str(path))) == seen[-1]


def test_missing_texture_is_no_texture_but_a_damaged_one_is_reported(tmp_path: Path) -> None:
    path = textured_obj(tmp_path)
    picture = tmp_path / "maps" / "paint.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(picture)
    whole = picture.read_bytes()
    picture.write_bytes(whole[:2000])
    with pytest.raises(DataError, match="texture"):
        load_mesh(str(path))
    picture.write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"maps/paint\.png"):
        load_mesh(str(path))
    picture.unlink()
    assert all(p.texture is None for p in load_mesh(str(path)).parts)
    (tmp_path / "box.mtl").unlink()
    assert load_mesh(str(path)).face_count == 2


def glb() -> bytes:
    return bytes(trimesh.Scene(trimesh.creation.box()).export(file_type="glb"))


def stl() -> bytes:
    return bytes(trimesh.creation.box().export(file_type="stl"))


def header(elements: str) -> bytes:
    return f"ply\nformat ascii 1.0\n{elements}end_header\n".encode()


VERTEX = "element vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
FACE = "element face 1\nproperty list uchar int vertex_indices\n"


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.obj", b"", "empty"),
        ("a.glb", b"", "not a glTF file|empty"),
        ("a.obj", b"# nothing in here\n", "no faces|cannot read"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", "no faces"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv nan 1 0\nf 1 2 3\n", "NaN"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "vertex|cannot read|no faces"),
        ("a.obj", bytes(range(256)) * 8, "no faces|cannot read"),
        ("a.glb", glb()[:300], "truncated"),
        ("a.glb", glb()[:-40], "truncated"),
        ("a.glb", b"glTF" + bytes(40), "GLB of version 0"),
        ("a.gltf", b"{}", "no asset"),
        ("a.gltf", b"[1, 2", "not a glTF file"),
        ("a.stl", stl()[:200], "12 faces by its header and 2"),
        ("a.stl", b"solid nothing\nendsolid nothing\n", "cannot read|no faces"),
        ("a.off", b"OFF\n8 12 0\n0 0 0\n", "truncated"),
        ("a.ply", b"ply\nformat binary_little_endian 1.0\nelement vertex 99\n", "end_header"),
        ("a.ply", header(VERTEX) + b"0 0 0\n1 0 0\n0 1 0\n", "no faces"),
        ("a.ply", header(VERTEX + FACE) + b"0 0 0\n1 0 0\ninf 1 0\n3 0 1 2\n", "infinite"),
        ("a.ply", header(VERTEX + FACE) + b"0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n", "no area"),
    ],
    ids=[
        "obj-empty",
        "glb-empty",
        "obj-comment",
        "obj-without-faces",
        "obj-nan",
        "obj-vertex-index",
        "obj-binary",
        "glb-cut-header",
        "glb-cut",
        "glb-zeros",
        "gltf-without-asset",
        "gltf-not-json",
        "stl-cut",
        "stl-without-faces",
        "off-cut",
        "ply-cut",
        "ply-without-faces",
        "ply-infinite",
        "ply-without-area",
    ],
)
def test_broken_files_are_reported_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, content: bytes, named: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=named) as caught:
        load_mesh(str(tmp_path / name), "y")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_missing_unknown_and_huge(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.obj: "):
        load_mesh(str(tmp_path / "gone.obj"))
    with pytest.raises(DataError, match=r"gone\.obj: "):
        digest(ObjectFiles(str(tmp_path / "gone.obj")))
    (tmp_path / "drawing.dwg").write_bytes(b"AC1032")
    with pytest.raises(DataError, match=r"is not a mesh \(.*obj.*\)"):
        load_mesh(str(tmp_path / "drawing.dwg"))
    trimesh.creation.box().export(tmp_path / "box.glb")
    for limits, told in (
        (ReadingLimits(faces=11), "face"),
        (ReadingLimits(vertices=7), "vertices"),
        (ReadingLimits(bytes=99), "bytes; at most 99"),
    ):
        with pytest.raises(DataError, match=told):
            read_object(ObjectFiles(str(tmp_path / "box.glb")), limits=limits)


def test_non_manifold_soup_is_read(tmp_path: Path) -> None:
    soup = trimesh.Trimesh(np.random.default_rng(0).normal(size=(90, 3)), np.arange(90).reshape(-1, 3), process=False)
    sink = io.BytesIO()
    soup.export(sink, file_type="stl")
    (tmp_path / "soup.stl").write_bytes(sink.getvalue())
    assert load_mesh(str(tmp_path / "soup.stl"), "y").face_count == 30


def test_what_a_reader_stumbles_over_costs_its_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trimesh.creation.box().export(tmp_path / "box.glb")

    def stumble(*_: object) -> None:
        raise ZeroDivisionError("of a\nreader")

    monkeypatch.setattr(meshfile, "_READERS", {"glb": stumble})
    with pytest.raises(DataError, match=r"^cannot read the GLB file: ZeroDivisionError: of a reader$"):
        load_mesh(str(tmp_path / "box.glb"))


def test_a_file_is_what_its_content_says(tmp_path: Path) -> None:
    trimesh.creation.box((1, 2, 3)).export(tmp_path / "box.glb")
    (tmp_path / "box.glb").rename(tmp_path / "box.obj")
    assert extent(load_mesh(str(tmp_path / "box.obj"))) == [1, 2, 3]


def test_files_are_told_when_they_are_opened(tmp_path: Path) -> None:
    files = ObjectFiles(str(textured_obj(tmp_path)))
    told: list[str] = []
    read_object(files, opened=lambda: told.append(files.seen[-1].path))
    assert told == [file.path for file in files.seen] == ["box.obj", "box.mtl", "maps/paint.png"]


def test_a_mesh_that_nobody_can_see_is_broken(tmp_path: Path) -> None:
    (tmp_path / "x.mtl").write_text("newmtl ghost\nKd 1 1 1\nd 0\n")
    (tmp_path / "x.obj").write_text("mtllib x.mtl\nusemtl ghost\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(DataError, match="nothing of the mesh can be seen"):
        load_mesh(str(tmp_path / "x.obj"))
