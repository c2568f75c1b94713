"""glTF files that use extensions, and files that are to be refused, each by a line that names what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.precompute.meshes.gltf_document import Document
from tests.precompute.meshes.gltf_shapes import (
    BOX,
    FACES,
    SIDES,
    UV,
    Case,
    picture_box,
    plain_box,
    shown,
    skinned,
    textured,
)


def extensions() -> Iterator[tuple[str, Case]]:
    for name in ("KHR_materials_transmission", "KHR_materials_volume", "KHR_materials_sheen"):
        for required in (True, False):
            document = plain_box()
            document.uses(name, required)
            yield f"{name}{'-required' if required else ''}", Case(document.glb(), losses=("extension ignored",))
    for name in (
        "KHR_lights_punctual",
        "KHR_materials_clearcoat",
        "KHR_materials_variants",
        "MSFT_lod",
        "FB_ngon_encoding",
    ):
        document = plain_box()
        document.uses(name, required=True)
        yield name, Case(document.glb())
    document = plain_box()
    document.uses("ACME_new")
    yield "unknown-extension", Case(document.glb(), losses=("extension ignored",))
    document.uses("ACME_new", required=True)
    yield "unknown-extension-required", Case(document.glb(), error="needs ACME_new, which is not read")


def damaged() -> Iterator[tuple[str, Case]]:
    """Each must be refused in one line that names what is wrong."""
    whole = picture_box().glb()["x.glb"]
    for share in (0.001, 0.01, 0.3, 0.9, 0.999):
        yield (
            f"truncated-{share}",
            Case({"x.glb": whole[: int(len(whole) * share)]}, error="truncated|empty|JSON|asset"),
        )
    beside = picture_box().gltf()
    yield "truncated-buffer", Case({**beside, "x.bin": beside["x.bin"][:-1]}, error=r"buffers\[0\] is truncated")
    yield "missing-buffer", Case({"x.gltf": beside["x.gltf"]}, error=r"refers to x\.bin, which does not exist")
    yield "truncated-json", Case({"x.gltf": beside["x.gltf"][:-20], "x.bin": beside["x.bin"]}, error="not valid JSON")
    yield (
        "version-1",
        Case({"x.gltf": b'{"asset": {"version": "1.0"}, "meshes": {"m": {}}}'}, error=r"^glTF 1\.0 is not read$"),
    )
    yield (
        "version-1-unsaid",
        Case({"x.gltf": b'{"meshes": {"m": {"primitives": []}}}'}, error=r"^glTF 1\.0 is not read$"),
    )
    yield "version-1-binary", Case({"x.glb": b"glTF\1\0\0\0" + bytes(40)}, error=r"^glTF 1\.0 is not read$")
    yield "version-9", Case({"x.gltf": b'{"asset": {"version": "9.0"}}'}, error="9.0")
    yield (
        "least-version",
        Case({"x.gltf": b'{"asset": {"version": "2.1", "minVersion": "2.1"}}'}, error="2.1 is not read"),
    )
    yield "a-list", Case({"x.gltf": b"[1, 2]"}, error="expected an object")
    yield "not-a-number", Case({"x.gltf": b'{"asset": {"version": "2.0"}, "scene": NaN}'}, error="JSON")
    yield "nested", Case({"x.gltf": b"[" * 200_000}, error="JSON")
    changes: dict[str, tuple[tuple[Any, ...], Any, str]] = {
        "accessor-not-there": (("meshes", 0, "primitives", 0, "attributes", "POSITION"), 99, r"accessors\[99\]"),
        "accessor-negative": (("meshes", 0, "primitives", 0, "attributes", "POSITION"), -1, "POSITION.*-1"),
        "accessor-a-word": (("meshes", 0, "primitives", 0, "attributes", "POSITION"), "a", "POSITION.*'a'"),
        "positions-2d": (("accessors", 1, "type"), "VEC2", "POSITION: expected VEC3"),
        "component": (("accessors", 1, "componentType"), 5199, "5199"),
        "too-many-positions": (("accessors", 1, "count"), 10**6, "truncated"),
        "too-few-positions": (("accessors", 1, "count"), 5, "names vertex|elements for"),
        "billions-of-indices": (("accessors", 2, "count"), 10**15, "truncated"),
        "fraction-of-a-count": (("accessors", 1, "count"), 2.5, "count.*2.5"),
        "view-beyond-the-buffer": (("bufferViews", 1, "byteLength"), 10**9, r"bufferViews\[1\]"),
        "offset-beyond-the-view": (("accessors", 1, "byteOffset"), 10**9, "truncated"),
        "stride-too-small": (("bufferViews", 2, "byteStride"), 4, "bytes apart"),
        "stride-zero": (("bufferViews", 2, "byteStride"), 0, "byteStride"),
        "mode": (("meshes", 0, "primitives", 0, "mode"), 9, "mode"),
        "indices-of-fractions": (("accessors", 2, "componentType"), 5126, "truncated|unsigned"),
        "mesh-not-there": (("nodes", 0, "mesh"), 7, r"meshes\[7\]"),
        "node-not-there": (("scenes", 0, "nodes"), [7], r"nodes\[7\]"),
        "scene-not-there": (("scene",), 7, r"scenes\[7\]"),
        "node-below-itself": (("nodes", 0, "children"), [0], "below itself"),
        "node-twice-in-the-scene": (("nodes",), [{"children": [1, 1]}, {"mesh": 0}], r"nodes\[1\].*twice in the scene"),
        "children-no-list": (("nodes", 0, "children"), 3, "children: expected a list"),
        "matrix-of-nine": (("nodes", 0, "matrix"), [1.0] * 9, "16 numbers"),
        "rotation-of-words": (("nodes", 0, "rotation"), ["a"] * 4, "rotation"),
        "scale-infinite": (("nodes", 0, "scale"), [10**400, 1, 1], "finite"),
        "material-not-there": (("meshes", 0, "primitives", 0, "material"), 5, r"materials\[5\]"),
        "texture-not-there": (
            ("materials", 0, "pbrMetallicRoughness", "baseColorTexture", "index"), 5, r"textures\[5\]"
        ),
        "image-not-there": (("textures", 0, "source"), 5, r"images\[5\]"),
        "alpha-mode": (("materials", 0, "alphaMode"), "GLASS", "alphaMode"),
        "color-of-three": (("materials", 0, "pbrMetallicRoughness", "baseColorFactor"), [1, 1, 1], "4 numbers"),
        "wrap": (("samplers",), [{"wrapS": 1}], "wrapS"),
        "skin-not-there": (("nodes", 0, "skin"), 3, r"skins\[3\]"),
        "buffer-not-there": (("bufferViews", 1, "buffer"), 3, r"buffers\[3\]"),
        "mesh-a-list": (("meshes", 0), [], r"meshes\[0\]: expected an object"),
    }  # fmt: skip
    for name, (path, value, error) in changes.items():
        document = Document()
        uv = document.accessor(UV)
        shown(document, uv=uv, material=textured(document, sampler={}))
        entry: Any = document.json
        for step in path[:-1]:
            entry = entry[step]
        entry[path[-1]] = value
        yield name, Case(document.glb(), error=error)
    yield from _damaged_values()


def _damaged_values() -> Iterator[tuple[str, Case]]:
    document = Document()
    bad = document.indices(np.where(FACES == 3, 99, FACES))
    yield "vertex-not-there", Case(shown(document, indices=bad).glb(), error="vertex 99")
    document = Document()
    bad = document.accessor(UV[:5])
    yield (
        "fewer-coordinates",
        Case(shown(document, uv=bad, material=textured(document)).glb(), error="5 elements for 24"),
    )
    document = Document()
    bad = document.accessor(SIDES[:5])
    yield "fewer-colours", Case(shown(document, colors=bad).glb(), error="5 elements for 24")
    document = Document()
    bad = document.accessor(np.concatenate([BOX, BOX[:6]]), how="sparse-only")
    document.json["accessors"][bad]["count"] = 24
    yield "sparse-beyond-the-end", Case(shown(document, positions=bad).glb(), error="names element")
    document = Document()
    attributes = {
        "JOINTS_0": document.accessor(np.full((24, 4), 9), "u1"),
        "WEIGHTS_0": document.accessor(np.ones((24, 4))),
    }
    yield "joint-not-there", Case(skinned(document, attributes, None).glb(), error="joint 9")
    document = Document()
    document.node({"children": [1]})
    document.node({"children": [0]}, shown=False)
    document.add("skins", {"joints": [0]})
    attributes = {
        "JOINTS_0": document.accessor(np.zeros((24, 4)), "u1"),
        "WEIGHTS_0": document.accessor(np.ones((24, 4))),
    }
    shown(document, attributes=attributes, node={"skin": 0})
    document.json["scenes"][0]["nodes"] = [2]
    yield "joint-below-itself", Case(document.glb(), error="below itself")
    document = Document()
    extension = {"bufferView": document.view(b"DRACO" + bytes(90)), "attributes": {"POSITION": 0}}
    shown(document, extensions={"KHR_draco_mesh_compression": extension})
    yield (
        "draco-damaged",
        Case(document.glb(), error=r"primitives\[0\]: its KHR_draco_mesh_compression stream is damaged"),
    )
    for at, what in ((0, "does not begin"), (-1, "ends early|left over")):
        document = Document()
        accessor = document.accessor(BOX, how="meshopt")
        extension = document.json["bufferViews"][-1]["extensions"]["EXT_meshopt_compression"]
        if at == 0:
            document.blob[extension["byteOffset"]] = 7
        else:
            extension["byteLength"] -= 40
        yield (
            f"meshopt-damaged{at}",
            Case(
                shown(document, positions=accessor).glb(),
                error=f"EXT_meshopt_compression stream is damaged: it.*({what})",
            ),
        )
