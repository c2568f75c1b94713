"""The furniture example on a made-up .sh3f file: classes from names, what is excluded, files, splits."""

from __future__ import annotations

import importlib.util
import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from captionless.precompute.meshfile import load_mesh

SCRIPT = Path(__file__).parents[2] / "examples" / "furniture" / "make_manifest.py"
OBJ = "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl m\nf 1/1 2/2 3/3\n"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_manifest", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_manifest"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def furniture(tmp_path: Path) -> Path:
    """Ten chairs, nine lamps, two mugs, a table fan and a thing without a noun."""
    names = [*["Chair with lamp"] * 10, *["Desk lamp"] * 9, "Mug", "Coffee mug", "Table fan", "Xylophon\\u00e9"]
    lines = ["name=Test catalogue", "license=CC \\", "   BY 3.0"]
    folder = tmp_path / "furniture"
    folder.mkdir()
    with zipfile.ZipFile(folder / "Test.sh3f", "w") as file:
        for n, name in enumerate(names, 1):
            lines += [f"id#{n}=Test#item.{n}", f"name#{n}={name}", f"model#{n}=/m/i{n}/a.obj", f"creator#{n}=Ann"]
            file.writestr(f"m/i{n}/a.obj", OBJ)
            file.writestr(f"m/i{n}/a.mtl", "newmtl m\nKd 1 0 0\n")
        file.writestr("PluginFurnitureCatalog.properties", "\n".join(lines).encode("latin-1"))
    return folder


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("Chair 25", "chair"),
        ("Chair with cushion 2", "chair"),
        ("Modern armchair", "armchair"),
        ("Desk lamp 3", "lamp"),
        ("Bedside table 2", "cabinet"),
        ("Table on trestles", "table"),
        ("Table fan", None),
        ("Table tennis bat", None),
        ("Bookcase", "bookshelf"),
        ("Carpet", None),
        ("Wine bottle", "bottle"),
        ("Elevator door", "door"),
    ],
)
def test_the_last_noun_of_a_name_decides(script: ModuleType, name: str, category: str | None) -> None:
    assert script.classify(name, script.nouns()) == category


def test_manifest_has_what_is_kept_and_tells_what_is_not(
    script: ModuleType,
    furniture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr("sys.argv", ["make_manifest.py", str(out), "--furniture", str(furniture)])
    script.main()
    printed = capsys.readouterr().out
    assert "19 of 23 models in 2 classes" in printed
    assert "classes of fewer than 8: 2 models (mug 2)" in printed
    assert "no known noun in the name: 2 models (Table fan, Xylophoné)" in printed
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [r["key"] for r in rows] == sorted(r["key"] for r in rows)
    assert {r["category"] for r in rows} == {"chair", "lamp"}
    first = next(r for r in rows if r["key"] == "test-item-1")
    assert first["licence"] == "CC BY 3.0"
    assert first["source"] == "Sweet Home 3D Test catalogue, by Ann"
    assert {r["split"] for r in rows} == {"train", "test"}
    assert load_mesh(str(out / first["mesh"])).face_count == 1
    before = (out / "manifest.jsonl").read_bytes()
    script.main()
    assert (out / "manifest.jsonl").read_bytes() == before


def test_missing_files_are_reported(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["make_manifest.py", str(tmp_path / "out"), "--furniture", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"no \.sh3f files in .*apt-get install"):
        script.main()
