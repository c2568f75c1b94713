"""The container of a KTX 2.0 file: what the texture is, and the bytes of its largest level.

Of a file's levels only the first is looked at: smaller copies are made by the renderer, alike for all textures. All
lengths are compared with the file's before anything is made of them, and what Zstandard or zlib give back is as long as
the picture's size says, or refused.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import pyarrow

MAGIC = b"\xabKTX 20\xbb\r\n\x1a\n"

BASIS_LZ, ZSTANDARD, ZLIB = 1, 2, 3
"""Schemes of supercompression; 0 is none."""

ETC1S, UASTC = 163, 166
"""Colour models of the data format descriptor."""

_PLAIN = {23: 3, 29: 3, 37: 4, 43: 4}  # VkFormat: R8G8B8 and R8G8B8A8, linear and sRGB, and their channels
_HEADER = struct.Struct("<12s9I4I2Q")
_LEVEL = struct.Struct("<3Q")
_SAMPLE = 16
_MOST_DESCRIPTOR = 1 << 16


class Damaged(ValueError):
    """What is wrong with a file, and in which of its streams; a part of a sentence."""


@dataclass(frozen=True)
class Texture:
    """level: the first one's bytes, without Zstandard or zlib. global_data: the codebooks of BasisLZ.

    model: `ETC1S`, `UASTC`, or 0 for plain texels of `channels`. has_alpha: of Basis textures. images: those of all
    levels, which the codebooks describe.
    """

    width: int
    height: int
    model: int
    channels: int
    has_alpha: bool
    level: bytes
    global_data: bytes
    images: int


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height, as the header has them. `Damaged` without a header."""
    header = _header(data)
    return header[3], header[4]


def open_texture(data: bytes) -> Texture:
    """The texture in a file. `Damaged` says what is wrong with it, or which kind of texture is not read."""
    (
        _, vk_format, _, width, height, depth, layers, faces, levels, scheme,
        dfd_at, dfd_length, _, _, global_at, global_length,
    ) = _header(data)  # fmt: skip
    if not width or not height or not faces:
        raise Damaged("its header: a texture of no width, height or faces")
    if depth or layers > 1 or faces != 1:
        raise Damaged("it is a volume, a list or a cube of textures, which are not read")
    model, channels, has_alpha = _kind(_cut(data, dfd_at, dfd_length, "data format descriptor"), vk_format)
    offset, length, whole = _LEVEL.unpack(_cut(data, _HEADER.size, _LEVEL.size, "index of levels"))
    level = _cut(data, offset, length, "first level")
    if (model == ETC1S) != (scheme == BASIS_LZ):
        raise Damaged(f"its header: supercompression {scheme} does not go with its kind of texels")
    if model != ETC1S:
        expected = width * height * channels if channels else -(-width // 4) * -(-height // 4) * 16
        level = _expanded(level, scheme, whole, expected)
    return Texture(
        width, height, model, channels, has_alpha, level,
        _cut(data, global_at, global_length, "supercompression data") if scheme == BASIS_LZ else b"",
        max(levels, 1),
    )  # fmt: skip


def _header(data: bytes) -> tuple[int, ...]:
    if not data.startswith(MAGIC) or len(data) < _HEADER.size:
        raise Damaged("its header ends early")
    return _HEADER.unpack_from(data)


def _cut(data: bytes, start: int, length: int, what: str) -> bytes:
    if start + length > len(data):
        raise Damaged(f"its {what}: {length} bytes at {start} of {len(data)}")
    return data[start : start + length]


def _kind(descriptor: bytes, vk_format: int) -> tuple[int, int, bool]:
    """The colour model, the channels of plain texels, and whether a Basis texture has opacity."""
    if vk_format in _PLAIN:
        return 0, _PLAIN[vk_format], False
    if vk_format:
        raise Damaged(f"its texels are of VkFormat {vk_format}, which is not read")
    # its length, then the head of a basic block of 24 bytes, then samples
    samples = (len(descriptor) - 28) // _SAMPLE
    if samples < 1 or len(descriptor) > _MOST_DESCRIPTOR:
        raise Damaged(f"its data format descriptor: {len(descriptor)} bytes")
    model = descriptor[12]
    channels = [descriptor[28 + _SAMPLE * k + 3] & 0x0F for k in range(samples)]
    if model == ETC1S:
        return model, 0, len(channels) > 1
    if model == UASTC:
        return model, 0, channels[0] in (3, 5)
    raise Damaged(f"its texels are of the colour model {model}, which is not read")


def _expanded(level: bytes, scheme: int, whole: int, expected: int) -> bytes:
    """A level without its supercompression, which must leave as many bytes as expected."""
    if scheme not in (0, ZSTANDARD, ZLIB):
        raise Damaged(f"its supercompression {scheme} is not read")
    if (whole if scheme else len(level)) != expected:
        raise Damaged(f"its first level: {whole if scheme else len(level)} bytes; its size makes {expected}")
    if not scheme:
        return level
    try:
        if scheme == ZSTANDARD:
            # bytes of Python's: Arrow's own pool reserves a gigabyte, all that an object may have
            found: bytes = pyarrow.Codec("zstd").decompress(level, decompressed_size=expected, asbytes=True)
        else:
            found = zlib.decompressobj().decompress(level, expected)
    except (OSError, ValueError, zlib.error) as error:
        raise Damaged(f"its first level: its {'Zstandard' if scheme == ZSTANDARD else 'zlib'} stream") from error
    if len(found) != expected:
        raise Damaged(f"its first level: {len(found)} bytes come out; its size makes {expected}")
    return found
