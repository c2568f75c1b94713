"""KTX2 files of Basis Universal's encoder, and plain ones, with the texels that its transcoder reads (see
`tests.judge.ktx2`, which has written data/ktx2.json)."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sample:
    data: bytes
    texels: NDArray[np.uint8] = field(compare=False)


def _stored() -> dict[str, Sample]:
    found = {}
    for one in json.loads((Path(__file__).parent / "data" / "ktx2.json").read_text()):
        width, height = one["size"]
        data, texels = (zlib.decompress(base64.b64decode(one[name])) for name in ("file", "texels"))
        found[one["name"]] = Sample(data, np.frombuffer(texels, np.uint8).reshape(height, width, 4))
    return found


SAMPLES: Mapping[str, Sample] = _stored()


def container(
    level: bytes,
    size: tuple[int, int] = (3, 2),
    vk_format: int = 37,
    scheme: int = 0,
    whole: int | None = None,
    depth: int = 0,
    layers: int = 0,
    faces: int = 1,
) -> bytes:
    """A file of one level, which the caller has compressed by `scheme` from so many bytes."""
    head = struct.pack("<12s9I", b"\xabKTX 20\xbb\r\n\x1a\n", vk_format, 1, *size, depth, layers, faces, 1, scheme)
    descriptor = struct.pack("<I2H2H", 28, 0, 0, 2, 24) + bytes(16)
    at = 104 + len(descriptor)
    index = struct.pack("<4I2Q", 104, len(descriptor), 0, 0, 0, 0)
    return (
        head + index + struct.pack("<3Q", at, len(level), len(level) if whole is None else whole) + descriptor + level
    )


def repacked(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A file whose first level, once unpacked, is changed, and is as long as before; as it is where that cannot be."""
    if len(data) < 104:
        return data
    scheme, (at, length, whole) = int.from_bytes(data[44:48], "little"), struct.unpack_from("<3Q", data, 80)
    level = data[at : at + length]
    if scheme not in _PACKED or whole > 1 << 20 or len(level) < length:
        return data
    packs, unpacks = _PACKED[scheme]
    try:
        raw = unpacks(level, whole)
    except (OSError, zlib.error):  # damaged before
        return data
    packed = packs(change(raw)[: len(raw)].ljust(len(raw), b"\0"))
    return data[:80] + struct.pack("<3Q", len(data), len(packed), whole) + data[104:] + packed


_PACKED: Mapping[int, tuple[Callable[[bytes], bytes], Callable[[bytes, int], bytes]]] = {
    0: (bytes, lambda level, whole: level),
    2: (
        lambda raw: pyarrow.Codec("zstd").compress(raw, asbytes=True),
        lambda level, whole: pyarrow.Codec("zstd").decompress(level, whole, asbytes=True),
    ),
    3: (zlib.compress, lambda level, whole: zlib.decompress(level)),
}
"""By supercompression: what packs a level, and what unpacks it to so many bytes."""
