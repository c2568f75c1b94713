"""A view at rest: a lossless RGBA WebP whose alpha is the object's mask, member `view00.webp` and so on of a shard."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captionless.errors import DataError


def view_name(index: int) -> str:
    """The member of a shard that holds view `index`."""
    return f"view{index:02d}.webp"


AZIMUTH = 36.0
"""Degrees off an object's front: the camera of the view that stands for the object where one is shown."""


def shown_view(count: int) -> int:
    """Which of `count` views that one is."""
    return round(count * AZIMUTH / 360) % count


def encode_view(rgba: NDArray[np.uint8]) -> bytes:
    """A view (H, W, 4) as lossless WebP; what is under a transparent pixel is kept as it is."""
    sink = io.BytesIO()
    Image.fromarray(rgba).save(sink, "WEBP", lossless=True, method=0, quality=0, exact=True)
    return sink.getvalue()


def decode_view(data: bytes, what: str) -> NDArray[np.uint8]:
    """A stored view (H, W, 4); DataError names `what` when it is not a picture."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture.convert("RGBA"))
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{what}: not a picture ({error}); delete its shard and rerun pack") from error


def thumbnail(data: bytes, what: str, side: int = 112) -> bytes:
    """A stored view on white as a lossy WebP of at most `side` pixels: a few kilobytes, for pages of many of them."""
    picture = Image.fromarray(on_white(decode_view(data, what)))
    picture.thumbnail((side, side))
    sink = io.BytesIO()
    picture.save(sink, "WEBP", quality=80, method=4)
    return sink.getvalue()


def on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(..., 4) straight-alpha views -> (..., 3) uint8 on white."""
    alpha = rgba[..., 3:].astype(np.uint16)
    over = rgba[..., :3] * alpha + 255 * (255 - alpha)
    return ((over + 127) // 255).astype(np.uint8)
