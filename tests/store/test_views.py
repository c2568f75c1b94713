from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from captionless.errors import DataError
from captionless.store.views import encode_view, thumbnail


def test_a_thumbnail_is_the_view_on_white_and_small() -> None:
    rgba = np.random.default_rng(0).integers(0, 255, (224, 224, 4), np.uint8)
    rgba[..., 3] = 0
    rgba[56:168, 56:168] = (200, 30, 60, 255)
    stored = encode_view(rgba)
    small = thumbnail(stored, "a chair")
    assert len(small) < len(stored) / 50
    with Image.open(io.BytesIO(small)) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels.shape == (112, 112, 3)
    assert np.abs(pixels[5:20, 5:20] - 255).max() < 6
    assert np.abs(pixels[40:70, 40:70] - (200, 30, 60)).max() < 12
    with pytest.raises(DataError, match="a chair"):
        thumbnail(b"RIFF", "a chair")
