"""A glTF 2.0 file from its bytes: JSON alone, or a GLB of chunks. Which of them is told by the first bytes, whatever
the file is called.

A GLB is a header (`glTF`, version, length of the file) and chunks (length, type, content): JSON first, then at most one
of binary data; chunks of other types belong to extensions and are passed over, as is what follows the stated length.
A file that ends earlier than it says is an error.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from captionless.errors import DataError
from captionless.precompute.meshes.gltf.document import Document, Entry

_MAGIC = b"glTF"
_HEADER = 12
_JSON, _BINARY = 0x4E4F534A, 0x004E4942


def open_document(data: bytes) -> Document:
    """DataError if the bytes are no glTF file of version 2."""
    if not data:
        raise DataError("the glTF file is empty")
    document = _glb(data) if data[:4] == _MAGIC else Document(_json(data))
    _check_version(document.root)
    return document


def _glb(data: bytes) -> Document:
    if len(data) < _HEADER:
        raise DataError(f"the GLB file is truncated: {len(data)} bytes, its header has {_HEADER}")
    version, length = struct.unpack_from("<II", data, 4)
    if version == 1:
        raise DataError("glTF 1.0 is not read")
    if version != 2:
        raise DataError(f"GLB of version {version} is not read")
    if length > len(data):
        raise DataError(f"the GLB file is truncated: {len(data)} bytes of {length}")
    root: Entry | None = None
    binary: memoryview | None = None
    at = _HEADER
    while at + 8 <= length:
        size, kind = struct.unpack_from("<II", data, at)
        at += 8
        if at + size > length:
            raise DataError(f"the GLB file is truncated: a chunk of {size} bytes has {length - at}")
        if root is None:
            if kind != _JSON:
                raise DataError("not a GLB file: its first chunk is not JSON")
            root = _json(data[at : at + size])
        elif kind == _BINARY and binary is None:
            binary = memoryview(data)[at : at + size]
        at += size
    if root is None:
        raise DataError("the GLB file is truncated: it has no JSON")
    return Document(root, binary)


def _json(data: bytes) -> Entry:
    def refused(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    try:
        # Names in another encoding do no harm. The specification has neither byte order marks nor UTF-16; writers do.
        text = data.decode(json.detect_encoding(data), "replace").rstrip("\0")
        return Entry(json.loads(text, parse_constant=refused))
    except (ValueError, RecursionError) as error:
        raise DataError(f"not a glTF file: its header is not valid JSON ({error})") from error


def _check_version(root: Entry) -> None:
    asset = root.entry("asset")
    # Version 1.0 did not require to say itself, and had objects by name where 2.0 has lists.
    version = asset.text("version") if asset is not None else ""
    if version.startswith("1.") or (not version and isinstance(root.raw("meshes"), dict)):
        raise DataError("glTF 1.0 is not read")
    if not version.startswith("2."):
        raise DataError(f"not a glTF 2.0 file: its asset.version is {version!r}" if version else _UNSAID)
    least = asset.text("minVersion", "2.0") if asset is not None else "2.0"
    if least != "2.0":
        raise DataError(f"glTF {least} is not read")


_UNSAID = "not a glTF file: it has no asset.version"
