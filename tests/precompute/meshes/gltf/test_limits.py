"""Each limit is compared before what it limits is made, and what goes beyond is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captionless.errors import DataError
from captionless.spec.data import ReadingLimits
from tests.precompute.meshes.gltf.test_reading import reading
from tests.precompute.meshes.gltf_document import Document
from tests.precompute.meshes.gltf_shapes import BOX, FACES, picture_box, plain_box, shown

HUGE = 1 << 40


@pytest.mark.parametrize(
    ("limit", "enough", "line"),
    [
        ({"faces": 11}, {"faces": 12}, "more than 11 faces"),
        ({"vertices": 23}, {"vertices": 24}, "more than 23 vertices"),
        ({"pixels": 255}, {"pixels": 256}, "at most 255"),
    ],
)
def test_object_may_be_as_large_as_its_limit(
    limit: dict[str, int], enough: dict[str, int], line: str, tmp_path: Path
) -> None:
    files = picture_box().glb()
    assert reading(files, tmp_path, ReadingLimits(**enough)).mesh.face_count == 12
    with pytest.raises(DataError, match=line):
        reading(files, tmp_path, ReadingLimits(**limit))


def test_bytes_of_all_files_count(tmp_path: Path) -> None:
    files = picture_box(how="tex.png").gltf()
    beside = sum(map(len, list(files.values())[1:]))
    reading(files, tmp_path, ReadingLimits(bytes=beside))
    with pytest.raises(DataError, match=f"more than {beside - 1} bytes"):
        reading(files, tmp_path, ReadingLimits(bytes=beside - 1))


def test_nodes_may_be_as_deep_as_the_limit(tmp_path: Path) -> None:
    document = plain_box()
    for _ in range(5):
        child = len(document.json["nodes"]) - 1
        top = document.node({"children": [child]}, shown=False)
    document.json["scenes"][0]["nodes"] = [top]
    assert reading(document.glb(), tmp_path, ReadingLimits(depth=5)).mesh.face_count == 12
    with pytest.raises(DataError, match=r"nodes\[0\]: more than 4 levels of nodes"):
        reading(document.glb(), tmp_path, ReadingLimits(depth=4))


def _instanced(count: int) -> Document:
    document = Document()
    moves = document.add("accessors", {"componentType": 5126, "count": count, "type": "VEC3"})
    return shown(document, node={"extensions": {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": moves}}}})


@pytest.mark.parametrize("count", [5, 1000, HUGE])
def test_instances_count(count: int, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"faces|instances|elements"):
        reading(_instanced(count).glb(), tmp_path, ReadingLimits(faces=59, vertices=10_000))
    assert reading(_instanced(5).glb(), tmp_path, ReadingLimits(faces=60)).mesh.face_count == 60


def test_instances_of_all_nodes_count_also_of_meshes_without_faces(tmp_path: Path) -> None:
    document = _instanced(20)
    document.json["meshes"][0]["primitives"] = []
    node = document.json["nodes"][0]
    document.node(dict(node))
    document = shown(document)
    assert reading(document.glb(), tmp_path, ReadingLimits(faces=40)).mesh.face_count == 12
    document.node(dict(node))
    with pytest.raises(DataError, match="60 instances so far; at most 40"):
        reading(document.glb(), tmp_path, ReadingLimits(faces=40))


def test_a_mesh_that_many_nodes_show_counts_each_time(tmp_path: Path) -> None:
    document = plain_box()
    for _ in range(4):
        document.node({"mesh": 0})
    assert reading(document.glb(), tmp_path, ReadingLimits(faces=60, vertices=120)).mesh.face_count == 60
    with pytest.raises(DataError, match="more than 59 faces"):
        reading(document.glb(), tmp_path, ReadingLimits(faces=59))


@pytest.mark.parametrize("kind", ["positions", "indices", "sparse", "meshopt", "no-indices"])
def test_no_count_is_trusted(kind: str, tmp_path: Path) -> None:
    """Numbers without bytes behind them cost nothing: each of these would take terabytes."""
    document = Document()
    made: dict[str, Any] = {}
    if kind in ("positions", "no-indices"):
        made["positions"] = document.add("accessors", {"componentType": 5126, "count": HUGE, "type": "VEC3"})
        if kind == "no-indices":
            made["indices"] = None
    elif kind == "indices":
        made["indices"] = document.add("accessors", {"componentType": 5125, "count": HUGE, "type": "SCALAR"})
    elif kind == "sparse":
        made["positions"] = document.accessor(BOX, how="sparse-only")
        document.json["accessors"][-1]["count"] = HUGE
    else:
        made["positions"] = document.accessor(BOX, how="meshopt")
        document.json["bufferViews"][-1]["extensions"]["EXT_meshopt_compression"]["count"] = HUGE
    with pytest.raises(DataError, match=r"at most|bytes"):
        reading(shown(document, **made).glb(), tmp_path)


def test_primitives_that_share_a_large_accessor_take_what_they_use(tmp_path: Path) -> None:
    document = Document()
    many = document.accessor(np.concatenate([BOX, np.zeros((5000, 3))]))
    primitives = [{"attributes": {"POSITION": many}, "indices": document.indices(FACES)} for _ in range(20)]
    document.node({"mesh": document.mesh(*primitives)})
    found = reading(document.glb(), tmp_path, ReadingLimits(vertices=20 * 24))
    assert [len(part.vertices) for part in found.mesh.parts] == [24] * 20


def test_losses_are_told_by_the_hundred_and_then_summed_up(tmp_path: Path) -> None:
    document = plain_box()
    positions = document.accessor(BOX)
    document.node({"mesh": document.mesh(*({"attributes": {"POSITION": positions}, "mode": 0} for _ in range(300)))})
    losses = reading(document.glb(), tmp_path).losses
    assert len(losses) == 101
    assert losses[-1].detail == "and more"
