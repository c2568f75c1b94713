"""Pictures to embed."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image


def pictures(count: int, height: int, width: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Smooth pictures with hard edges in them, (n, H, W, 3)."""
    random = np.random.default_rng(seed)
    views = np.empty((count, height, width, 3), np.uint8)
    for view in views:
        coarse = Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        view[:] = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        view[height // 4 : height // 2, width // 3 :] = random.integers(0, 256, 3)
    return views
