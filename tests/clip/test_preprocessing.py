"""Preprocessing, held to open_clip's own transform and to Pillow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from captionless.clip import openclip
from captionless.clip.preprocessing import _resize_float, preprocess
from tests.clip.pictures import pictures


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 96), (50, 71), (71, 50), (20, 33)])
def test_preprocessing_is_open_clips(
    make: Callable[..., str], mode: str, interpolation: str, height: int, width: int
) -> None:
    loaded = openclip.load(make(preprocess={"resize_mode": mode, "interpolation": interpolation}), device="cpu")
    transform = image_transform_v2(PreprocessCfg(**loaded._preprocess), is_train=False)
    views = pictures(3, height, width)
    expected = torch.stack([transform(Image.fromarray(v)) for v in views])
    got = preprocess(list(views), loaded._preprocess, torch.device("cpu"))
    assert got.shape == expected.shape
    levels = (got - expected).abs() * 255 * torch.tensor(loaded._preprocess["std"]).view(3, 1, 1)
    if (height, width) == (32, 32):
        assert levels.max() < 1e-3
    else:  # Pillow rounds between its two passes, so that a bicubic overshoot may differ by more than one
        assert levels.max() < 4.01
        assert levels.mean() < 0.1


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(96, 96), (32, 53), (200, 96)], ids=str)
def test_resizing_on_an_accelerator_is_pillows(interpolation: str, size: tuple[int, int]) -> None:
    views = pictures(3, 112, 84)
    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    expected = [np.asarray(Image.fromarray(v).resize(size[::-1], filters[interpolation])) for v in views]
    got = _resize_float(torch.from_numpy(views).permute(0, 3, 1, 2), size, interpolation).permute(0, 2, 3, 1)
    difference = np.abs(got.numpy().astype(int) - np.stack(expected).astype(int))
    assert difference.max() <= 8  # beside the hardest edges, where bicubic overshoots
    assert difference.mean() < 0.1
