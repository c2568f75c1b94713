"""Writes glTF documents piece by piece, in every encoding of numbers and every way to store bytes. An encoder of our
own: what reads the files shares nothing with it."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

Files = dict[str, bytes]
"""Of one object, by path below its folder; its own file is the first."""

COMPONENTS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126, "f8": 5130}
TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


def stored(values: Any, component: str, normalized: bool = False) -> NDArray[Any]:
    """(N, C) as an accessor of that component type holds them; normalized: fractions as whole numbers."""
    found = np.asarray(values, np.float64)
    found = found[:, None] if found.ndim == 1 else found
    if normalized:
        found = np.rint(found * np.iinfo(component).max)
    return found.astype("<" + component)


class Document:
    """The JSON, and the bytes of its one buffer."""

    def __init__(self) -> None:
        self.json: dict[str, Any] = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": []}]}
        self.blob = bytearray()
        self.beside: Files = {}

    def add(self, kind: str, entry: dict[str, Any]) -> int:
        entries = self.json.setdefault(kind, [])
        entries.append(entry)
        return len(entries) - 1

    def uses(self, name: str, required: bool = False) -> None:
        for kind in ("extensionsUsed", *(["extensionsRequired"] if required else [])):
            if name not in self.json.setdefault(kind, []):
                self.json[kind].append(name)

    def view(self, data: bytes, **more: Any) -> int:
        self.blob += bytes(-len(self.blob) % 8)
        entry = {"buffer": 0, "byteOffset": len(self.blob), "byteLength": len(data), **more}
        self.blob += data
        return self.add("bufferViews", entry)

    def accessor(
        self,
        values: Any,
        component: str = "f4",
        normalized: bool = False,
        how: str = "plain",
        **more: Any,
    ) -> int:
        """how: `plain`; `strided`, with bytes of others between elements; `offset`, after others in one view; `sparse`,
        every second element replaced; `sparse-only`, no view below; `meshopt`."""
        data = stored(values, component, normalized)
        count, width = data.shape
        entry: dict[str, Any] = {
            "componentType": COMPONENTS[component], "count": count, "type": TYPES[width], **more
        }  # fmt: skip
        if normalized:
            entry["normalized"] = True
        raw = data.tobytes()
        size = data.itemsize * width
        if how == "plain":
            entry["bufferView"] = self.view(raw)
        elif how == "offset":
            entry |= {"bufferView": self.view(b"\x7f" * 16 + raw), "byteOffset": 16}
        elif how == "strided":
            stride = (size + 8) // 4 * 4
            rows = np.full((count, stride), 0x55, np.uint8)
            rows[:, 4 : 4 + size] = data.view(np.uint8).reshape(count, size)
            entry |= {"bufferView": self.view(rows.tobytes(), byteStride=stride), "byteOffset": 4}
        elif how in ("sparse", "sparse-only"):
            places = np.arange(0, count, 2 if how == "sparse" else 1)
            if how == "sparse":
                below = data.copy()
                below[places] = 1
                entry["bufferView"] = self.view(below.tobytes())
            entry["sparse"] = {
                "count": len(places),
                "indices": {"bufferView": self.view(places.astype("<u2").tobytes()), "componentType": 5123},
                "values": {"bufferView": self.view(data[places].tobytes())},
            }
        elif how == "meshopt":
            stride = (size + 3) // 4 * 4
            rows = np.zeros((count, stride), np.uint8)
            rows[:, :size] = data.view(np.uint8).reshape(count, size)
            entry["bufferView"] = self.packed(meshopt_vertices(rows), count, stride, "ATTRIBUTES")
        else:
            raise ValueError(how)
        return self.add("accessors", entry)

    def packed(self, stream: bytes, count: int, stride: int, mode: str) -> int:
        """A view of EXT_meshopt_compression; its fallback buffer has no bytes."""
        self.uses("EXT_meshopt_compression", required=True)
        index = self.view(stream)
        entry = self.json["bufferViews"][index]
        extension = {**entry, "count": count, "byteStride": stride, "mode": mode}
        fallback = {"buffer": 1, "byteOffset": 0, "byteLength": count * stride}
        if mode == "ATTRIBUTES":
            fallback["byteStride"] = stride
        self.json["bufferViews"][index] = {**fallback, "extensions": {"EXT_meshopt_compression": extension}}
        return index

    def indices(self, values: Any, component: str = "u2", how: str = "plain") -> int:
        if how == "meshopt":
            data = stored(np.reshape(values, -1), component)
            entry = {"componentType": COMPONENTS[component], "count": len(data), "type": "SCALAR"}
            stream = meshopt_triangles(data.reshape(-1, 3))
            view = self.packed(stream, len(data), data.itemsize, "TRIANGLES")
            return self.add("accessors", {**entry, "bufferView": view})
        return self.accessor(np.asarray(values).reshape(-1), component, how=how)

    def node(self, entry: dict[str, Any], shown: bool = True) -> int:
        index = self.add("nodes", entry)
        if shown:
            self.json["scenes"][0]["nodes"].append(index)
        return index

    def mesh(self, *primitives: dict[str, Any], **more: Any) -> int:
        return self.add("meshes", {"primitives": list(primitives), **more})

    def texture(self, data: bytes, how: str = "view", sampler: dict[str, Any] | None = None, **more: Any) -> int:
        """how: `view`, `data` (a URI), or the name of a file beside."""
        if how == "view":
            image: dict[str, Any] = {"bufferView": self.view(data), "mimeType": "image/png"}
        elif how == "data":
            image = {"uri": "data:image/png;base64," + base64.b64encode(data).decode()}
        else:
            image = {"uri": quote(how)}
            if data:
                self.beside[how] = data
        entry: dict[str, Any] = {"source": self.add("images", image), **more}
        if sampler is not None:
            entry["sampler"] = self.add("samplers", sampler)
        return self.add("textures", entry)

    def _buffers(self, **first: Any) -> list[dict[str, Any]]:
        found = [{"byteLength": len(self.blob), **first}]
        packed = [v for v in self.json.get("bufferViews", ()) if v["buffer"] == 1]
        if packed:
            found.append({"byteLength": max(v["byteLength"] for v in packed)})
        return found

    def glb(self, name: str = "x.glb", **how: Any) -> Files:
        return {name: glb({**self.json, "buffers": self._buffers()}, bytes(self.blob), **how), **self.beside}

    def gltf(self, buffer: str = "x.bin", head: bytes = b"") -> Files:
        """The JSON alone, its buffer in a file beside, or in a `data:` URI if `buffer` is empty."""
        if buffer:
            uri = quote(buffer)
        else:
            uri = "data:application/octet-stream;base64," + base64.b64encode(self.blob).decode()
        text = json.dumps({**self.json, "buffers": self._buffers(uri=uri)}).encode()
        return {"x.gltf": head + text, **({buffer: bytes(self.blob)} if buffer else {}), **self.beside}


def glb(
    document: dict[str, Any],
    binary: bytes = b"",
    more: bytes = b"",
    padding: bytes = b" ",
    trailing: bytes = b"",
) -> bytes:
    """more: chunks after the two. trailing: bytes after the file's own end."""
    head = json.dumps(document).encode()
    head += padding * (-len(head) % 4)
    binary += bytes(-len(binary) % 4)
    chunks = struct.pack("<II", len(head), 0x4E4F534A) + head
    if binary:
        chunks += struct.pack("<II", len(binary), 0x004E4942) + binary
    chunks += more
    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks + trailing


def as_gltf(files: Files) -> Files | None:
    """A GLB object as JSON with its buffer in a file beside; None if the own file is none that is whole."""
    name, data = next(iter(files.items()))
    if data[:4] != b"glTF":
        return files if data else None
    size = struct.unpack_from("<I", data, 12)[0]
    document = json.loads(data[20 : 20 + size].rstrip(b"\0"))
    for buffer in document.get("buffers", [])[:1]:
        buffer["uri"] = "buffer.bin"
    beside = {path: content for path, content in files.items() if path != name}
    binary = data[28 + size :]
    return {"x.gltf": json.dumps(document).encode(), "buffer.bin": binary, **beside}


def meshopt_vertices(rows: NDArray[np.uint8]) -> bytes:
    """A stream of version 0 of rows of bytes, differences stored whole."""
    count, stride = rows.shape
    differences = np.diff(rows.astype(np.int16), axis=0, prepend=np.zeros((1, stride), np.int16)).astype(np.int8)
    zigzag = ((differences.astype(np.int16) << 1) ^ (differences.astype(np.int16) >> 7)).astype(np.uint8)
    found = bytearray(b"\xa0")
    block = min(8192 // stride & ~15, 256)
    for start in range(0, count, block):
        part = zigzag[start : start + block]
        groups = -(-len(part) // 16)
        padded = np.zeros((groups * 16, stride), np.uint8)
        padded[: len(part)] = part
        for channel in range(stride):
            found += b"\xff" * -(-groups // 4) + padded[:, channel].tobytes()
    return bytes(found) + bytes(max(32, stride))


def meshopt_triangles(faces: NDArray[Any]) -> bytes:
    """A stream of version 1 whose triangles name all of their vertices."""
    data = bytearray()
    last = 0
    for face in faces.tolist():
        data.append(0xFF)
        for corner in face:
            step = corner - last
            last = corner
            value = (step << 1) ^ (step >> 63) if step >= 0 else (-step << 1) - 1
            while value >= 128:
                data.append(value & 127 | 128)
                value >>= 7
            data.append(value)
    return b"\xe1" + b"\xff" * len(faces) + bytes(data) + bytes(16)
