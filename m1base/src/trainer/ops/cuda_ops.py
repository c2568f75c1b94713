"""The CUDA kernels of the package `pointnext`, in place of ours (`triton_ops`), for tensors on a GPU.

The package (https://github.com/kentechx/pointnext, the extra `pointnext`) compiles the kernels of openpoints. They are
selected with `train.encoder.operators`, for the whole process. They take float32, round as nvcc's fused multiply-add
does, and do not define which of several equally distant points comes first, so results differ from ours; a model that
was trained with them is loaded and evaluated without.
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
    """Use "own" operators or those of "pointnext" for tensors on `device` from now on.

    SpecError when pointnext is chosen and the device is not a GPU, or the package cannot be imported.
    """
    global _kernels
    _kernels = None
    if operators == "own":
        return
    what = f"encoder.operators: {operators}"
    if device.type != _DEVICE:
        raise SpecError(f"{what} requires a GPU, but this run is on {device.type}; use own")
    try:
        _kernels = importlib.import_module("pointnext.ops")
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "pointnext":
            raise SpecError(
                f"{what}: the package pointnext is not installed; use own, or install it on a machine with nvcc: "
                "pip install --no-build-isolation captionless[pointnext]"
            ) from None
        # for example because it was compiled for another version of torch
        raise SpecError(f"{what}: the package pointnext cannot be loaded ({one_line(error)}); use own") from error


def serves(x: Tensor) -> bool:
    """Whether the package is selected and supports this tensor."""
    return _kernels is not None and x.device.type == _DEVICE and x.dtype == torch.float32


def farthest_point_sample(xyz: Tensor, m: int) -> Tensor:
    """`point_sets.farthest_point_sample` of contiguous float32 (B, N, 3)."""
    with torch.cuda.device_of(xyz):  # type: ignore[no-untyped-call]
        return torch.as_tensor(_kernels.furthest_point_sample(xyz, m)).long()


def ball_query(xyz: Tensor, centers: Tensor, radius: float, nsample: int) -> Tensor:
    """`point_sets.ball_query` of contiguous float32 (B, N, 3) and (B, M, 3)."""
    with torch.cuda.device_of(xyz):  # type: ignore[no-untyped-call]
        return torch.as_tensor(_kernels.ball_query(xyz, centers, radius, nsample)).long()
