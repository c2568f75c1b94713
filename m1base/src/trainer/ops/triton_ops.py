"""The point-set operators as kernels for a GPU, compiled by Triton, which every torch for GPUs brings.

In plain torch farthest point sampling is a dozen launches a sample, and most of a training step. Here a cloud is one
program that holds its points and their distances in registers from the first sample to the last. In a ball query each
thread has a centre, and goes over the points until its program's groups are full. Products and sums are not fused, so
that both find the same as the CPU's kernels, to the index. To torch.compile each is one operator of known shape.
Triton starts a kernel on the current device, which need not be the tensors': each start is within their `device_of`.

`point_sets` imports this only where there is a GPU.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_CENTRES = 64  # of a program of a ball query, which are two warps
_POINTS = 32  # between two looks at whether its groups are full


@torch.library.custom_op("captionless::farthest_point_sample", mutates_args=())
def farthest_point_sample(xyz: Tensor, m: int) -> Tensor:
    """`point_sets.farthest_point_sample` of contiguous (B, N, 3); N is bounded by the registers."""
    batch, n, _ = xyz.shape
    out = torch.empty(batch, m, dtype=torch.int64, device=xyz.device)
    block = triton.next_power_of_2(n)
    with torch.cuda.device_of(xyz):  # type: ignore[no-untyped-call]
        _farthest_point_sample[(batch,)](
            xyz, out, n, m, BLOCK=block, num_warps=min(16, max(1, block // 512)), enable_fp_fusion=False
        )
    return out


@farthest_point_sample.register_fake
def _(xyz: Tensor, m: int) -> Tensor:
    return xyz.new_empty(xyz.shape[0], m, dtype=torch.int64)


@torch.library.custom_op("captionless::ball_query", mutates_args=())
def ball_query(xyz: Tensor, centers: Tensor, radius: float, nsample: int) -> Tensor:
    """`point_sets.ball_query` of contiguous (B, N, 3) and (B, M, 3)."""
    batch, n, _ = xyz.shape
    m = centers.shape[1]
    out = torch.empty(batch, m, nsample, dtype=torch.int64, device=xyz.device)
    limit = torch.full((1,), radius, dtype=xyz.dtype, device=xyz.device).square()  # rounded as the points are
    sizes = {"CENTRES": _CENTRES, "POINTS": _POINTS, "SAMPLES": triton.next_power_of_2(nsample)}
    grid = (batch, triton.cdiv(m, _CENTRES))
    with torch.cuda.device_of(xyz):  # type: ignore[no-untyped-call]
        _ball_query[grid](xyz, centers, limit, out, n, m, nsample, **sizes, num_warps=2, enable_fp_fusion=False)
    return out


@ball_query.register_fake
def _(xyz: Tensor, centers: Tensor, radius: float, nsample: int) -> Tensor:
    return xyz.new_empty(*centers.shape[:2], nsample, dtype=torch.int64)


@triton.jit
def _farthest_point_sample(xyz, out, n, m, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    cloud = tl.program_id(0).to(tl.int64)
    xyz += cloud * n * 3
    out += cloud * m
    point = tl.arange(0, BLOCK)
    there = point < n
    x = tl.load(xyz + point * 3, there, 0.0)
    y = tl.load(xyz + point * 3 + 1, there, 0.0)
    z = tl.load(xyz + point * 3 + 2, there, 0.0)
    distance = tl.where(there, float("inf"), -1.0).to(x.dtype)
    last = tl.program_id(0) * 0
    tl.store(out, last)
    for i in range(1, m):
        dx = x - tl.load(xyz + last * 3)
        dy = y - tl.load(xyz + last * 3 + 1)
        dz = z - tl.load(xyz + last * 3 + 2)
        distance = tl.minimum(distance, (dx * dx + dy * dy) + dz * dz)
        last = tl.minimum(tl.argmax(distance, 0, tie_break_left=True), n - 1)  # any point if all are NaN
        tl.store(out + i, last)


@triton.jit
def _ball_query(  # type: ignore[no-untyped-def]
    xyz, centers, limit, out, n, m, nsample, CENTRES: tl.constexpr, POINTS: tl.constexpr, SAMPLES: tl.constexpr
):
    cloud = tl.program_id(0).to(tl.int64)
    xyz += cloud * n * 3
    centre = tl.program_id(1) * CENTRES + tl.arange(0, CENTRES)
    wanted = centre < m
    at = (cloud * m + centre) * 3
    x = tl.load(centers + at, wanted, 0.0)
    y = tl.load(centers + at + 1, wanted, 0.0)
    z = tl.load(centers + at + 2, wanted, 0.0)
    within = tl.load(limit)
    group = out + (cloud * m + centre) * nsample
    found = tl.where(wanted, 0, nsample)
    first = tl.zeros((CENTRES,), tl.int32)
    start = tl.program_id(0) * 0
    while (start < n) & (tl.min(found, 0) < nsample):
        for j in tl.static_range(POINTS):
            point = start + j
            here = xyz + tl.minimum(point, n - 1) * 3
            dx = x - tl.load(here)
            dy = y - tl.load(here + 1)
            dz = z - tl.load(here + 2)
            hit = ((dx * dx + dy * dy) + dz * dz < within) & (found < nsample) & (found * 0 + point < n)
            tl.store(group + found, (found * 0 + point).to(tl.int64), hit)
            first = tl.where(hit & (found == 0), point, first)
            found += hit.to(tl.int32)
        start += POINTS
    sample = tl.arange(0, SAMPLES)[None, :]
    rest = (sample >= found[:, None]) & (sample < nsample) & wanted[:, None]
    tl.store(group[:, None] + sample, (first[:, None] + sample * 0).to(tl.int64), rest)
