"""KTX2 files are read texel for texel as Basis Universal's own transcoder reads them; damaged ones are refused, by the
stream that is."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import zlib

import numpy as np
import pyarrow
import pytest

from captionless.errors import DataError
from captionless.precompute.meshes import ktx2, pictures
from captionless.spec.data import ReadingLimits
from tests.precompute.meshes.ktx2_samples import SAMPLES, container

PLAIN = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("name", SAMPLES)
def test_texels_are_those_of_the_transcoder(name: str) -> None:
    sample = SAMPLES[name]
    assert ktx2.size_of(sample.data) == sample.texels.shape[1::-1]
    np.testing.assert_array_equal(ktx2.read(sample.data), sample.texels)


def test_samples_are_of_all_kinds() -> None:
    """Of BasisLZ with and without opacity, and of each of UASTC's modes with each of its partitions."""
    assert {len(SAMPLES[f"{kind}-etc1s"].data) > 0 for kind in ("smooth", "opacity", "grey", "flat")} == {True}
    assert SAMPLES["blocks"].texels.shape == (4 * 19, 4 * 32, 4)


@pytest.mark.parametrize("vk_format", [37, 43])
@pytest.mark.parametrize("scheme", [0, 2, 3])
def test_plain_texels(vk_format: int, scheme: int) -> None:
    raw = PLAIN.tobytes()
    level = {0: raw, 2: bytes(pyarrow.Codec("zstd").compress(raw)), 3: zlib.compress(raw)}[scheme]
    np.testing.assert_array_equal(ktx2.read(container(level, vk_format=vk_format, scheme=scheme, whole=24)), PLAIN)


@pytest.mark.parametrize("vk_format", [23, 29])
def test_plain_texels_without_opacity(vk_format: int) -> None:
    found = ktx2.read(container(PLAIN[..., :3].tobytes(), vk_format=vk_format))
    np.testing.assert_array_equal(found[..., :3], PLAIN[..., :3])
    assert (found[..., 3] == 255).all()


def test_a_picture_is_made_of_it() -> None:
    found = pictures.picture(SAMPLES["opacity-uastc-zstd"].data, "the texture x", ReadingLimits())
    np.testing.assert_array_equal(found.texels, SAMPLES["opacity-uastc-zstd"].texels)


def test_too_many_pixels_are_refused_before_they_are_read() -> None:
    data = container(b"", (1 << 20, 1 << 20), whole=1 << 42, scheme=2)
    with pytest.raises(DataError, match=r"the texture x has 1048576 x 1048576 pixels; at most"):
        pictures.picture(data, "the texture x", ReadingLimits())


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (ktx2.MAGIC, "its header ends early"),
        (container(PLAIN.tobytes(), (0, 2)), "its header: a texture of no width"),
        (container(PLAIN.tobytes(), depth=2), "not read"),
        (container(PLAIN.tobytes(), layers=2), "not read"),
        (container(PLAIN.tobytes(), faces=6), "not read"),
        (container(PLAIN.tobytes(), vk_format=145), "VkFormat 145, which is not read"),
        (container(PLAIN.tobytes(), vk_format=0), "data format descriptor"),
        (container(PLAIN.tobytes(), scheme=7), "supercompression 7 is not read"),
        (container(PLAIN.tobytes(), scheme=1), "supercompression 1"),
        (container(PLAIN.tobytes()[:-1]), "its first level: 23 bytes"),
        (container(PLAIN.tobytes(), scheme=2), "its first level: its Zstandard stream"),
        (container(PLAIN.tobytes(), scheme=3), "its first level: its zlib stream"),
        (container(zlib.compress(bytes(9)), scheme=3, whole=24), "its first level: 9 bytes come out"),
        (container(zlib.compress(bytes(9999)), scheme=3, whole=9999), "its first level: 9999 bytes; its size makes 24"),
        (container(PLAIN.tobytes())[:-1], "its first level: 24 bytes at 132 of 155"),
    ],
)  # fmt: skip
def test_it_is_refused_by_what_is_wrong(data: bytes, line: str) -> None:
    with pytest.raises(DataError, match=line) as refused:
        pictures.picture(data, "the texture x", ReadingLimits())
    assert str(refused.value).startswith("cannot read the texture x, a KTX2 file: ")


def _streams(data: bytes) -> dict[str, tuple[int, int]]:
    """Where a file of BasisLZ has its streams, and their lengths."""
    level, _, _ = struct.unpack_from("<3Q", data, 80)
    start, _ = struct.unpack_from("<2Q", data, 64)
    lengths = struct.unpack_from("<3I", data, start + 4)
    at = start + 20 + 20 * struct.unpack_from("<I", data, 40)[0]  # a description of each level
    found = {}
    for name, length in zip(("endpoint codebook", "selector codebook", "Huffman tables"), lengths, strict=True):
        found[name] = at, length
        at += length
    color_at, color, alpha_at, alpha = struct.unpack_from("<4I", data, start + 24)
    return found | {"slice of colours": (level + color_at, color), "slice of opacity": (level + alpha_at, alpha)}


@pytest.mark.parametrize(
    "name", ["endpoint codebook", "selector codebook", "Huffman tables", "slice of colours", "slice of opacity"]
)
def test_a_damaged_stream_is_named(name: str) -> None:
    data = SAMPLES["opacity-etc1s-best"].data
    at, length = _streams(data)[name]
    assert length > 1
    damaged = data[:at] + b"\xff" * length + data[at + length :]
    with pytest.raises(DataError, match=f"the texture x, a KTX2 file: its {name}$"):
        pictures.picture(damaged, "the texture x", ReadingLimits())


def test_a_damaged_block_is_named() -> None:
    sample = SAMPLES["smooth-uastc"].data
    at, _, _ = struct.unpack_from("<3Q", sample, 80)
    damaged = sample[: at + 32] + b"\x45" + sample[at + 33 :]  # the one code that is no mode's
    with pytest.raises(ktx2.Damaged, match="its first level: block 2"):
        ktx2.read(damaged)


@pytest.mark.parametrize("name", ["opacity-etc1s", "smooth-etc1s-best", "grey-uastc-zstd", "noise-uastc"])
def test_files_that_end_early_are_refused(name: str) -> None:
    data = SAMPLES[name].data
    for length in sorted({12, 79, 80, 103, 120, len(data) // 2, len(data) - 1}):
        with pytest.raises(ktx2.Damaged):
            ktx2.read(data[:length])


def test_damage_does_no_harm() -> None:
    """Whatever is changed, texels of the right number come out, or the file is refused."""
    chance = random.Random(0)
    refused = 0
    for number in range(600):
        data = bytearray(
            SAMPLES[chance.choice(["opacity-etc1s", "smooth-etc1s-best", "smooth-uastc-zstd", "noise-uastc"])].data
        )
        for _ in range(chance.choice((1, 3, 20))):
            data[chance.randrange(44 if number % 2 else len(data) // 2, len(data))] = chance.randrange(256)
        try:
            assert ktx2.read(bytes(data)).shape == (21, 37, 4)
        except ktx2.Damaged:
            refused += 1
    assert 100 < refused < 600


def test_zstandard_needs_no_more_than_the_texels() -> None:
    script = """
import sys
from captionless.precompute.meshes.ktx2 import container

def pages():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0])

before = pages()
container.open_texture(sys.stdin.buffer.read())
print(pages() - before)
"""
    taken = subprocess.run(
        [sys.executable, "-c", script], input=SAMPLES["noise-uastc-zstd"].data, capture_output=True, check=True
    )
    assert int(taken.stdout) < 64 << 20 >> 12
