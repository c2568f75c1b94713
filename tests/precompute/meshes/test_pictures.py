"""Texture files of every kind of pixels, whole, damaged and too large."""

from __future__ import annotations

import io
import re
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from captionless.errors import DataError
from captionless.precompute.meshes.pictures import MAX_TEXTURE, picture
from captionless.spec.data import ReadingLimits

LIMITS = ReadingLimits()


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def texels(data: bytes) -> NDArray[np.uint8]:
    found = picture(data, "the texture t", LIMITS).texels
    assert found.dtype == np.uint8
    assert found.ndim == 3
    assert found.shape[2] == 4
    return found


COLORS = np.array([[[250, 0, 0], [0, 250, 0], [9, 99, 9]], [[0, 0, 250], [9, 9, 9], [1, 2, 3]]], np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TGA", "TIFF", "PPM", "PCX", "SGI", "WEBP", "DDS"])
def test_lossless_formats(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    found = texels(saved(Image.fromarray(COLORS), kind, **options))
    np.testing.assert_array_equal(found[..., :3], COLORS)
    assert (found[..., 3] == 255).all()


def test_jpeg_also_in_grey_and_cmyk() -> None:
    plain = Image.new("RGB", (16, 16), (200, 100, 50))
    for mode, expected in (("RGB", (200, 100, 50)), ("CMYK", (200, 100, 50)), ("L", (124, 124, 124))):
        found = texels(saved(plain.convert(mode), "JPEG", quality=100))
        assert np.abs(found[..., :3].astype(int) - expected).max() <= 3


def test_alpha_is_kept_and_colour_under_it_too() -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    rgba[0, :, 3] = 0
    np.testing.assert_array_equal(texels(saved(Image.fromarray(rgba))), rgba)
    grey = np.random.default_rng(1).integers(0, 256, (5, 7, 2), np.uint8)
    found = texels(saved(Image.fromarray(grey, "LA")))
    np.testing.assert_array_equal(found, grey[..., [0, 0, 0, 1]])


def test_palettes_with_and_without_a_transparent_colour() -> None:
    indexed = Image.fromarray(np.array([[0, 1], [1, 2]], np.uint8), "P")
    indexed.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    expected = [[[255, 0, 0], [0, 255, 0]], [[0, 255, 0], [0, 0, 255]]]
    found = texels(saved(indexed))
    assert found[..., :3].tolist() == expected
    assert (found[..., 3] == 255).all()
    cut = texels(saved(indexed, transparency=1))
    assert cut[..., :3].tolist() == expected
    assert cut[..., 3].tolist() == [[255, 0], [0, 255]]


def test_one_bit_a_pixel() -> None:
    bits = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    assert texels(saved(bits))[..., 0].tolist() == [[0, 255], [255, 0]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled(kind: str) -> None:
    levels = np.array([[0, 128, 129, 257 * 100], [257 * 200, 65406, 65407, 65535]], np.uint16)
    found = texels(saved(Image.fromarray(levels), kind))
    expected = np.rint(levels / 257.0).astype(np.uint8)
    for channel in range(3):
        np.testing.assert_array_equal(found[..., channel], expected)


def test_sixteen_bits_in_colour() -> None:
    row = b"\x00" + struct.pack(">6H", 65535, 0, 257 * 100, 257 * 7, 257 * 8, 257 * 9)
    found = texels(_png(2, 1, depth=16, color=2, rows=row))
    assert found[0, :, :3].tolist() == [[255, 0, 100], [7, 8, 9]]


def test_large_ones_are_made_smaller_with_colour_apart_from_alpha() -> None:
    rgba = np.zeros((4, 3 * MAX_TEXTURE, 4), np.uint8)
    rgba[..., 0], rgba[:, ::2, 3] = 90, 200
    found = texels(saved(Image.fromarray(rgba)))
    assert found.shape[1] == MAX_TEXTURE
    assert (found[..., 0] == 90).all()  # also where half of the pixels are transparent
    assert set(np.unique(found[..., 3])) <= {66, 67, 133, 134}


def test_as_many_pixels_as_the_limit_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # Pillow's own limit says nothing
    data = saved(Image.new("RGB", (20, 10), (200, 40, 40)))
    assert (picture(data, "t", ReadingLimits(pixels=200)).texels == (200, 40, 40, 255)).all()
    with pytest.raises(DataError, match=r"^the texture t has 20 x 10 pixels; at most 199 are read$"):
        picture(data, "the texture t", ReadingLimits(pixels=199))
    assert Image.MAX_IMAGE_PIXELS == 50


def _png(width: int, height: int, depth: int = 8, color: int = 2, rows: bytes = b"") -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("data", [b"", b"not a picture", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(DataError, match=r"^cannot read the texture t as a picture$"):
        picture(data, "the texture t", LIMITS)


def test_a_header_that_promises_a_picture_of_terabytes_costs_nothing() -> None:
    with pytest.raises(DataError, match="pixels; at most"):
        picture(_png(2_000_000_000, 2_000_000_000), "the texture t", LIMITS)


def complaint(data: bytes) -> str:
    try:
        picture(data, "the texture t", LIMITS)
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TGA", "TIFF", "GIF", "WEBP", "PCX", "SGI", "DDS", "PPM"])
def test_damaged_ones_are_named_in_one_line(kind: str) -> None:
    random = np.random.default_rng(0)
    whole = saved(Image.fromarray(random.integers(0, 256, (40, 40, 3), np.uint8)), kind)
    for cut in range(0, len(whole) - 1, max(1, len(whole) // 23)):
        changed = bytearray(whole)
        for at in random.integers(0, len(whole), 6):
            changed[at] = random.integers(256)
        for damaged in (whole[:cut], bytes(changed)):
            assert re.fullmatch("|(cannot read )?the texture t .+", complaint(damaged))
    with pytest.raises(DataError):
        picture(whole[: len(whole) // 2], "the texture t", LIMITS)
