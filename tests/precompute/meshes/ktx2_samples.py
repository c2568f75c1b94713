"""KTX2 files of Basis Universal's encoder, and plain ones, with the texels that its transcoder reads (see
`tests.judge.ktx2`, which has written data/ktx2.json)."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
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
