"""The point-set operators in plain torch, for any device: the reference of the other backends."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_DISTANCES = 1 << 24  # held at once


def farthest_point_sample(xyz: Tensor, m: int) -> Tensor:
    """`point_sets.farthest_point_sample`: one argmax over (B, N) distances per sample."""
    batch, n, _ = xyz.shape
    x, y, z = xyz.unbind(-1)
    row = torch.arange(batch, device=xyz.device)
    distance = torch.full((batch, n), torch.inf, dtype=xyz.dtype, device=xyz.device)
    out = torch.zeros(batch, m, dtype=torch.int64, device=xyz.device)
    last = out[:, 0]
    for i in range(1, m):
        dx, dy, dz = (c - c[row, last].unsqueeze(1) for c in (x, y, z))
        distance = torch.minimum(distance, (dx * dx + dy * dy) + dz * dz)
        last = distance.argmax(dim=1)
        out[:, i] = last
    return out


def ball_query(xyz: Tensor, centers: Tensor, radius: float, nsample: int) -> Tensor:
    """`point_sets.ball_query`, in blocks of centres so that memory stays bounded."""
    n = xyz.shape[1]
    kept = min(nsample, n)
    limit = float(squared(radius, xyz.dtype))
    index = torch.arange(n, device=xyz.device)
    out = []
    for block in torch.split(centers, max(1, _DISTANCES // (xyz.shape[0] * n)), dim=1):
        dx, dy, dz = (block[:, :, None, i] - xyz[:, None, :, i] for i in range(3))
        hit = (dx * dx + dy * dy) + dz * dz < limit
        first = torch.where(hit, index, n).topk(kept, dim=-1, largest=False, sorted=True).values
        first = torch.where(first == n, first[..., :1], first)
        first = torch.where(first == n, 0, first)
        out.append(torch.cat([first, first[..., :1].expand(*first.shape[:-1], nsample - kept)], dim=-1))
    return torch.cat(out, dim=1)


def k_nearest(xyz: Tensor, centers: Tensor, k: int) -> Tensor:
    """`point_sets.k_nearest`, in blocks of centres so that memory stays bounded."""
    n = xyz.shape[1]
    index = torch.arange(n, device=xyz.device)
    out = []
    for block in torch.split(centers, max(1, _DISTANCES // (xyz.shape[0] * n)), dim=1):
        dx, dy, dz = (block[:, :, None, i] - xyz[:, None, :, i] for i in range(3))
        squares = (dx * dx + dy * dy) + dz * dz
        if squares.dtype == torch.float32:
            # Floats >= 0 order as their bits do; topk leaves open which of several equals it takes, so none are equal.
            order = (squares.view(torch.int32).long() << 32 | index).topk(k, dim=-1, largest=False).indices
        else:
            order = squares.sort(dim=-1, stable=True).indices[..., :k]
        out.append(order)
    return torch.cat(out, dim=1)


def squared(radius: float, dtype: torch.dtype) -> np.floating:
    """radius^2 rounded as a kernel in `dtype` rounds it."""
    scalar = np.float64 if dtype == torch.float64 else np.float32
    return scalar(radius) * scalar(radius)
