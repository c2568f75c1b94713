"""Point-set operators: farthest point sampling, ball query and k nearest neighbours.

Each operator exists as compiled kernels for CPU tensors (`farthest_points`, `numba_ops`) and in plain torch for every
other device (`torch_ops`), which is the kernels' reference in the tests; those that are slow in torch on a GPU are
compiled for it as well (`triton_ops`). All of them return the same indices: they form squared distances as
(dx*dx + dy*dy) + dz*dz in the dtype of the points, without fused multiply-add, so that ties and radius borders fall
alike everywhere. The exception is `cuda_ops`, the kernels of another package, which a spec may choose.
"""

from __future__ import annotations

import os
import shutil
import warnings

import torch
from torch import Tensor

from captionless import farthest_points
from captionless.runtime.torch_threads import map_slices
from captionless.trainer.ops import cuda_ops, numba_ops, torch_ops

_MOST_POINTS = 16384  # of a cloud that a GPU's program holds in registers
_COMPILER = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")


def farthest_point_sample(xyz: Tensor, m: int) -> Tensor:
    """Indices of `m` points, each the farthest from those before it, starting at index 0.

    xyz: (B, N, 3) floating point; returns (B, m) int64. Equal distances go to the lowest index. The result is
    hereditary: its first k entries are the sample of size k, and sampling the sampled points again returns them in
    the same order. ValueError unless 1 <= m <= N.
    """
    xyz = _coordinates("xyz", xyz)
    if not 1 <= m <= xyz.shape[1]:
        raise ValueError(f"cannot sample {m} of {xyz.shape[1]} points")
    if cuda_ops.serves(xyz):
        return cuda_ops.farthest_point_sample(xyz, m)
    if xyz.device.type == "cuda" and xyz.shape[1] <= _MOST_POINTS and _compiles():
        from captionless.trainer.ops import triton_ops

        return torch.as_tensor(triton_ops.farthest_point_sample(xyz, m))
    if xyz.device.type != "cpu":
        return torch_ops.farthest_point_sample(xyz, m)
    out = torch.empty(xyz.shape[0], m, dtype=torch.int64)
    pairs = m * xyz[..., 0].numel()
    map_slices(lambda c: farthest_points.sample(xyz[c].numpy(), out[c].numpy()), len(xyz), pairs)
    return out


def ball_query(xyz: Tensor, centers: Tensor, radius: float, nsample: int) -> Tensor:
    """The first `nsample` points, in index order, with squared distance < radius^2 of each centre.

    xyz: (B, N, 3), centers: (B, M, 3), same dtype; returns (B, M, nsample) int64. Rows with fewer hits are padded
    with their first hit; a centre with none (it is then no point of its set) gets index 0 throughout, as the CUDA
    operator of PointNet++ does.
    """
    xyz, centers = _with_centers(xyz, centers)
    if nsample < 1 or not radius > 0:
        raise ValueError(f"nsample and radius must be positive, not {nsample} and {radius}")
    if cuda_ops.serves(xyz):
        return cuda_ops.ball_query(xyz, centers, radius, nsample)
    if xyz.device.type == "cuda" and _compiles():
        from captionless.trainer.ops import triton_ops

        return torch.as_tensor(triton_ops.ball_query(xyz, centers, radius, nsample))
    if xyz.device.type != "cpu":
        return torch_ops.ball_query(xyz, centers, radius, nsample)
    out = torch.empty(xyz.shape[0], centers.shape[1], nsample, dtype=torch.int64)
    limit = torch_ops.squared(radius, xyz.dtype)
    pairs = centers.shape[1] * xyz[..., 0].numel()
    map_slices(
        lambda c: numba_ops.ball_query(xyz[c].numpy(), centers[c].numpy(), limit, out[c].numpy()), len(xyz), pairs
    )
    return out


def k_nearest(xyz: Tensor, centers: Tensor, k: int) -> Tensor:
    """The `k` points nearest to each centre, the nearest first; equal distances go to the lowest index.

    xyz: (B, N, 3), centers: (B, M, 3), same dtype; returns (B, M, k) int64. ValueError unless 1 <= k <= N.
    """
    xyz, centers = _with_centers(xyz, centers)
    if not 1 <= k <= xyz.shape[1]:
        raise ValueError(f"cannot find the nearest {k} of {xyz.shape[1]} points")
    if xyz.device.type != "cpu":
        return torch_ops.k_nearest(xyz, centers, k)
    out = torch.empty(*centers.shape[:2], k, dtype=torch.int64)
    pairs = centers.shape[1] * xyz[..., 0].numel()
    map_slices(lambda c: numba_ops.k_nearest(xyz[c].numpy(), centers[c].numpy(), out[c].numpy()), len(xyz), pairs)
    return out


def _coordinates(name: str, xyz: Tensor) -> Tensor:
    """`xyz` as contiguous float32 or float64 (B, N, 3), outside autograd; all operators are piecewise constant."""
    if xyz.ndim != 3 or xyz.shape[-1] != 3 or not xyz.is_floating_point():
        raise ValueError(f"{name} must be floating point of shape (B, N, 3), not {xyz.dtype} {tuple(xyz.shape)}")
    if xyz.dtype not in (torch.float32, torch.float64):
        xyz = xyz.float()
    return xyz.detach().contiguous()


def _with_centers(xyz: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """The coordinates of points and centres of the same clouds."""
    xyz, centers = _coordinates("xyz", xyz), _coordinates("centers", centers)
    if xyz.dtype != centers.dtype or xyz.shape[0] != centers.shape[0]:
        raise ValueError(
            f"xyz {xyz.dtype} {tuple(xyz.shape)} and centers {centers.dtype} {tuple(centers.shape)} differ"
        )
    return xyz, centers


def _compiles() -> bool:
    """Whether Triton can compile: the launchers of its kernels are built by the machine's C compiler."""
    if _COMPILER is None:
        warnings.warn(
            "no C compiler in PATH: point sampling falls back to plain torch, about 100 times slower; the image target "
            "`compile` includes one",
            stacklevel=3,
        )
    return _COMPILER is not None
