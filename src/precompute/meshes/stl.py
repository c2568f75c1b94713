"""STL (3D Systems, "StereoLithography Interface Specification", 1989), text and binary: triangles.

Which of the two a file is, its length says rather than its first word: exporters write "solid" into binary headers too.
Colours are read as Materialise Magics writes them; other uses of the attribute bytes are told.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.mesh import Mesh, MeshPart
from captionless.precompute.meshes.lexing import plain
from captionless.precompute.meshes.polygons import triangulated
from captionless.precompute.meshes.reading import Reading
from captionless.precompute.meshes.splitting import split
from captionless.precompute.meshes.stl_text import facets
from captionless.precompute.meshes.told import Told
from captionless.precompute.object_files import ObjectFiles
from captionless.spec.data import ReadingLimits

_HEADER = 84
_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_LOOKED_AT = 4096  # bytes in which a text file shows itself
_TEXT = re.compile(rb"\s*solid\b", re.IGNORECASE)  # without it, text has at least no byte of 0
_STATEMENT = re.compile(rb"\bfacet\s+normal\b|\bend\s*solid\b", re.IGNORECASE)
_MAGICS = b"COLOR="


def read(data: bytes, files: ObjectFiles, limits: ReadingLimits) -> Reading:
    """The mesh of an STL file; see `reading.Reader`."""
    told = Told()
    part = _text(plain(data), limits) if _is_text(data) else _binary(data, limits, told)
    return Reading(Mesh((part,) if len(part.faces) else ()), told.losses())


def _is_text(data: bytes) -> bool:
    count = int.from_bytes(data[80:_HEADER], "little")
    if len(data) >= _HEADER and len(data) == _HEADER + count * _RECORD.itemsize:
        return False
    start = plain(data[:_LOOKED_AT])
    return bool((_TEXT.match(start) or b"\0" not in start) and _STATEMENT.search(start))


def _text(data: bytes, limits: ReadingLimits) -> MeshPart:
    vertices, sizes = facets(data, limits)
    corners = np.arange(len(vertices), dtype=np.int32)
    triangles, _ = triangulated(vertices, sizes, corners)
    (piece,) = split(np.zeros(len(triangles), np.int32), triangles, None, len(vertices)) or (None,)
    return MeshPart(vertices, triangles) if piece is None else MeshPart(vertices[piece.positions], piece.faces)


def _binary(data: bytes, limits: ReadingLimits, told: Told) -> MeshPart:
    if len(data) < _HEADER:
        raise DataError(f"is not an STL file: {len(data)} bytes, neither text that begins with solid nor a header")
    count = int.from_bytes(data[80:_HEADER], "little")
    there = (len(data) - _HEADER) // _RECORD.itemsize
    if count > there:
        raise DataError(f"has {count} faces by its header and {there} by its length: it is truncated, or no STL file")
    if count > limits.faces:
        raise DataError(f"has {count} faces; at most {limits.faces} are supported: simplify the mesh")
    if count < there and _is_facet(np.frombuffer(data, _RECORD, 1, _HEADER + count * _RECORD.itemsize)[0]):
        told("faces dropped", f"{there - count} behind the {count} that are counted")
    table = np.frombuffer(data, _RECORD, count, _HEADER)
    with np.errstate(invalid="ignore"):  # NaN that signals; `surface` refuses any
        vertices = table["corners"].astype(np.float64).reshape(-1, 3)
    faces = np.arange(len(vertices), dtype=np.int32).reshape(-1, 3)
    return MeshPart(vertices, faces, **_colored(data[:80], table["attribute"], told))


def _is_facet(record: np.void) -> bool:
    """Whether bytes behind the last facet look like one more: a normal of length 0 or 1, and corners that differ."""
    corners = record["corners"].astype(np.float64)
    length = float(np.linalg.norm(record["normal"].astype(np.float64)))
    return bool(
        np.isfinite(corners).all() and np.ptp(corners, axis=0).any() and (length == 0 or abs(length - 1) < 0.01)
    )


def _colored(head: bytes, attributes: NDArray[np.uint16], told: Told) -> dict[str, Any]:
    """Magics writes the object's colour into the header, and that of a face as 5 bits each, the top bit clear; with the
    top bit set a face has the object's, unless MeshLab has written its own beside it. Zeros alone say nothing."""
    at = head.find(_MAGICS)
    if at < 0 or at + len(_MAGICS) + 3 > len(head):
        if attributes.any():
            told("colours dropped", "attribute bytes of faces, whose meaning the file does not say")
        return {}
    red, green, blue = head[at + len(_MAGICS) :][:3]
    if not attributes.any():
        return {"color": (red, green, blue)}
    levels = np.stack([attributes >> shift & 31 for shift in (0, 5, 10)], axis=1)
    own = ~np.isin(attributes, (0x8000, 0xFFFF))
    colors = np.where(own[:, None], np.rint(levels * (255 / 31)), (red, green, blue)).astype(np.uint8)
    return {"color": (red, green, blue), "face_colors": colors}
