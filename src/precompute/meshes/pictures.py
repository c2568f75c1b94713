"""Texture files -> `Picture`: KTX2 by a decoder of our own (`ktx2`), others by Pillow; only kinds that it decodes by
itself, never those that start programs."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from captionless.errors import DataError, one_line
from captionless.mesh import Picture, Wrap
from captionless.precompute.meshes import ktx2
from captionless.spec.data import ReadingLimits

MAX_TEXTURE = 1024
"""Texels a side: a view shows no more of a texture, and a larger one costs its look-ups."""

_FORMATS = (
    "PNG", "JPEG", "BMP", "DIB", "TGA", "TIFF", "GIF", "WEBP", "AVIF", "PPM", "PCX", "SGI", "DDS", "JPEG2000", "PSD"
)  # fmt: skip


def picture(data: bytes, what: str, limits: ReadingLimits, wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")) -> Picture:
    """The texture in a file's bytes; one of more than `MAX_TEXTURE` texels a side is made smaller by a whole factor.

    what: names the texture in errors. 16-bit levels are scaled to 8 bits, not clipped; colour is made smaller apart
    from alpha, since materials may ignore the latter. DataError when it is no picture, is damaged, or has more than
    `limits.pixels` pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Picture(_decoded(data, what, limits), wrap)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes them stumble over
        raise DataError(f"{what} is truncated or damaged: {one_line(error)}") from error


def _decoded(data: bytes, what: str, limits: ReadingLimits) -> NDArray[np.uint8]:
    if data.startswith(ktx2.MAGIC):
        try:
            _check(ktx2.size_of(data), what, limits)
            return _texels(Image.fromarray(ktx2.read(data)))
        except ktx2.Damaged as error:
            raise DataError(f"cannot read {what}, a KTX2 file: {error}") from error
    try:
        with _without_limit():
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise DataError(f"cannot read {what} as a picture") from error
    with image:
        _check(image.size, what, limits)
        return _texels(image)


def _check(size: tuple[int, int], what: str, limits: ReadingLimits) -> None:
    width, height = size
    if width * height > limits.pixels:
        raise DataError(f"{what} has {width} x {height} pixels; at most {limits.pixels} are read")


_opening = threading.Lock()


@contextmanager
def _without_limit() -> Iterator[None]:
    """Pillow's own limit on pixels left out while a header is read: ours is compared before anything is decoded."""
    with _opening:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _texels(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 4) of an opened picture."""
    factor = -(-max(image.size) // MAX_TEXTURE)
    plain = _eight_bits(image)
    has_alpha = plain.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in plain.info
    if not has_alpha:
        color = _smaller(plain if plain.mode in ("RGB", "L") else plain.convert("RGB"), factor)
        return np.asarray(color.convert("RGBA"))
    full = plain if plain.mode == "RGBA" else plain.convert("RGBA")
    rgb = _smaller(full.convert("RGB"), factor)
    alpha = _smaller(full.getchannel("A"), factor)
    return np.dstack([np.asarray(rgb), np.asarray(alpha)])


def _smaller(image: Image.Image, factor: int) -> Image.Image:
    return image.reduce(factor) if factor > 1 else image


def _eight_bits(image: Image.Image) -> Image.Image:
    """The picture with at most 8 bits a channel: convert() would clip deeper ones."""
    if image.mode == "F":
        raise ValueError("pixels in floating point are not read")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    levels: NDArray[Any] = np.asarray(image)
    return Image.fromarray(np.clip((levels.astype(np.int64) + 128) // 257, 0, 255).astype(np.uint8))
