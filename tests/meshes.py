"""Small mesh files of every format that is read, valid ones, and mutations of them as transfers and exporters damage
files and as somebody might who means harm. Seeded: the same on every machine."""

from __future__ import annotations

import io
import json
import random
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import trimesh
from PIL import Image

Files = dict[str, bytes]
"""Of one object, by path below its folder; its own file is the first."""

HOSTILE_NAMES = (
    "/dev/zero", "/dev/stdin", "/proc/self/environ", "../../../../../../etc/hostname", "/etc/hostname",
    "http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:9/x.png", "ftp://127.0.0.1/x.png", "file:///etc/passwd",
    "s3://other/x.png", "zip://a::/etc/hostname", "a%00b.png", "a" * 256, "x/" * 3000, "..", ".", "/", "loop.png",
    "pipe.png", "folder", "x.obj/x.png", "\\\\host\\share\\x.png", "C:\\x.png", "%2e%2e/%2e%2e/x.png", "\t", "💥.png",
)  # fmt: skip
HOSTILE_NUMBERS = (
    "nan", "inf", "-inf", "1e308", "-1e308", "1e39", "-1", "0", "4294967295", "4294967296", "9223372036854775807",
    "99999999999999999999", "-2147483648", "1e-320", "", "abc", "0x10", "1" * 400,
)  # fmt: skip


def picture(size: int = 8) -> bytes:
    """A PNG of four colours."""
    pixels = np.zeros((size, size, 3), np.uint8)
    half = size // 2
    pixels[:half, :half], pixels[:half, half:] = (220, 30, 30), (30, 200, 30)
    pixels[half:, :half], pixels[half:, half:] = (30, 30, 220), (220, 220, 30)
    found = io.BytesIO()
    Image.fromarray(pixels).save(found, "png")
    return found.getvalue()


def _textured() -> trimesh.Trimesh:
    box = trimesh.creation.box((1, 2, 3))
    uv = np.random.default_rng(0).random((len(box.vertices), 2))
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.open(io.BytesIO(picture())))
    box.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    return box


def _obj() -> Files:
    box = trimesh.creation.box((1, 2, 3))
    lines = ["mtllib x.mtl", *(f"v {x} {y} {z}" for x, y, z in box.vertices), "vt 0 0", "vt 1 0", "vt 0 1", "usemtl m"]
    lines += [f"f {a + 1}/1 {b + 1}/2 {c + 1}/3" for a, b, c in box.faces]
    return {
        "x.obj": ("\n".join(lines) + "\n").encode(),
        "x.mtl": b"newmtl m\nKd 0.5 0.5 0.5\nmap_Kd x.png\n",
        "x.png": picture(),
    }


def _ply_with_texture() -> Files:
    header = (
        "ply\nformat ascii 1.0\ncomment TextureFile x.png\nelement vertex 3\nproperty float x\nproperty float y\n"
        "property float z\nproperty float s\nproperty float t\nelement face 1\n"
        "property list uchar int vertex_indices\nend_header\n"
    )
    return {"x.ply": (header + "0 0 0 0 0\n1 0 0 1 0\n0 1 0 0 1\n3 0 1 2\n").encode(), "x.png": picture()}


def _gltf() -> Files:
    found = trimesh.Scene(_textured()).export(file_type="gltf")
    return {"x.gltf": found.pop("model.gltf"), **found}


def _exported(kind: str, **options: Any) -> Files:
    shape = _textured() if kind == "glb" else trimesh.creation.box((1, 2, 3))
    data = shape.export(file_type=kind, **options)
    return {f"x.{kind.removesuffix('_ascii')}": data.encode() if isinstance(data, str) else data}


VALID: Mapping[str, Callable[[], Files]] = {
    "obj": _obj,
    "ply": lambda: _exported("ply"),
    "ply-ascii": lambda: _exported("ply", encoding="ascii"),
    "ply-texture": _ply_with_texture,
    "stl": lambda: _exported("stl"),
    "stl-ascii": lambda: _exported("stl_ascii"),
    "off": lambda: _exported("off"),
    "glb": lambda: _exported("glb"),
    "gltf": _gltf,
}


def glb(document: dict[str, Any], binary: bytes = b"") -> bytes:
    """A GLB of a JSON chunk and a binary one."""
    head = json.dumps(document).encode()
    head += b" " * (-len(head) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<II", len(head), 0x4E4F534A) + head + struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks


def _triangle(node: dict[str, Any] | None = None, index: int = 2, kind: str = "VEC3") -> Files:
    """A triangle with vertex colours, of the vertices 0, 1 and `index`, in the first of two nodes."""
    positions = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)[:, : int(kind[3])].tobytes()
    parts = [positions, np.full((3, 4), 255, np.uint8).tobytes(), np.array([0, 1, index, 0], np.uint16).tobytes()]
    starts = [sum(map(len, parts[:i])) for i in range(4)]
    views = [{"buffer": 0, "byteOffset": starts[i], "byteLength": len(parts[i])} for i in range(3)]
    primitive = {"attributes": {"POSITION": 0, "COLOR_0": 1}, "indices": 2}
    document = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}],
        "nodes": [node or {"mesh": 0}, {"mesh": 0}],
        "cameras": [{"type": "perspective", "perspective": {"yfov": 1, "znear": 1}}],
        "meshes": [{"primitives": [primitive]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": kind, "min": [0] * 3, "max": [1] * 3},
            {"bufferView": 1, "componentType": 5121, "count": 3, "type": "VEC4", "normalized": True},
            {"bufferView": 2, "componentType": 5123, "count": 3, "type": "SCALAR"},
        ],
        "bufferViews": views, "buffers": [{"byteLength": starts[3]}],
    }  # fmt: skip
    return {"x.glb": glb(document, b"".join(parts))}


def _obj_naming(name: str) -> Files:
    files = _obj()
    files["x.obj"] = files["x.obj"].replace(b"x.mtl", name.encode("utf-8", "surrogatepass"))
    return files


CRASHES: Mapping[str, Callable[[], Files]] = {
    "glb-2d-positions": lambda: _triangle(kind="VEC2"),
    "glb-colours-index-out-of-range": lambda: _triangle(index=99),
    "glb-mesh-below-camera": lambda: _triangle(node={"camera": 0, "children": [1]}),
    "glb-node-is-its-own-child": lambda: _triangle(node={"mesh": 0, "children": [0]}),
    "glb-deep": lambda: {"x.glb": struct.pack("<IIIII", 0x46546C67, 2, 200_020, 200_000, 0x4E4F534A) + b"[" * 200_000},
    "gltf-buffer-of-a-terabyte": lambda: {
        "x.gltf": json.dumps(
            {"asset": {"version": "2.0"}, "buffers": [{"uri": "x.bin", "byteLength": 1 << 40}]}
        ).encode()
    },
    "ply-of-a-billion-vertices": lambda: {
        "x.ply": _exported("ply")["x.ply"].replace(b"element vertex 8", b"element vertex 1000000000")
    },
    "stl-of-a-billion-faces": lambda: {"x.stl": bytes(80) + struct.pack("<I", 10**9) + bytes(50)},
    "off-of-a-billion-vertices": lambda: {"x.off": b"OFF\n1000000000 1000000000 0\n0 0 0\n"},
    "obj-names-dev-zero": lambda: _obj_naming("/dev/zero"),
    "obj-names-itself-below-itself": lambda: _obj_naming("x.obj/x.mtl"),
    "obj-names-a-long-name": lambda: _obj_naming("a" * 300),
    "obj-of-ten-thousand-libraries": lambda: {"x.obj": b"".join(b"mtllib %d.mtl\n" % i for i in range(10_000))},
    "png-is-a-bomb": lambda: {**_obj(), "x.png": _bomb()},
    "empty": lambda: {"x.obj": b""},
}
"""Files that made a stage end, or a process die."""


def _bomb() -> bytes:
    found = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(found, "png")
    return found.getvalue()


def mutated(kind: str, number: int) -> Files:
    """The `number`-th mutation of the valid files of a kind: most are broken, some may be harmless."""
    chance = random.Random(f"{kind}-{number}")
    files = VALID[kind]()
    name = chance.choice([*files, next(iter(files))])  # the own file more often
    text = kind in ("obj", "off", "gltf") or "ascii" in kind or "texture" in kind or name.endswith(".mtl")
    ways = [_flip, _flip, _cut, _swap, _repeat, _insert, _overwrite]
    if text and not name.endswith((".png", ".bin")):
        ways += [_number, _number, _number, _line, _line]
    if kind in ("obj", "gltf", "glb", "ply-texture"):
        ways += [_name, _name]
    for _ in range(chance.choice((1, 1, 2, 4))):
        files[name] = chance.choice(ways)(files[name], chance)
    return files


def _flip(data: bytes, chance: random.Random) -> bytes:
    found = bytearray(data)
    for _ in range(chance.choice((1, 8, 64))):
        if found:
            found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)
    return bytes(found)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _pieces(data: bytes, chance: random.Random) -> tuple[bytes, bytes, bytes, bytes]:
    a, b, c = sorted(chance.randrange(len(data) + 1) for _ in range(3))
    return data[:a], data[a:b], data[b:c], data[c:]


def _swap(data: bytes, chance: random.Random) -> bytes:
    a, b, c, d = _pieces(data, chance)
    return a + c + b + d


def _repeat(data: bytes, chance: random.Random) -> bytes:
    a, b, c, d = _pieces(data, chance)
    return a + b * chance.choice((2, 50)) + c + d


def _insert(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.randbytes(chance.choice((1, 16, 1000))) + data[at:]


def _overwrite(data: bytes, chance: random.Random) -> bytes:
    """Four bytes that may be a count or an offset."""
    at = chance.randrange(max(len(data) - 4, 1))
    value = chance.choice((0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0, 0x7FC00000, 0x7F800000))
    return data[:at] + struct.pack("<I", value) + data[at + 4 :]


def _number(data: bytes, chance: random.Random) -> bytes:
    found = list(re.finditer(rb"-?\d[\d.e+-]*", data))
    if not found:
        return data
    one = chance.choice(found)
    return data[: one.start()] + chance.choice(HOSTILE_NUMBERS).encode() + data[one.end() :]


def _line(data: bytes, chance: random.Random) -> bytes:
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    lines[at : at + 1] = chance.choice(([], [lines[at]] * 3, [b" ".join(lines[at].split()[::-1])], [b"\0" * 9]))
    return b"\n".join(lines)


def _name(data: bytes, chance: random.Random) -> bytes:
    found = list(re.finditer(rb"[\w.]+\.(?:mtl|png|bin)", data))
    if not found:
        return data
    one = chance.choice(found)
    name = json.dumps(chance.choice(HOSTILE_NAMES), ensure_ascii=False)[1:-1].encode()
    return data[: one.start()] + name + data[one.end() :]
