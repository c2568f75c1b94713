"""three.js, which shares nothing with captionless, sees the same in every valid file; `make test-judge` runs it."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase

import pytest

from captionless.errors import DataError
from tests.judge import mutants, objects
from tests.judge.conftest import Judge
from tests.judge.record import Record
from tests.judge.three import Refused

pytestmark = pytest.mark.judge

CASES = objects.cases()
REFUSED = (
    "crash-glb-2d-positions", "crash-glb-colours-index-out-of-range", "glb-embedded-picture-garbage", "glb-ktx2",
    "gltf-1.0", "gltf-draco", "search-cloud-ply",
)  # fmt: skip
"""Of the field's cases, those that captionless refuses; tests/precompute/meshes holds with which words."""

MEANT = {name: case for name, case in CASES.items() if name.removeprefix("field/") not in REFUSED}
MUTANTS = [
    ("texture flipped", "gltf/uv-f4-plain"), ("texture flipped", "gltf/draco-texture"),
    ("texture flipped", "obj/textured-lf"), ("texture flipped", "field/reference"),
    ("texture flipped", "controllers/oculus-touch-v3"), ("texture flipped", "controllers/htc-vive"),
    ("COLOR_0 left out", "gltf/color-f4x3-none"), ("COLOR_0 left out", "gltf/color-u1x4-texture"),
    ("COLOR_0 left out", "field/glb-colour0-with-material"), ("COLOR_0 left out", "field/glb-colour0-times-texture"),
    ("COLOR_0 left out", "ply/ascii-colours-uchar"), ("COLOR_0 left out", "obj/colours-lf"),
    ("sRGB left out", "gltf/uv-f4-plain"), ("sRGB left out", "gltf/color-f4x3-none"),
    ("sRGB left out", "field/glb-colour0-times-texture"), ("sRGB left out", "obj/textured-lf"),
    ("sRGB left out", "controllers/oculus-touch-v3"),
]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in MEANT if not objects.unread(name)])
def test_small_files_look_alike(name: str, judge: Judge, record: Record) -> None:
    found = judge(name, MEANT[name])
    record.cases.append(found)
    assert found.agrees, found.likenesses


@pytest.mark.parametrize("name", [name for name in MEANT if objects.unread(name)])
def test_what_is_listed_is_not_read_rightly(name: str, judge: Judge, record: Record) -> None:
    """A list that grows by itself would hide mistakes: whatever agrees must leave it."""
    record.listed[name] = objects.unread(name)
    try:
        found = judge(name, MEANT[name])
    except (Refused, DataError):
        return
    assert not found.agrees, found.likenesses


def test_reasons_are_those_of_something() -> None:
    names = [*CASES, *objects.real()]
    assert [p for p in objects.UNREAD if not any(fnmatchcase(name, p) for name in names)] == []


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused(name: str, judge: Judge) -> None:
    with pytest.raises(DataError):
        judge(name, CASES[f"field/{name}"])


@pytest.mark.parametrize("group", ["furniture", "controllers"])
def test_real_models_look_alike(group: str, judge: Judge, record: Record) -> None:
    """Furniture is installed by Debian's packages: it is not looked for before it is asked for."""
    names = [name for name in objects.real() if name.startswith(f"{group}/")]
    record.listed |= {name: objects.unread(name) for name in names if objects.unread(name)}
    found = [judge(name, objects.real_object(name), linear=True) for name in names if not objects.unread(name)]
    record.real += found
    assert len(found) >= 30
    assert {v.name: (v.iou, v.share) for v in found if not v.agrees} == {}


@pytest.mark.parametrize(("mistake", "name"), MUTANTS)
def test_mistakes_are_found(mistake: str, name: str, judge: Judge, record: Record) -> None:
    of = CASES[name] if name in CASES else objects.real_object(name)
    found = judge(name, of, mutants.MESHES[mistake])
    record.mutants.append((mistake, found))
    assert not found.agrees


@pytest.mark.parametrize("name", ["texcoord-1", "texcoord-2", "texcoord-3", "transform-texcoord"])
def test_the_wrong_coordinates_are_found(name: str, judge: Judge, record: Record) -> None:
    of = CASES[f"gltf/{name}"]
    found = judge(f"gltf/{name}", of, read=replace(of, files=mutants.first_coordinates(of.files)))
    record.mutants.append(("wrong texCoord", found))
    assert not found.agrees
