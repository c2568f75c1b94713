"""The CUDA kernels of the package `pointnext` in the place of our operators, for tensors on a GPU.

Ours are plain torch there: farthest point sampling is a launch of several kernels a point. The package
(https://github.com/kentechx/pointnext, the extra `pointnext`) compiles the kernels that openpoints has; they are
chosen with `train.encoder.operators` and stay chosen for the process. They take float32, round as nvcc fuses it, and
leave open which of equally distant points comes first, so that a run with them is another run; a model that was trained
with them is read and evaluated without.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from captionless.errors import SpecError, one_line

_DEVICE = "cuda"
_kernels: Any = None


def choose(operators: str, device: torch.device) -> None:
    """Have "own" operators or those of "pointnext" serve the tensors on `device` from now on.

    SpecError when pointnext is chosen and the device is no GPU, or the package cannot be imported.
    """
    global _kernels
    _kernels = None
    if operators == "own":
        return
    what = f"encoder.operators: {operators}"
    if device.type != _DEVICE:
        raise SpecError(f"{what} is for a GPU, and this run is on {device.type}; use own")
    try:
        _kernels = importlib.import_module("pointnext.ops")
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "pointnext":
            raise SpecError(
                f"{what}, but the package pointnext is not installed; use own, or install it where nvcc is: "
                "pip install --no-build-isolation captionless[pointnext]"
            ) from None
        # it was compiled for another torch, say
        raise SpecError(f"{what}, but the package pointnext cannot be loaded ({one_line(error)}); use own") from error


def serves(x: Tensor) -> bool:
    """Whether the package was chosen and takes such a tensor."""
    return _kernels is not None and x.device.type == _DEVICE and x.dtype == torch.float32


def farthest_point_sample(xyz: Tensor, m: int) -> Tensor:
    """`ops.farthest_point_sample` of contiguous float32 (B, N, 3)."""
    with torch.cuda.device_of(xyz):  # type: ignore[no-untyped-call]
        return torch.as_tensor(_kernels.furthest_point_sample(xyz, m)).long()


def ball_query(xyz: Tensor, centers: Tensor, radius: float, nsample: int) -> Tensor:
    """`ops.ball_query` of contiguous float32 (B, N, 3) and (B, M, 3)."""
    with torch.cuda.device_of(xyz):  # type: ignore[no-untyped-call]
        return torch.as_tensor(_kernels.ball_query(xyz, centers, radius, nsample)).long()
