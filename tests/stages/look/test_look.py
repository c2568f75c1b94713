"""`captionless look`: what is on a contact sheet, as HTML and as a picture."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
import yaml
from PIL import Image
from typer.testing import CliRunner

from captionless.cli.app import app
from captionless.errors import DataError, SpecError
from captionless.mesh import Mesh, MeshPart, Picture
from captionless.precompute.isolated_reader import IsolatedReader
from captionless.precompute.meshes.reading import Loss
from captionless.precompute.object_files import FileSeen, MeshFile
from captionless.precompute.sources import Loaded
from captionless.stages.look import measure, page, picture, run
from captionless.stages.look.measure import Seen, of_file, of_spec
from tests.pages import assert_readable, assert_self_contained

FIELD = Path(__file__).parent.parent.parent / "data" / "field"
BOX = str(FIELD / "reference" / "00_ref_texture.glb")


def command(*arguments: object) -> str:
    """What it prints. Raises what the command raises."""
    done = CliRunner().invoke(app, ["look", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def lossy(monkeypatch: pytest.MonkeyPatch) -> Loss:
    """What reading any file loses."""
    loss = Loss("texture missing", "wood <b>.png")
    whole = IsolatedReader._load_mesh

    def load(reader: IsolatedReader, mesh: MeshFile) -> Loaded:
        return replace(whole(reader, mesh), losses=(loss,))

    monkeypatch.setattr(IsolatedReader, "_load_mesh", load)
    return loss


def triangle(at: float = 0.0, **look: object) -> Loaded:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0.5]]) + at
    faces = np.array([[0, 1, 2], [0, 1, 3], [0, 0, 1]], np.int32)
    return Loaded(mesh=Mesh((MeshPart(corners, faces, **look),)), files=(FileSeen("a.obj", "v", "0" * 64),))  # type: ignore[arg-type]


def seen(loaded: Loaded) -> Seen:
    return measure._seen("an object", loaded, [("category", "chair")], 3, 32, 20.0)


def test_facts_and_doubts_are_those_of_the_mesh() -> None:
    texture = Picture(np.full((4, 8, 4), 200, np.uint8), ("clamp", "mirror"))
    found = seen(triangle(1e6, texture=texture, uv=np.zeros((4, 2)), alpha="blend"))
    facts = dict(found.facts)
    assert (facts["faces"], facts["vertices"], facts["pictures"], facts["files"]) == ("3", "4", "8 x 4", "a.obj")
    assert facts["parts"] == "1: textures in 1, blending in 1"
    assert facts["extent"] == "1 x 1 x 0.5"
    assert facts["z, y up"] == "1e+06 to 1e+06"
    assert [w.split(" ", 1)[1] for w in found.warnings] == [
        "of 3 faces have no area", "is 1,000,000 times its extent away from the origin, as at coordinates of a map",
    ]  # fmt: skip
    assert found.textures == [texture]
    assert list(found.azimuths) == [0, 120, 240]
    assert found.views.shape == (3, 32, 32, 4)
    assert dict(seen(triangle()).facts)["parts"] == "1: plain colours"


def test_a_sheet_has_every_picture(tmp_path: Path) -> None:
    """With the colours that the object has; the views are those of the renderer."""
    found = of_file(BOX, None, 4)
    captions = [caption for caption, _ in picture.tiles(found)]
    assert captions == ["0°", "90°", "180°", "270°", "cloud, 2,048 points", "texture 1, 64 x 64, repeat repeat"]
    tiles = dict(picture.tiles(found))
    texels = {tuple(color) for color in found.textures[0].texels[..., :3].reshape(-1, 3).tolist()}
    assert len(texels) == 4
    drawn = {color for _, color in tiles[captions[-1]].getcolors(1 << 16)}  # type: ignore[union-attr]
    assert texels <= drawn
    cloud = np.asarray(tiles["cloud, 2,048 points"]).reshape(-1, 3).astype(int)
    for color in texels:
        assert (np.abs(cloud - color).max(axis=1) <= 8).sum() > 20
    sheet = Image.open(io.BytesIO(picture.png(picture.of_object(found))))
    assert sheet.width == 4 * 236 + 12
    assert sheet.height > 2 * 240


def test_a_transparent_texture_shows_a_checkerboard() -> None:
    texels = np.zeros((64, 64, 4), np.uint8)
    texels[:32] = 10, 20, 30, 255
    board = np.asarray(picture.on_checks(Picture(texels)))
    assert (board[:32] == (10, 20, 30)).all()
    assert {tuple(c) for c in board[32:].reshape(-1, 3).tolist()} == {(255, 255, 255), (214, 217, 220)}


def test_a_page_says_what_a_mesh_lacks(lossy: Loss, tmp_path: Path) -> None:
    out = tmp_path / "a.html"
    printed = command(BOX, "--out", out, "--views", 2)
    assert "warning: texture missing: wood <b>.png" in printed
    html = out.read_text()
    assert_self_contained(html)
    assert_readable(html)
    assert "texture missing: wood &lt;b&gt;.png" in html
    assert html.count('<img src="data:image/webp') == 4


def test_an_object_of_a_spec(lossy: Loss, tmp_path: Path) -> None:
    folder = tmp_path / "shapes" / "box"
    folder.mkdir(parents=True)
    trimesh.creation.box((1, 2, 3)).export(folder / "one.ply")
    data = {"source": {"kind": "folder", "url": str(tmp_path / "shapes"), "up": "z"}, "imageSize": 48, "views": 3}
    spec = tmp_path / "run.yaml"
    spec.write_text(yaml.safe_dump({"data": data, "train": {"weights": ["uniform"]}}))
    found = of_spec(str(spec), "box/one", (), 8)
    assert found.views.shape == (3, 48, 48, 4)
    assert dict(found.facts)["extent"] == "1 x 3 x 2"  # z up, turned to y
    assert found.warnings == ["texture missing: wood <b>.png"]
    strict = of_spec(str(spec), "box/one", ("data.strict=appearance",), 8)
    assert strict.warnings[0].startswith("broken for this spec: data.strict is appearance")
    command(spec, "box/one", "--out", tmp_path / "one.PNG", "--set", "data.imageSize=32")
    assert (tmp_path / "one.PNG").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SpecError, match=r'no object \'box/won\'; did you mean "box/one"'):
        of_spec(str(spec), "box/won", (), 8)
    with pytest.raises(SpecError, match="needs the key"):
        run(str(spec), None, str(tmp_path / "x.png"), None)


def test_what_cannot_be_looked_at_is_told_in_one_line(tmp_path: Path) -> None:
    out = str(tmp_path / "x.html")
    with pytest.raises(SpecError, match=r"--out x\.pdf: expected a file ending in \.html or \.png"):
        run(BOX, None, "x.pdf", None)
    with pytest.raises(DataError, match=r"nowhere\.glb: no such file"):
        run(str(tmp_path / "nowhere.glb"), None, out, None)
    with pytest.raises(SpecError, match="--up: required"):
        run(str(FIELD / "ply-utm-sphere" / "in" / "box" / "26_utm_sphere.ply"), None, out, None)
    (tmp_path / "page.glb").write_bytes(b"\x00" * 40)
    with pytest.raises(DataError, match=r"^\S+/page\.glb: "):
        run(str(tmp_path / "page.glb"), None, out, None)
    with pytest.raises(SpecError, match="has clouds"):
        run(str(FIELD / "h5-upper-case-suffix" / "50_ok.H5"), None, out, None)
    assert not Path(out).exists()
    assert CliRunner().invoke(app, ["look", BOX, "--set", "data.views=2"]).exit_code == 2


def test_a_page_escapes_what_files_say() -> None:
    found = replace(seen(triangle()), title="<script>x</script>", facts=[("files", "<img src=x>")])
    assert "<script>x" not in page.html(picture.of_object(found))
    assert "<img src=x>" not in page.html(picture.of_object(found))
    assert picture.png(picture.of_object(replace(found, title="椅子 " * 100)))
