"""A tetrahedron in every format of meshes: what shows that a reader works, and compiles it."""

from __future__ import annotations

import base64
import json
import struct
from itertools import chain
from typing import Any

_CORNERS = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
FACES = ((0, 1, 2), (0, 3, 1), (0, 2, 3), (1, 3, 2))


def tetrahedra() -> dict[str, bytes]:
    """A small file of each format, by its suffix."""

    def lines(rows: tuple[tuple[int, ...], ...], before: str = "", add: int = 0) -> str:
        return "".join(before + " ".join(str(value + add) for value in row) + "\n" for row in rows)

    ply = "element vertex 4\nproperty float x\nproperty float y\nproperty float z\nelement face 4\n"
    facets = "".join(
        "facet normal 0 0 0\nouter loop\n" + lines(tuple(_CORNERS[i] for i in face), "vertex ") + "endloop\nendfacet\n"
        for face in FACES
    )
    return {
        "obj": (lines(_CORNERS, "v ") + lines(FACES, "f ", 1)).encode(),
        "off": ("OFF\n4 4 0\n" + lines(_CORNERS) + lines(FACES, "3 ")).encode(),
        "ply": (
            f"ply\nformat ascii 1.0\n{ply}property list uchar int vertex_indices\nend_header\n"
            + lines(_CORNERS)
            + lines(FACES, "3 ")
        ).encode(),
        "stl": f"solid\n{facets}endsolid\n".encode(),
        "gltf": json.dumps(_gltf({"uri": f"data:;base64,{base64.b64encode(_BUFFER).decode()}"})).encode(),
        "glb": _glb(),
    }


_BUFFER = struct.pack("<12f", *chain(*_CORNERS)) + bytes(chain(*FACES))


def _gltf(place: dict[str, str]) -> dict[str, Any]:
    """A glTF scene whose buffer is at a place."""
    return {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {
                "bufferView": 0, "componentType": 5126, "type": "VEC3", "count": 4, "min": [-1, -1, -1],
                "max": [1, 1, 1],
            },
            {"bufferView": 1, "componentType": 5121, "type": "SCALAR", "count": 12},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 48},
            {"buffer": 0, "byteOffset": 48, "byteLength": 12},
        ],
        "buffers": [{"byteLength": len(_BUFFER), **place}],
    }  # fmt: skip


def _glb() -> bytes:
    text = json.dumps(_gltf({})).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(_BUFFER), b"BIN\0") + _BUFFER
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
