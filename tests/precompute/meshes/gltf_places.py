"""glTF files whose vertices are moved: by nodes, instances, morph targets and joints."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tests.precompute.meshes.gltf_document import Document
from tests.precompute.meshes.gltf_shapes import (
    ABOUT_Z,
    BOX,
    FACES,
    HALF,
    SEEN,
    SIDES,
    UV,
    WHITE,
    Case,
    linear,
    moved_by,
    pictured,
    placed,
    shown,
    skinned,
    srgb,
    textured,
    transform_of,
)


def nodes() -> Iterator[tuple[str, Case]]:
    quarter = [0, 0, HALF, HALF]
    trs = {"translation": [1, 2, 3], "rotation": quarter, "scale": [2, 3, 4]}
    full = transform_of(ABOUT_Z, (2, 3, 4), (1, 2, 3))
    yield "translation", placed({"translation": [1, 2, 3]}, transform_of(move=(1, 2, 3)))
    yield "rotation", placed({"rotation": quarter}, transform_of(ABOUT_Z))
    yield "rotation-not-of-length-1", placed({"rotation": [0, 0, 2, 2]}, transform_of(ABOUT_Z))
    yield "rotation-zero", placed({"rotation": [0, 0, 0, 0]}, np.eye(4))
    yield "scale", placed({"scale": [2, 3, 4]}, transform_of(scale=(2, 3, 4)))
    yield "scale-negative", placed({"scale": [-1, 1, 1]}, transform_of(scale=(-1, 1, 1)))
    yield "scale-zero", placed({"scale": [1, 0, 1]}, transform_of(scale=(1, 0, 1)))
    yield "all-three", placed(trs, full)
    yield "matrix", placed({"matrix": full.T.reshape(-1).tolist()}, full)
    yield (
        "matrix-that-mirrors",
        placed({"matrix": np.diag([1.0, 1, -1, 1]).reshape(-1).tolist()}, np.diag([1, 1, -1, 1])),
    )
    far = [1e7, 0, -3e6]
    yield "offset-1e7", placed({"translation": far}, transform_of(move=far), near=1e-8)
    for name, above in (("parent", trs), ("camera", {**trs, "camera": 0}), ("empty-parent", {})):
        document = shown(Document(), node={"scale": [1, 2, 1], "translation": [5, 0, 0]})
        document.json["cameras"] = [{"type": "perspective", "perspective": {"yfov": 1, "znear": 1}}]
        document.json["scenes"][0]["nodes"] = [document.node({**above, "children": [0]}, shown=False)]
        matrix = (full if above else np.eye(4)) @ transform_of(scale=(1, 2, 1), move=(5, 0, 0))
        yield f"below-{name}", Case(document.glb(), triangles=moved_by(matrix))
    document = shown(Document(), node={"translation": [1, 0, 0]})
    document.node({"mesh": 0, "translation": [0, 1, 0]})
    both = np.concatenate([moved_by(transform_of(move=(1, 0, 0))), moved_by(transform_of(move=(0, 1, 0)))])
    twice = {"triangles": both, "colors": np.concatenate([WHITE, WHITE])}
    yield "mesh-of-two-nodes", Case(document.glb(), **twice)
    document.json["scenes"] = [{"nodes": []}, {"nodes": [1, 0, 1]}]
    document.json["scene"] = 1
    yield "second-scene", Case(document.glb(), triangles=np.roll(both, 12, axis=0), colors=twice["colors"])
    del document.json["scenes"], document.json["scene"]
    yield "no-scene", Case(document.glb(), **twice)
    for node, names in enumerate(([1], [])):
        document.json["nodes"][node]["extensions"] = {"MSFT_lod": {"ids": names}}
    yield "no-scene-of-levels", Case(document.glb(), triangles=both[:12])
    del document.json["nodes"]
    yield "no-nodes", Case(document.glb())
    document = shown(Document())
    shown(document, node={"extensions": {"KHR_node_visibility": {"visible": False}}})
    yield "not-visible", Case(document.glb())
    document = shown(Document())
    document.json["scenes"][0]["nodes"] = []
    document.node({"extensions": {"KHR_node_visibility": {"visible": True}}, "children": [0]})
    yield "visible", Case(document.glb())
    yield from _instances()


def _instances() -> Iterator[tuple[str, Case]]:
    name = "EXT_mesh_gpu_instancing"
    moves = np.array([[0.0, 0, 0], [2, 0, 0], [4, 1, 0]])
    turns = np.array([[0, 0, 0, 1], [0, 0, HALF, HALF], [0, 0, HALF, -HALF]])
    sizes = np.array([[1.0, 1, 1], [1, 2, 1], [0.5, 0.5, -1]])
    bases = [np.eye(3), ABOUT_Z, ABOUT_Z.T]
    for case, attributes in (
        ("move", {"TRANSLATION": ("f4", False)}),
        ("turn", {"ROTATION": ("f4", False)}),
        ("turn-i1", {"ROTATION": ("i1", True), "TRANSLATION": ("f4", False)}),
        ("turn-i2", {"ROTATION": ("i2", True), "TRANSLATION": ("f4", False)}),
        ("size", {"SCALE": ("f4", False)}),
        ("all", {"TRANSLATION": ("f4", False), "ROTATION": ("f4", False), "SCALE": ("f4", False)}),
    ):
        document = Document()
        document.uses(name, required=True)
        values = {"TRANSLATION": moves, "ROTATION": turns, "SCALE": sizes}
        accessors = {k: document.accessor(values[k], *how) for k, how in attributes.items()}
        node = {"scale": [1, 1, 2], "extensions": {name: {"attributes": accessors}}}
        shown(document, node=node, uv=document.accessor(UV), material=textured(document))
        above = transform_of(scale=(1, 1, 2))
        places = [
            above @ transform_of(
                bases[k] if "ROTATION" in attributes else np.eye(3),
                sizes[k] if "SCALE" in attributes else (1, 1, 1),
                moves[k] if "TRANSLATION" in attributes else (0, 0, 0),
            )
            for k in range(3)
        ]  # fmt: skip
        triangles = np.concatenate([moved_by(place) for place in places])
        seen = np.concatenate([SEEN] * 3)
        yield (
            f"instances-{case}",
            Case(document.glb(), triangles=triangles, colors=seen, near=0.02 if "i1" in case else 1e-4),
        )
    document = Document()
    node = {"extensions": {name: {"attributes": {"TRANSLATION": document.accessor(np.zeros((0, 3)))}}}}
    yield "instances-none", Case(shown(shown(document), node=node).glb())
    document = Document()
    attributes = {"TRANSLATION": document.accessor(np.zeros((1, 3))), "_COLOR_0": document.accessor(np.ones((1, 3)))}
    document.uses(name)
    node = {"extensions": {name: {"attributes": attributes}}}
    yield "instances-of-colours", Case(shown(document, node=node).glb(), losses=("colours dropped",))


def morphs() -> Iterator[tuple[str, Case]]:
    up, wide = np.zeros_like(BOX), BOX * (1, 0, 0)
    up[:, 1] = 1
    shifted = BOX + 0.5 * up + 2 * wide
    for how in ("plain", "sparse", "sparse-only", "strided", "meshopt"):
        document = Document()
        targets = [{"POSITION": document.accessor(t, how=how)} for t in (up, wide)]
        yield (
            f"morph-{how}",
            Case(shown(document, targets=targets, mesh={"weights": [0.5, 2]}).glb(), triangles=shifted[FACES]),
        )
    for name, weights, node, seen in (
        ("weights-of-the-node", [1, 1], [0.5, 2], shifted),
        ("without-weights", None, None, BOX),
        ("fewer-weights", [1], None, BOX + up),
    ):
        document = Document()
        targets = [{"POSITION": document.accessor(t)} for t in (up, wide)]
        shown(
            document,
            targets=targets,
            mesh={"weights": weights} if weights else {},
            node={"weights": node} if node else {},
        )
        yield f"morph-{name}", Case(document.glb(), triangles=seen[FACES])
    document = Document()
    document.uses("KHR_mesh_quantization", required=True)
    target = {"POSITION": document.accessor(up, "i1", True)}
    yield (
        "morph-quantized",
        Case(shown(document, targets=[target], mesh={"weights": [0.5]}).glb(), triangles=(BOX + up / 2)[FACES]),
    )
    document = Document()
    targets = [{"TEXCOORD_0": document.accessor(np.full_like(UV, 0.5)), "COLOR_0": document.accessor(-SIDES)}]
    uv, color = document.accessor(UV), document.accessor(SIDES)
    shown(document, uv=uv, colors=color, material=textured(document), targets=targets, mesh={"weights": [1.0]})
    yield "morph-coordinates-and-colours", Case(document.glb(), colors=srgb(linear(pictured(UV + 0.5)) * 0))


def skins() -> Iterator[tuple[str, Case]]:
    """Two joints, one moved by 3 along x, one turned and moved; vertices below follow the first, above the second, and
    in the middle each to one half. The node with the skin is moved too, which must do nothing."""
    first, second = transform_of(move=(3, 0, 0)), transform_of(ABOUT_Z, move=(0, 1, 0))
    pose = [transform_of(move=(0, 1, 0)), transform_of(scale=(2, 2, 2))]
    joints = np.tile([0, 1, 0, 0], (24, 1))
    share = np.where(BOX[:, 1] < 0, 1.0, 0.0)
    share[:4] = 0.5
    weights = np.column_stack([share, 1 - share, np.zeros((24, 2))])

    def seen(bound: bool) -> NDArray[np.float64]:
        a, b = (first @ pose[0], second @ pose[1]) if bound else (first, second)
        return (share[:, None] * moved_by(a, BOX) + (1 - share)[:, None] * moved_by(b, BOX))[FACES]

    for names in ("u1", "u2"):
        for component in ("f4", "u1", "u2"):
            document = Document()
            attributes = {
                "JOINTS_0": document.accessor(joints, names),
                "WEIGHTS_0": document.accessor(weights, component, component != "f4"),
            }
            document = skinned(document, attributes, pose)
            near = 0.03 if component == "u1" else 1e-3
            yield f"skin-{names}-{component}", Case(document.glb(), triangles=seen(True), near=near)
    document = Document()
    attributes = {"JOINTS_0": document.accessor(joints, "u1"), "WEIGHTS_0": document.accessor(weights * 7)}
    yield "skin-shares-of-another-sum", Case(skinned(document, attributes, pose).glb(), triangles=seen(True), near=1e-5)
    document = Document()
    attributes = {"JOINTS_0": document.accessor(joints, "u1"), "WEIGHTS_0": document.accessor(weights)}
    yield "skin-in-its-own-pose", Case(skinned(document, attributes, None).glb(), triangles=seen(False), near=1e-5)
    document = Document()
    none = np.zeros((24, 4))
    attributes = {
        "JOINTS_0": document.accessor(none, "u1"),
        "WEIGHTS_0": document.accessor(weights * (1, 0, 0, 0)),
        "JOINTS_1": document.accessor(joints, "u1"),
        "WEIGHTS_1": document.accessor(weights * (0, 1, 0, 0)),
    }
    yield "skin-of-eight-joints", Case(skinned(document, attributes, pose).glb(), triangles=seen(True), near=1e-5)
    document = Document()
    beyond = np.where(weights > 0, joints, 9)
    attributes = {"JOINTS_0": document.accessor(beyond, "u1"), "WEIGHTS_0": document.accessor(weights)}
    yield "skin-beyond-what-holds", Case(skinned(document, attributes, pose).glb(), triangles=seen(True), near=1e-5)
    document = Document()
    attributes = {"JOINTS_0": document.accessor(none, "u1"), "WEIGHTS_0": document.accessor(none)}
    held = Case(skinned(document, attributes, pose).glb(), triangles=moved_by(first @ pose[0]), near=1e-5)
    yield "skin-that-nothing-holds", held
    yield (
        "skin-without-joints",
        Case(
            skinned(Document(), {}, pose).glb(),
            triangles=moved_by(transform_of(move=(9, 9, 9))),
            losses=("skin not applied",),
        ),
    )
