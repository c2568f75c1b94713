"""The bytes that a glTF file's accessors and pictures are cut from: buffers, and views of them.

A buffer is the GLB's binary chunk, a `data:` URI or a file beside; it must have as many bytes as it says. A view is a
range of a buffer, which EXT_meshopt_compression may have stored in fewer bytes.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from urllib.parse import unquote, unquote_to_bytes

from captionless.errors import DataError
from captionless.precompute.meshes.gltf import meshopt
from captionless.precompute.meshes.gltf.document import Document, Entry
from captionless.precompute.meshes.gltf.meshopt_filters import Damaged
from captionless.precompute.object_files import ObjectFiles
from captionless.spec.data import ReadingLimits

_MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")


@dataclass(frozen=True)
class View:
    """A range of bytes; stride: bytes from one element to the next, or None if they follow each other directly."""

    data: memoryview
    stride: int | None


class Buffers:
    """Reads each buffer once, when it is first asked for."""

    def __init__(self, document: Document, files: ObjectFiles, limits: ReadingLimits) -> None:
        self._document = document
        self._files = files
        self._limits = limits
        self._buffers: dict[int, memoryview] = {}
        self._unpacked: dict[int, View] = {}
        self._size = 0

    def view(self, index: int, by: str) -> View:
        """The view that `by`, a place in the document, names. DataError if it is damaged or not there."""
        if index in self._unpacked:
            return self._unpacked[index]
        entry = self._document.get("bufferViews", index, by)
        for name in _MESHOPT:
            if (packed := entry.extension(name)) is not None:
                self._unpacked[index] = self._unpack(packed, name)
                return self._unpacked[index]
        stride = entry.index("byteStride")
        if stride is not None and not 0 < stride <= 1 << 16:
            raise DataError(f"{entry.place('byteStride')}: expected 4 to 252 bytes, found {stride}")
        return View(self._range(entry), stride)

    def file(self, uri: str) -> bytes | None:
        """What a URI names: the content of a `data:` URI, or of a file beside; None if there is no such file."""
        if uri[:5].lower() == "data:":
            return self._limited(_inline(uri))
        found = self._files.named(unquote(uri))
        return found if found is None else self._limited(found)

    def _range(self, entry: Entry) -> memoryview:
        at = entry.place("buffer")
        buffer = self._buffer(entry.whole("buffer"), at)
        start, size = entry.whole("byteOffset", 0), entry.whole("byteLength")
        if start + size > len(buffer):
            raise DataError(f"{entry.at}: ends at byte {start + size} of a buffer of {len(buffer)}")
        return buffer[start : start + size]

    def _buffer(self, index: int, by: str) -> memoryview:
        if index not in self._buffers:
            entry = self._document.get("buffers", index, by)
            content = self._content(entry)
            size = entry.whole("byteLength")
            if len(content) < size:
                raise DataError(f"{entry.at} is truncated: {len(content)} bytes of {size}")
            self._buffers[index] = content[:size]
        return self._buffers[index]

    def _content(self, entry: Entry) -> memoryview:
        uri = entry.text("uri")
        if not uri:
            if self._document.binary is None:
                raise DataError(f"{entry.at}: names no file, and there is no binary chunk")
            return self._document.binary
        found = self.file(uri)
        if found is None:
            raise DataError(f"{entry.at}: refers to {uri[:200]}, which does not exist")
        return memoryview(found)

    def _limited(self, content: bytes) -> bytes:
        self._grow(len(content))
        return content

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._limits.bytes:
            raise DataError(f"its buffers and pictures have more than {self._limits.bytes} bytes")

    def _unpack(self, entry: Entry, name: str) -> View:
        packed = self._range(entry)
        count, stride = entry.whole("count"), entry.whole("byteStride")
        self._grow(count * stride)
        mode, kind = entry.text("mode"), entry.text("filter", "NONE")
        try:
            data = meshopt.decode(packed, count, stride, mode, kind)
        except Damaged as error:
            raise DataError(f"{entry.at}: its {name} stream is damaged: {error}") from error
        # Indices are stored without gaps, and views of indices have no stride.
        return View(memoryview(data.tobytes()), stride if mode == "ATTRIBUTES" else None)


def _inline(uri: str) -> bytes:
    head, comma, body = uri.partition(",")
    if not comma:
        raise DataError("a data: URI has no content")
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(body)
    text = "".join(unquote(body).split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"a data: URI is not valid base64: {error}") from error
