"""Preprocessing of pictures as a CLIP model expects them, on whole batches in torch.

There are hundreds of thousands of views, so open_clip's own resize mode, interpolation and crop run on batches instead
of on one PIL picture at a time; pictures that already have the model's size are not resampled at all. The tests compare
it with open_clip's own transform.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


def preprocess(
    pictures: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], config: dict[str, Any], device: torch.device
) -> torch.Tensor:
    """uint8 (H, W, 3) pictures in any mix of sizes as the model's input (n, 3, h, w) float32 on `device`, order kept.

    config: open_clip's `preprocess_cfg` of the model.
    """
    import torch

    by_shape: dict[tuple[int, ...], list[int]] = {}
    for n, picture in enumerate(pictures):
        by_shape.setdefault(picture.shape, []).append(n)
    if len(by_shape) == 1:
        sized = _fit(_stacked(pictures, device), config)
    else:
        height, width = image_size(config)
        sized = torch.empty((len(pictures), 3, height, width), dtype=torch.uint8, device=device)
        for indices in by_shape.values():
            sized[indices] = _fit(_stacked([pictures[n] for n in indices], device), config)
    mean, std = (
        torch.tensor(config[key], dtype=torch.float32).expand(3).view(3, 1, 1).to(device, non_blocking=True)
        for key in ("mean", "std")
    )
    return sized.to(torch.float32, memory_format=torch.contiguous_format).div_(255).sub_(mean).div_(std)


def _stacked(pictures: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Pictures of one size as (n, 3, h, w) uint8; a GPU may still be receiving them."""
    import torch

    stack = torch.from_numpy(pictures if isinstance(pictures, np.ndarray) else np.stack(pictures))
    if device.type == "cuda":
        stack = stack.pin_memory()  # or else the copy would wait for what the GPU is computing
    return stack.to(device, non_blocking=True).permute(0, 3, 1, 2)


def image_size(config: dict[str, Any]) -> tuple[int, int]:
    """Height and width of the model's input."""
    size: int | Sequence[int] = config["size"]
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def to_rgb(view: NDArray[np.uint8] | Image, n: int) -> NDArray[np.uint8]:
    """A picture as uint8 (H, W, 3); DataError names picture `n` when it is not RGB."""
    picture = view if isinstance(view, np.ndarray) else np.asarray(view.convert("RGB"))
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise DataError(f"image {n}: expected uint8 (H, W, 3), found {picture.dtype} {picture.shape}")
    return picture


def _fit(pictures: torch.Tensor, config: dict[str, Any]) -> torch.Tensor:
    """uint8 (n, 3, h, w) resized and cropped or padded to the model's size, as open_clip's transform does."""
    from torch.nn.functional import pad

    height, width = int(pictures.shape[2]), int(pictures.shape[3])
    target = image_size(config)
    mode = config["resize_mode"]
    # open_clip's only other value, "random", means bicubic outside of training.
    interpolation = "bilinear" if config["interpolation"] == "bilinear" else "bicubic"
    if mode == "squash":
        return _resize(pictures, target, interpolation)
    if mode == "shortest" and target[0] == target[1]:
        # torchvision's Resize with a scalar rounds the longer side down.
        short = min(height, width)
        pictures = _resize(
            pictures,
            (target[0] * height // short, target[0] * width // short),
            interpolation,
        )
    else:
        # open_clip's ResizeKeepRatio rounds to nearest, and is bicubic whatever the configuration in this mode.
        ratios = (height / target[0], width / target[1])
        ratio = max(ratios) if mode == "longest" else min(ratios)
        shape = (round(height / ratio), round(width / ratio))
        pictures = _resize(pictures, shape, interpolation if mode == "longest" else "bicubic")
    missing = [max(0, target[n] - pictures.shape[2 + n]) for n in (0, 1)]
    if any(missing):
        (above, below), (left, right) = ((m // 2, (m + 1) // 2) for m in missing)
        pictures = pad(pictures, (left, right, above, below), value=config["fill_color"])
    top, side = (round((pictures.shape[2 + n] - target[n]) / 2.0) for n in (0, 1))
    return pictures[:, :, top : top + target[0], side : side + target[1]]


def _resize(pictures: torch.Tensor, size: tuple[int, int], interpolation: str) -> torch.Tensor:
    """Anti-aliased like Pillow's; uint8 in and out, nothing done when the size is right."""
    from torch.nn.functional import interpolate

    if tuple(pictures.shape[2:]) == size:
        return pictures
    if pictures.device.type == "cpu":  # torch's uint8 kernel follows Pillow's fixed-point arithmetic
        return interpolate(pictures, size=size, mode=interpolation, antialias=True)
    return _resize_float(pictures, size, interpolation)


def _resize_float(pictures: torch.Tensor, size: tuple[int, int], interpolation: str) -> torch.Tensor:
    """The same where there is no uint8 kernel: across, then down, rounded and clamped after each as Pillow does."""
    import torch

    resized = pictures.float()
    for shape in ((int(pictures.shape[2]), size[1]), size):
        resized = torch.nn.functional.interpolate(resized, size=shape, mode=interpolation, antialias=True)
        resized = resized.round_().clamp_(0, 255)
    return resized.to(torch.uint8)
