"""KTX2 files as Basis Universal's encoder writes them, and their texels as its transcoder, which three.js brings, reads
them. The tests of the reader have some of them stored, since they must do without Node.js:

    python -m tests.judge.ktx2 tests/precompute/meshes/data/ktx2.json
"""

from __future__ import annotations

import base64
import json
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.precompute.meshes.ktx2 import uastc
from tests.judge.three import PACKAGES

Texels = NDArray[np.uint8]

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "etc1s": {"isUASTC": False},
    "etc1s-best": {"isUASTC": False, "qualityLevel": 255, "compressionLevel": 4},
    "etc1s-mipmaps": {"isUASTC": False, "generateMipmap": True},
    "uastc": {"isUASTC": True, "needSupercompression": False},
    "uastc-zstd": {"isUASTC": True, "needSupercompression": True},
    "uastc-rdo-mipmaps": {"isUASTC": True, "enableRDO": True, "generateMipmap": True},
    "uastc-slow": {"isUASTC": True, "uastcLDRQualityLevel": 3},
}
SIZES = ((4, 4), (37, 21), (64, 48))
PARTITIONED = {2: (15, 30, 5), 3: (15, 11, 4), 4: (15, 30, 5), 7: (15, 19, 5), 9: (23, 30, 5), 16: (23, 30, 5)}
"""Of UASTC's modes of several subsets: bits of hints, how many partitions there are, and the bits that name one."""


@dataclass(frozen=True)
class Sample:
    """data: the file. texels: as the transcoder reads them."""

    name: str
    data: bytes
    texels: Texels = field(compare=False)


def pictures(width: int, height: int) -> dict[str, Texels]:
    """Pictures of several kinds, (H, W, 4)."""
    y, x = np.mgrid[:height, :width]
    grey = (3 * x + 5 * y) % 256
    opaque = np.full_like(x, 255)
    channels = {
        "smooth": (255 * x // width, 255 * y // height, (128 + 100 * np.sin(x / 7 + y / 5)).astype(int), opaque),
        "noise": (*np.random.default_rng(0).integers(0, 256, (3, height, width)), opaque),
        "opacity": (255 * x // width, np.full_like(x, 200), y, x * y % 256),
        "grey": (grey, grey, grey, opaque),
        "grey-opacity": (grey, grey, grey, 255 * y // height),
        "flat": (opaque * 0 + 10, opaque * 0 + 200, opaque * 0 + 30, opaque),
    }
    return {name: np.stack(of, 2).astype(np.uint8) for name, of in channels.items()}


def quarters(size: int = 256) -> Texels:
    """The picture of `gltf_shapes`, larger."""
    colors = np.array([[(220, 30, 30, 255), (30, 200, 30, 255)], [(30, 30, 220, 255), (220, 220, 30, 255)]], np.uint8)
    return colors.repeat(size // 2, 0).repeat(size // 2, 1)


def encoded(jobs: Iterable[tuple[str, Texels, Mapping[str, Any]]]) -> list[Sample]:
    """Samples of pictures, by name, with options of the encoder."""
    with tempfile.TemporaryDirectory() as folder:
        listed = []
        for number, (_, texels, options) in enumerate(jobs := list(jobs)):
            raw = Path(folder) / f"{number}.raw"
            raw.write_bytes(texels.tobytes())
            height, width = texels.shape[:2]
            files = {"file": f"{folder}/{number}.ktx2", "to": f"{folder}/{number}.rgba", "from": str(raw)}
            listed.append({**files, "width": width, "height": height, "options": dict(options)})
        _node(folder, listed)
        return [
            Sample(name, Path(job["file"]).read_bytes(), _raw(job["to"], texels.shape))
            for (name, texels, _), job in zip(jobs, listed, strict=True)
        ]


def transcoded(name: str, data: bytes, shape: tuple[int, ...]) -> Sample:
    """A file that is there already."""
    with tempfile.TemporaryDirectory() as folder:
        file, to = Path(folder) / "x.ktx2", f"{folder}/x.rgba"
        file.write_bytes(data)
        _node(folder, [{"file": str(file), "to": to}])
        return Sample(name, data, _raw(to, shape))


def blocks(like: bytes, each: int, seed: int = 0) -> tuple[bytes, tuple[int, int, int]]:
    """A file of UASTC blocks of chance, so many of each mode, a row of them after the other, and the texels' shape.
    like: a file of this kind with opacity and one level, as it is stored."""
    chance = np.random.default_rng(seed)
    rows = [_of_mode(mode, each, chance) for mode in range(len(uastc.MODE_CODES))]
    content = b"".join(rows)
    at, length, _ = struct.unpack_from("<3Q", like, 80)
    assert at + length == len(like)
    found = bytearray(like[:at] + content)
    struct.pack_into("<2I", found, 20, 4 * each, 4 * len(rows))
    struct.pack_into("<3Q", found, 80, at, len(content), len(content))
    return bytes(found), (4 * len(rows), 4 * each, 4)


def _of_mode(mode: int, count: int, chance: np.random.Generator) -> bytes:
    bits = chance.integers(0, 2, (count, 128), np.uint8)
    code = uastc.MODE_CODES[mode]
    bits[:, : len(code)] = [int(bit) for bit in code]
    if mode in PARTITIONED:
        hints, partitions, width = PARTITIONED[mode]
        names = np.arange(count) % partitions  # each partition there is
        for k in range(width):
            bits[:, len(code) + hints + k] = names >> k & 1
    return np.packbits(bits, axis=1, bitorder="little").tobytes()


def _node(folder: str, jobs: list[dict[str, Any]]) -> None:
    listed = Path(folder) / "jobs.json"
    listed.write_text(json.dumps(jobs))
    script = Path(__file__).parent / "ktx2.mjs"
    subprocess.run(["node", script, PACKAGES, listed], check=True, stdout=subprocess.DEVNULL)


def _raw(path: str, shape: tuple[int, ...]) -> Texels:
    return np.frombuffer(Path(path).read_bytes(), np.uint8).reshape(shape)


def _stored() -> list[Sample]:
    jobs: list[tuple[str, Texels, Mapping[str, Any]]] = [
        (f"{kind}-{how}", texels, OPTIONS[how])
        for kind, texels in pictures(37, 21).items()
        for how in ("etc1s", "etc1s-best", "uastc-zstd", "uastc")
    ]
    jobs += [
        (f"smooth-{how}", pictures(37, 21)["smooth"], OPTIONS[how]) for how in ("etc1s-mipmaps", "uastc-rdo-mipmaps")
    ]
    jobs += [(f"quarters-{how}", quarters(), OPTIONS[how]) for how in ("etc1s", "uastc-zstd")]
    found = encoded(jobs)
    (like,) = (sample.data for sample in found if sample.name == "opacity-uastc")
    return [*found, transcoded("blocks", *blocks(like, 32))]


def main(out: Path) -> None:
    entries = [
        {
            "name": sample.name,
            "size": sample.texels.shape[1::-1],
            "file": base64.b64encode(zlib.compress(sample.data, 9)).decode(),
            "texels": base64.b64encode(zlib.compress(sample.texels.tobytes(), 9)).decode(),
        }
        for sample in _stored()
    ]
    out.write_text("[\n" + ",\n".join(map(json.dumps, entries)) + "\n]\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
