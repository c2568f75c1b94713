"""What the glTF files of the tests show, and how a file that shows it is put together.

The shape is a box of 24 vertices, a side of which shows a whole picture of four colours, or a plate of four vertices.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.precompute.meshes.gltf_document import Document, Files

Colors = NDArray[np.float64]

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 30), (30, 30, 220), (220, 220, 30)
QUARTERS = {(0, 0): RED, (1, 0): GREEN, (0, 1): BLUE, (1, 1): YELLOW}
"""Of the picture, by column and row from the top left."""

_U, _V = np.array([0.0, 1, 1, 0]), np.array([1.0, 1, 0, 0])  # of a side's corners; v = 0 is the top
SIDE_FACES = np.array([[0, 1, 2], [0, 2, 3]])


def _box() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    corners = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]) / 2
    positions = []
    for axis in range(3):
        for end in (-0.5, 0.5):
            side = np.insert(corners, axis, end, axis=1)
            positions.append(side * (1, 1.5, 2))
    return np.concatenate(positions), np.concatenate([SIDE_FACES + 4 * k for k in range(6)])


BOX, FACES = _box()
UV = np.tile(np.stack([_U, _V], 1), (6, 1))
"""With v = 0 at the top, as glTF has them."""
SIDES = np.repeat([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.2, 0.2, 0.2], [1, 1, 0], [0, 1, 1]], 4, axis=0)
"""Vertex colours, linear light: one for each side."""

PLATE = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])


def picture(size: int = 16, kind: str = "PNG", alpha: int = 255, black: Sequence[tuple[int, int]] = ()) -> bytes:
    """Four colours, in quarters; alpha: opacity of the right half. black: quarters that are."""
    pixels = np.zeros((size, size, 4), np.uint8)
    half = size // 2
    for (column, row), color in QUARTERS.items():
        opacity = alpha if column else 255
        levels = (0, 0, 0) if (column, row) in black else color
        pixels[row * half :][:half, column * half :][:, :half] = (*levels, opacity)
    sink = io.BytesIO()
    image = Image.fromarray(pixels)
    if kind == "JPEG":
        image.convert("RGB").resize((64, 64), Image.Resampling.NEAREST).save(sink, kind, quality=100, subsampling=0)
    elif kind == "AVIF":
        image.resize((64, 64), Image.Resampling.NEAREST).save(sink, kind, quality=100, subsampling="4:4:4")
    elif kind == "WEBP":
        image.save(sink, kind, lossless=True)
    else:
        (image if alpha < 255 else image.convert("RGB")).save(sink, kind)
    return sink.getvalue()


def srgb(linear: Any) -> Colors:
    x = np.clip(np.asarray(linear, np.float64), 0, 1)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055) * 255


def linear(levels: Any) -> Colors:
    x = np.asarray(levels, np.float64) / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def pictured(uv: NDArray[np.float64], faces: NDArray[np.int64] = FACES) -> Colors:
    """(F, 3) levels of the picture in the middle of each face, its coordinates between 0 and 1."""
    middle = uv[faces].mean(axis=1)
    return np.array([QUARTERS[int(u >= 0.5), int(v >= 0.5)] for u, v in middle % 1], np.float64)


WHITE = np.full((12, 3), 255.0)
SEEN = pictured(UV)
SIDE = SIDES[FACES[:, 0]]
"""(F, 3) linear light of the faces under `SIDES`."""


@dataclass(frozen=True)
class Case:
    """files: the object. triangles: (F, 3, 3) in the world, `near`: as a share of their size. colors: (F, 3) levels in
    the middles, `tolerance`: in levels. opacity: (F,). losses: kinds of what must be told. error: a pattern of the one
    line, if the file is to be refused."""

    files: Files
    triangles: NDArray[np.float64] = field(default_factory=lambda: BOX[FACES])
    colors: Colors = field(default_factory=lambda: WHITE)
    opacity: NDArray[np.float64] | float = 1.0
    losses: tuple[str, ...] = ()
    error: str = ""
    tolerance: float = 0.6
    near: float = 1e-6
    expected: dict[str, Any] = field(default_factory=dict)
    """Of every part: alpha, cutoff, unlit."""


Look = dict[str, Any]


def shown(
    document: Document,
    *,
    positions: int | None = None,
    uv: int | None = None,
    colors: int | None = None,
    indices: int | None = -1,
    material: Look | None = None,
    node: dict[str, Any] | None = None,
    mesh: dict[str, Any] | None = None,
    **primitive: Any,
) -> Document:
    """The document with a box of these accessors shown in it."""
    attributes = {"POSITION": document.accessor(BOX) if positions is None else positions}
    if uv is not None:
        attributes["TEXCOORD_0"] = uv
    if colors is not None:
        attributes["COLOR_0"] = colors
    entry: dict[str, Any] = {"attributes": attributes | primitive.pop("attributes", {}), **primitive}
    if indices == -1:
        indices = document.indices(FACES)
    if indices is not None:
        entry["indices"] = indices
    if material is not None:
        entry["material"] = document.add("materials", material)
    document.node({"mesh": document.mesh(entry, **(mesh or {})), **(node or {})})
    return document


def textured(document: Document, info: dict[str, Any] | None = None, **texture: Any) -> Look:
    data = texture.pop("data", None)
    index = document.texture(picture() if data is None else data, **texture)
    return {"pbrMetallicRoughness": {"baseColorTexture": {"index": index, **(info or {})}}}


def plain_box() -> Document:
    return shown(Document(), uv=None)


def picture_box(**texture: Any) -> Document:
    document = Document()
    return shown(document, uv=document.accessor(UV), material=textured(document, **texture))


def moved(**transform: Any) -> dict[str, Any]:
    return {"extensions": {"KHR_texture_transform": transform}}


def flat(color: Any) -> Colors:
    return np.tile(srgb(color), (12, 1))


def on_box(material: Look, document: Document | None = None, uses: str = "", **case: Any) -> Case:
    """A box of a material; document: where its textures are."""
    document = document or Document()
    if uses:
        document.uses(uses)
    return Case(shown(document, uv=document.accessor(UV), material=material).glb(), **case)


def placed(node: dict[str, Any], matrix: NDArray[np.float64], **case: Any) -> Case:
    return Case(shown(Document(), node=node).glb(), triangles=moved_by(matrix), **case)


def moved_by(matrix: Any, points: NDArray[np.float64] = BOX[FACES]) -> NDArray[np.float64]:
    matrix = np.asarray(matrix, np.float64)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def transform_of(turn: Any = np.eye(3), scale: Any = (1, 1, 1), move: Any = (0, 0, 0)) -> NDArray[np.float64]:
    found = np.eye(4)
    found[:3, :3] = np.asarray(turn) * scale
    found[:3, 3] = move
    return found


HALF = np.sqrt(0.5)
ABOUT_Z = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
"""A quarter turn about z: the quaternion (0, 0, HALF, HALF)."""


def skinned(document: Document, attributes: dict[str, int], pose: list[NDArray[np.float64]] | None) -> Document:
    above = document.node({"translation": [3, 0, 0], "children": [1]})
    document.node({"translation": [-3, 1, 0], "rotation": [0, 0, HALF, HALF]}, shown=False)
    skin: dict[str, Any] = {"joints": [above, 1]}
    if pose is not None:
        skin["inverseBindMatrices"] = document.accessor(np.array([m.T.reshape(-1) for m in pose]))
    document.add("skins", skin)
    return shown(document, attributes=attributes, node={"skin": 0, "translation": [9, 9, 9]})
