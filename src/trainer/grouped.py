"""The two steps of a set abstraction that touch every (centre, neighbour) pair, without a tensor of grouped points.

A set abstraction takes, for each centre q, its K neighbours p with features f, applies linear -> BatchNorm -> ReLU ->
linear -> BatchNorm to ((p - q) / r, f) and keeps the maximum over the neighbours. Three identities make that cheap on
a CPU, and all are exact:

- The first linear layer commutes with grouping: W.((p - q) / r, f) = a[neighbour] - b[centre], where a holds one row
  per point and b one per centre. `gather_norm_relu` takes a and b, finds the statistics of the differences in one pass
  and writes the normalised, rectified rows in a second.
- A ball query pads the groups that it cannot fill with copies of their first neighbour, and copies stay equal through
  every layer. `group` keeps one of them with its number, which the statistics and gradients count; of 256 points and
  16 neighbours about a quarter of the rows is left.
- A positive affine map commutes with the maximum, and a BatchNorm is one once the sign of its weight is moved into the
  linear layer before it. `linear_norm_max` therefore multiplies block by block into a small buffer, and keeps of each
  block only its statistics and, per centre and channel, the largest value and the neighbour it came from. The
  gradient at the linear layer's output is then sparse (the winners) plus a dense part that is affine in the output
  itself; the dense part folds into products of size C x C, so the backward pass never holds the output either.

Tensors that are not on the CPU go through plain torch, which is also the reference in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from captionless.trainer.distributed import all_reduce_sum
from captionless.trainer.norm import BatchNorm

_BLOCK_ELEMENTS = 1 << 16  # of a linear layer's output held at once: 256 KiB of float32 stay in the cache


@dataclass(frozen=True)
class Groups:
    """The neighbours of B x M centres as rows, centre after centre: rows starts[g] .. starts[g + 1] - 1 are group g's.

    index: (B, M, K) int64, as a ball query returns it. starts: (B M + 1,) int64. copies: (B M,) int64, how many equal
    neighbours the first row of a group stands for; 1 each unless copies are merged.
    """

    index: Tensor
    starts: Tensor
    copies: Tensor
    merged: bool


def group(index: Tensor, merge: bool) -> Groups:
    """The groups of a ball query's result, (B, M, K) int64; `merge` makes one row of the copies that fill a group.

    Merging is for the fused steps on the CPU; what normalises rows in between must not see it.
    """
    index = index.contiguous()
    centres, k = index.shape[0] * index.shape[1], index.shape[2]
    starts = torch.arange(0, (centres + 1) * k, k, device=index.device)
    copies = torch.ones(centres, dtype=torch.int64, device=index.device)
    if merge:
        _merge_copies(*map(_array, (index.view(centres, k), starts, copies)))
    return Groups(index, starts, copies, merge)


def gather_norm_relu(a: Tensor, b: Tensor, groups: Groups, norm: BatchNorm) -> Tensor:
    """relu(norm(a[neighbour] - b[centre])), differentiable in a, b and the norm's parameters.

    a: (B, N, C), b: (B, M, C), groups: of B x M centres, neighbours into N; returns (rows, C).
    """
    if not can_merge(a, norm):
        return gather_norm_relu_torch(a, b, groups, norm)
    a, b = a.contiguous(), b.contiguous()
    if not norm.training:
        out = a.new_empty(int(groups.starts[-1]), a.shape[-1])
        _gather_affine_relu(*map(_array, (a, b, groups.index, groups.starts, *norm.affine(), out)))
        return out
    rows: Tensor = _GatherNormRelu.apply(a, b, norm.weight, norm.bias, groups, norm)
    return rows


def gather_norm_relu_torch(a: Tensor, b: Tensor, groups: Groups, norm: BatchNorm) -> Tensor:
    """`gather_norm_relu` in plain torch, on any device, for groups that are not merged."""
    _check_not_merged(groups)
    index = groups.index
    flat = index.flatten(1).unsqueeze(-1).expand(-1, -1, a.shape[-1])
    grouped = a.gather(1, flat).view(*index.shape, -1) - b.unsqueeze(2)
    return functional.relu(norm(grouped)).flatten(0, 2)


def linear_norm_max(h: Tensor, weight: Tensor, norm: BatchNorm, groups: Groups) -> Tensor:
    """The maximum over neighbours of norm(h @ weight.T), differentiable in h, weight and the norm's parameters.

    h: (rows, C), weight: (D, C); returns (B, M, D).
    """
    if not can_merge(h, norm):
        return linear_norm_max_torch(h, weight, norm, groups)
    best: Tensor = _LinearNormMax.apply(h.contiguous(), weight, norm.weight, norm.bias, groups, norm)
    return best.view(*groups.index.shape[:2], -1)


def linear_norm_max_torch(h: Tensor, weight: Tensor, norm: BatchNorm, groups: Groups) -> Tensor:
    """`linear_norm_max` in plain torch, on any device, for groups that are not merged."""
    _check_not_merged(groups)
    return torch.as_tensor(norm(functional.linear(h, weight)).view(*groups.index.shape, -1).amax(dim=2))


def can_merge(x: Tensor, norm: BatchNorm) -> bool:
    """Whether the fused steps, which take merged groups, serve this input: on the CPU, except for gradients through
    the running statistics of evaluation mode."""
    return x.device.type == "cpu" and (norm.training or not torch.is_grad_enabled())


def _check_not_merged(groups: Groups) -> None:
    if groups.merged:
        raise ValueError("merged groups are for the fused steps on the CPU only")


class _GatherNormRelu(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, weight: Tensor, bias: Tensor, groups: Groups, norm: BatchNorm
    ) -> Tensor:
        pivot = a.mean((0, 1)) - b.mean((0, 1))
        sums = torch.zeros(2, a.shape[-1], dtype=torch.float64)
        index, starts, copies = groups.index, groups.starts, groups.copies
        _gather_statistics(*map(_array, (a, b, index, starts, copies, pivot, sums)))
        mean, rstd, count = norm.merge(sums[0], sums[1], pivot, index.numel())
        scale = weight * rstd
        out = a.new_empty(int(starts[-1]), a.shape[-1])
        _gather_affine_relu(*map(_array, (a, b, index, starts, scale, bias - mean * scale, out)))
        ctx.save_for_backward(a, b, index, starts, copies, weight, mean, rstd, out)
        ctx.count = count
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None, None]:
        a, b, index, starts, copies, weight, mean, rstd, out = ctx.saved_tensors
        grad = grads[0].contiguous()
        sums = torch.zeros(2, a.shape[-1], dtype=torch.float64)
        _gather_backward_sums(*map(_array, (a, b, index, starts, mean, rstd, out, grad, sums)))
        sums = sums.to(a.dtype)
        average = all_reduce_sum(sums) / ctx.count
        da, db = torch.zeros_like(a), torch.zeros_like(b)
        # d(row) = weight * rstd * (g - average[0] - (row - mean) * rstd * average[1]), an affine function of the row
        slope = weight * rstd * rstd * average[1]
        offset = weight * rstd * average[0] - mean * slope
        scale = weight * rstd
        _gather_backward(*map(_array, (a, b, index, starts, copies, scale, slope, offset, out, grad, da, db)))
        return da, db, sums[1], sums[0], None, None


class _LinearNormMax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, h: Tensor, weight: Tensor, gain: Tensor, bias: Tensor, groups: Groups, norm: BatchNorm
    ) -> Tensor:
        starts, copies, pairs = groups.starts, groups.copies, groups.index.numel()
        sign = torch.where(gain < 0, -1.0, 1.0).to(gain.dtype)
        signed = weight * sign.unsqueeze(1)
        extra = (copies - 1).to(h.dtype)  # of the first rows
        h_mean = (h.sum(0) + extra @ h[starts[:-1]]) / pairs
        pivot = signed @ h_mean  # the mean of the outputs
        best = h.new_empty(len(copies), weight.shape[0])
        winner = torch.empty(best.shape, dtype=torch.int32)
        sums = torch.zeros(2, weight.shape[0], dtype=torch.float64)
        most = max(_BLOCK_ELEMENTS // weight.shape[0], groups.index.shape[-1])
        buffer = h.new_empty(most, weight.shape[0])
        transposed = signed.t().contiguous()
        block, at, times, top, who = map(_array, (buffer, starts, copies, best, winner))
        around = _array(pivot), _array(sums)
        for first, last in pairwise(_blocks(at, most)):
            rows = h[at[first] : at[last]]
            torch.mm(rows, transposed, out=buffer[: len(rows)])
            _block_max(block, at[first : last + 1], times[first:last], *around, top[first:last], who[first:last])
        if norm.training:
            # the rounding of h_mean leaves a rest in sums[0], which `merge` accounts for
            mean, rstd, count = norm.merge(sums[0], sums[1], pivot, pairs, sign)
        else:
            mean, count = norm.running_mean * sign, 0
            rstd = torch.rsqrt(norm.running_var + norm.eps)
        normal = (best - mean) * rstd
        ctx.save_for_backward(h, starts, copies, signed, sign, gain, rstd, normal, winner, h_mean, mean - pivot)
        ctx.count, ctx.pairs = count, pairs
        return torch.addcmul(bias, normal, gain.abs())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None, None]:
        h, starts, copies, signed, sign, gain, rstd, normal, winner, h_mean, shift = ctx.saved_tensors
        grad = grads[0]
        sums = torch.stack([grad.sum(0), (grad * normal).sum(0)])
        average = all_reduce_sum(sums) / ctx.count
        scale = gain.abs() * rstd
        # The dense part of d(output) is -(offset + slope * (signed @ (h - h_mean))).
        slope = scale * rstd * average[1]
        offset = scale * average[0] - slope * shift
        inner = signed.t() @ (slope.unsqueeze(1) * signed)
        constant = inner @ h_mean - offset @ signed
        dh = h @ inner.neg_()
        total = h_mean * ctx.pairs
        firsts = h[starts[:-1]]
        second = h.t() @ h + (firsts * (copies - 1).unsqueeze(1)).t() @ firsts - torch.outer(h_mean, total)
        d_signed = -(torch.outer(offset, total) + slope.unsqueeze(1) * (signed @ second))
        sparse = (grad * scale).contiguous()
        _add_winners(*map(_array, (sparse, winner, starts, copies, signed, constant, h, dh, d_signed)))
        return dh, d_signed * sign.unsqueeze(1), sums[1] * sign, sums[0], None, None


def _blocks(starts: NDArray[np.int64], most: int) -> list[int]:
    """Group numbers that cut the rows into blocks of at most `most` rows, whole groups each."""
    bounds = [0]
    while bounds[-1] < len(starts) - 1:
        bounds.append(int(np.searchsorted(starts, starts[bounds[-1]] + most, side="right")) - 1)
    return bounds


def _array(x: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = x.detach().numpy()
    return array


@numba.njit(cache=True, nogil=True)
def _merge_copies(index: NDArray[np.int64], starts: NDArray[np.int64], copies: NDArray[np.int64]) -> None:
    """A ball query lists distinct neighbours first; from the first one's return on, all are copies of it."""
    groups, k = index.shape
    for g in range(groups):
        kept = 1
        while kept < k and index[g, kept] != index[g, 0]:
            kept += 1
        starts[g + 1] = starts[g] + kept
        copies[g] = 1 + k - kept


@numba.njit(cache=True, nogil=True)
def _gather_statistics(
    a: NDArray[Any],
    b: NDArray[Any],
    index: NDArray[np.int64],
    starts: NDArray[np.int64],
    copies: NDArray[np.int64],
    pivot: NDArray[Any],
    sums: NDArray[np.float64],
) -> None:
    """sums += the sum and the sum of squares over pairs of a[index] - b - pivot."""
    batch, m, _ = index.shape
    channels = a.shape[2]
    first, second, base = np.empty(channels, a.dtype), np.empty(channels, a.dtype), np.empty(channels, a.dtype)
    for i in range(batch):
        for j in range(m):
            g = i * m + j
            times = a.dtype.type(copies[g])
            point = a[i, index[i, j, 0]]
            for c in range(channels):
                base[c] = b[i, j, c] + pivot[c]
                d = point[c] - base[c]
                first[c] = times * d
                second[c] = times * d * d
            for n in range(1, starts[g + 1] - starts[g]):
                point = a[i, index[i, j, n]]
                for c in range(channels):
                    d = point[c] - base[c]
                    first[c] += d
                    second[c] += d * d
            for c in range(channels):
                sums[0, c] += first[c]
                sums[1, c] += second[c]


@numba.njit(cache=True, nogil=True)
def _gather_affine_relu(
    a: NDArray[Any],
    b: NDArray[Any],
    index: NDArray[np.int64],
    starts: NDArray[np.int64],
    scale: NDArray[Any],
    shift: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """out = max(0, (a[index] - b) * scale + shift)."""
    batch, m, _ = index.shape
    channels = a.shape[2]
    base = np.empty(channels, a.dtype)
    zero = a.dtype.type(0)
    for i in range(batch):
        for j in range(m):
            g = i * m + j
            for c in range(channels):
                base[c] = shift[c] - b[i, j, c] * scale[c]
            for n in range(starts[g + 1] - starts[g]):
                point, row = a[i, index[i, j, n]], out[starts[g] + n]
                for c in range(channels):
                    row[c] = max(point[c] * scale[c] + base[c], zero)


@numba.njit(cache=True, nogil=True)
def _gather_backward_sums(
    a: NDArray[Any],
    b: NDArray[Any],
    index: NDArray[np.int64],
    starts: NDArray[np.int64],
    mean: NDArray[Any],
    rstd: NDArray[Any],
    out: NDArray[Any],
    grad: NDArray[Any],
    sums: NDArray[np.float64],
) -> None:
    """sums += the sum of g and of g * normalised row, where g is the gradient that the ReLU lets through."""
    batch, m, _ = index.shape
    channels = a.shape[2]
    zero = a.dtype.type(0)
    first, second, base = np.empty(channels, a.dtype), np.empty(channels, a.dtype), np.empty(channels, a.dtype)
    for i in range(batch):
        for j in range(m):
            g = i * m + j
            for c in range(channels):
                first[c] = 0
                second[c] = 0
                base[c] = b[i, j, c] + mean[c]
            for n in range(starts[g + 1] - starts[g]):
                point, row, gradient = a[i, index[i, j, n]], out[starts[g] + n], grad[starts[g] + n]
                for c in range(channels):
                    passed = gradient[c] if row[c] > zero else zero
                    first[c] += passed
                    second[c] += passed * (point[c] - base[c])
            for c in range(channels):
                sums[0, c] += first[c]
                sums[1, c] += second[c] * rstd[c]


@numba.njit(cache=True, nogil=True)
def _gather_backward(
    a: NDArray[Any],
    b: NDArray[Any],
    index: NDArray[np.int64],
    starts: NDArray[np.int64],
    copies: NDArray[np.int64],
    scale: NDArray[Any],
    slope: NDArray[Any],
    offset: NDArray[Any],
    out: NDArray[Any],
    grad: NDArray[Any],
    da: NDArray[Any],
    db: NDArray[Any],
) -> None:
    """Scatter d(row) = scale * g - copies * (offset + slope * row) into da, and its negative into db."""
    batch, m, _ = index.shape
    channels = a.shape[2]
    zero, one = a.dtype.type(0), a.dtype.type(1)
    base = np.empty(channels, a.dtype)
    for i in range(batch):
        for j in range(m):
            g = i * m + j
            centre = db[i, j]
            for c in range(channels):
                base[c] = offset[c] - slope[c] * b[i, j, c]
            for n in range(starts[g + 1] - starts[g]):
                p = index[i, j, n]
                point, target, row, gradient = a[i, p], da[i, p], out[starts[g] + n], grad[starts[g] + n]
                times = a.dtype.type(copies[g]) if n == 0 else one
                for c in range(channels):
                    passed = gradient[c] if row[c] > zero else zero
                    d = scale[c] * passed - times * (slope[c] * point[c] + base[c])
                    target[c] += d
                    centre[c] -= d


@numba.njit(cache=True, nogil=True)
def _block_max(
    block: NDArray[Any],
    starts: NDArray[np.int64],
    copies: NDArray[np.int64],
    pivot: NDArray[Any],
    sums: NDArray[np.float64],
    best: NDArray[Any],
    winner: NDArray[np.int32],
) -> None:
    """`sums` += those of a block's values less the pivot, and of their squares; per centre the first largest value
    and its neighbour."""
    centres, channels = best.shape
    first, second = np.empty(channels, block.dtype), np.empty(channels, block.dtype)
    for g in range(centres):
        top, who = best[g], winner[g]
        start = starts[g] - starts[0]
        times = block.dtype.type(copies[g])
        row = block[start]
        for c in range(channels):
            top[c] = row[c]
            who[c] = 0
            d = row[c] - pivot[c]
            first[c] = times * d
            second[c] = times * d * d
        for n in range(1, starts[g + 1] - starts[g]):
            row = block[start + n]
            for c in range(channels):
                value = row[c]
                d = value - pivot[c]
                first[c] += d
                second[c] += d * d
                larger = value > top[c]
                who[c] = np.int32(n) if larger else who[c]
                top[c] = value if larger else top[c]
        for c in range(channels):
            sums[0, c] += first[c]
            sums[1, c] += second[c]


@numba.njit(cache=True, nogil=True)
def _add_winners(
    grad: NDArray[Any],
    winner: NDArray[np.int32],
    starts: NDArray[np.int64],
    copies: NDArray[np.int64],
    weight: NDArray[Any],
    constant: NDArray[Any],
    h: NDArray[Any],
    dh: NDArray[Any],
    d_weight: NDArray[Any],
) -> None:
    """Complete dh's dense part, by the constant and by the copies that first rows stand for, and add the sparse part
    of both gradients: each channel's goes through the neighbour that won the maximum."""
    centres, outputs = grad.shape
    channels = h.shape[1]
    one = h.dtype.type(1)
    for g in range(centres):
        for n in range(starts[g], starts[g + 1]):
            row = dh[n]
            times = h.dtype.type(copies[g]) if n == starts[g] else one
            for c in range(channels):
                row[c] = times * (row[c] + constant[c])
        for o in range(outputs):
            value = grad[g, o]
            n = starts[g] + winner[g, o]
            source, target, w, dw = h[n], dh[n], weight[o], d_weight[o]
            for c in range(channels):
                target[c] += value * w[c]
                dw[c] += value * source[c]
