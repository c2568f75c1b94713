"""The two steps of a set abstraction that touch every (centre, neighbour) pair, without a tensor of grouped points.

A set abstraction takes, for each centre q, its K neighbours p with features f, applies linear -> BatchNorm -> ReLU ->
linear -> BatchNorm to ((p - q) / r, f) and keeps the maximum over the neighbours. Two identities make that cheap on
a CPU, and both are exact:

- The first linear layer commutes with grouping: W.((p - q) / r, f) = a[neighbour] - b[centre], where a holds one row
  per point and b one per centre. `gather_norm_relu` takes a and b, finds the statistics of the differences in one pass
  and writes the normalised, rectified rows in a second.
- A positive affine map commutes with the maximum, and a BatchNorm is one once the sign of its weight is moved into the
  linear layer before it. `linear_norm_max` therefore multiplies block by block into a small buffer, and keeps of each
  block only its statistics and, per centre and channel, the largest value and the neighbour it came from. The
  gradient at the linear layer's output is then sparse (the winners) plus a dense part that is affine in the output
  itself; the dense part folds into products of size C x C, so the backward pass never holds the output either.

Tensors that are not on the CPU go through plain torch, which is also the reference in the tests.
"""

from __future__ import annotations

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


def gather_norm_relu(a: Tensor, b: Tensor, index: Tensor, norm: BatchNorm) -> Tensor:
    """relu(norm(a[index] - b)), differentiable in a, b and the norm's parameters.

    a: (B, N, C), b: (B, M, C), index: (B, M, K) int64 into N; returns (B, M, K, C).
    """
    if a.device.type != "cpu":
        return gather_norm_relu_torch(a, b, index, norm)
    a, b = a.contiguous(), b.contiguous()
    if not norm.training:
        out = a.new_empty(*index.shape, a.shape[-1])
        scale, shift = norm.affine()
        if torch.is_grad_enabled() and (a.requires_grad or b.requires_grad or scale.requires_grad):
            return gather_norm_relu_torch(a, b, index, norm)
        _gather_affine_relu(*map(_array, (a, b, index, scale, shift, out)))
        return out
    rows: Tensor = _GatherNormRelu.apply(a, b, index, norm.weight, norm.bias, norm)
    return rows


def gather_norm_relu_torch(a: Tensor, b: Tensor, index: Tensor, norm: BatchNorm) -> Tensor:
    """`gather_norm_relu` in plain torch, on any device."""
    flat = index.flatten(1).unsqueeze(-1).expand(-1, -1, a.shape[-1])
    grouped = a.gather(1, flat).view(*index.shape, -1) - b.unsqueeze(2)
    return functional.relu(norm(grouped))


def linear_norm_max(h: Tensor, weight: Tensor, norm: BatchNorm) -> Tensor:
    """The maximum over neighbours of norm(h @ weight.T), differentiable in h, weight and the norm's parameters.

    h: (B, M, K, C), weight: (D, C); returns (B, M, D).
    """
    if h.device.type != "cpu":
        return linear_norm_max_torch(h, weight, norm)
    if not norm.training and torch.is_grad_enabled() and (h.requires_grad or weight.requires_grad):
        return linear_norm_max_torch(h, weight, norm)
    out: Tensor = _LinearNormMax.apply(h.contiguous(), weight, norm.weight, norm.bias, norm)
    return out


def linear_norm_max_torch(h: Tensor, weight: Tensor, norm: BatchNorm) -> Tensor:
    """`linear_norm_max` in plain torch, on any device."""
    return torch.as_tensor(norm(functional.linear(h, weight)).amax(dim=2))


class _GatherNormRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, index: Tensor, weight: Tensor, bias: Tensor, norm: BatchNorm) -> Tensor:
        pivot = a.mean((0, 1)) - b.mean((0, 1))
        sums = torch.zeros(2, a.shape[-1], dtype=torch.float64)
        _gather_statistics(*map(_array, (a, b, index, pivot, sums)))
        mean, rstd, count = norm.merge(sums[0], sums[1], pivot, index.numel())
        scale = weight * rstd
        out = a.new_empty(*index.shape, a.shape[-1])
        _gather_affine_relu(*map(_array, (a, b, index, scale, bias - mean * scale, out)))
        ctx.save_for_backward(a, b, index, weight, mean, rstd, out)
        ctx.count = count
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, Tensor, Tensor, None]:
        a, b, index, weight, mean, rstd, out = ctx.saved_tensors
        grad = grads[0].contiguous()
        sums = torch.zeros(2, a.shape[-1], dtype=torch.float64)
        _gather_backward_sums(*map(_array, (a, b, index, mean, rstd, out, grad, sums)))
        sums = sums.to(a.dtype)
        average = all_reduce_sum(sums) / ctx.count
        da, db = torch.zeros_like(a), torch.zeros_like(b)
        # d(row) = weight * rstd * (g - average[0] - (row - mean) * rstd * average[1]), an affine function of the row
        slope = weight * rstd * rstd * average[1]
        offset = weight * rstd * average[0] - mean * slope
        _gather_backward(*map(_array, (a, b, index, weight * rstd, slope, offset, out, grad, da, db)))
        return da, db, None, sums[1], sums[0], None


class _LinearNormMax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, gain: Tensor, bias: Tensor, norm: BatchNorm) -> Tensor:
        batch, m, k, channels = h.shape
        centres = h.view(batch * m, k, channels)
        sign = torch.where(gain < 0, -1.0, 1.0).to(gain.dtype)
        signed = weight * sign.unsqueeze(1)
        h_mean = centres.mean((0, 1))
        pivot = signed @ h_mean  # the mean of the outputs
        best = h.new_empty(batch * m, weight.shape[0])
        winner = torch.empty(best.shape, dtype=torch.int32)
        sums = torch.zeros(2, weight.shape[0], dtype=torch.float64)
        step = max(1, _BLOCK_ELEMENTS // (k * weight.shape[0]))
        buffer = h.new_empty(step * k, weight.shape[0])
        transposed = signed.t().contiguous()
        for start in range(0, batch * m, step):
            rows = centres[start : start + step].view(-1, channels)
            block = buffer[: rows.shape[0]]
            torch.mm(rows, transposed, out=block)
            _block_max(*map(_array, (block, pivot, sums, best[start : start + step], winner[start : start + step])))
        if norm.training:
            # the rounding of h_mean leaves a rest in sums[0], which `merge` accounts for
            mean, rstd, count = norm.merge(sums[0], sums[1], pivot, centres.shape[0] * k, sign)
        else:
            mean, count = norm.running_mean * sign, 0
            rstd = torch.rsqrt(norm.running_var + norm.eps)
        normal = (best - mean) * rstd
        ctx.save_for_backward(h, signed, sign, gain, rstd, normal, winner, h_mean, mean - pivot)
        ctx.count = count
        return torch.addcmul(bias, normal, gain.abs()).view(batch, m, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        h, signed, sign, gain, rstd, normal, winner, h_mean, shift = ctx.saved_tensors
        batch, m, k, channels = h.shape
        grad = grads[0].reshape(batch * m, -1)
        rows = h.view(-1, channels)
        sums = torch.stack([grad.sum(0), (grad * normal).sum(0)])
        average = all_reduce_sum(sums) / ctx.count
        scale = gain.abs() * rstd
        # The dense part of d(output) is -(offset + slope * (signed @ (h - h_mean))).
        slope = scale * rstd * average[1]
        offset = scale * average[0] - slope * shift
        inner = signed.t() @ (slope.unsqueeze(1) * signed)
        constant = inner @ h_mean - offset @ signed
        dh = rows @ inner.neg_()
        total = h_mean * len(rows)
        second = rows.t() @ rows - torch.outer(h_mean, total)
        d_signed = -(torch.outer(offset, total) + slope.unsqueeze(1) * (signed @ second))
        sparse = (grad * scale).contiguous()
        groups = h.view(-1, k, channels), dh.view(-1, k, channels)
        _add_winners(*map(_array, (sparse, winner, signed, constant, *groups, d_signed)))
        return dh.view_as(h), d_signed * sign.unsqueeze(1), sums[1] * sign, sums[0], None


def _array(x: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = x.detach().numpy()
    return array


@numba.njit(cache=True, nogil=True)
def _gather_statistics(
    a: NDArray[Any], b: NDArray[Any], index: NDArray[np.int64], pivot: NDArray[Any], sums: NDArray[np.float64]
) -> None:
    """sums += the sum and the sum of squares over pairs of a[index] - b - pivot."""
    batch, m, k = index.shape
    channels = a.shape[2]
    first, second, base = np.empty(channels, a.dtype), np.empty(channels, a.dtype), np.empty(channels, a.dtype)
    for i in range(batch):
        for j in range(m):
            for c in range(channels):
                first[c] = 0
                second[c] = 0
                base[c] = b[i, j, c] + pivot[c]
            for n in range(k):
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
    scale: NDArray[Any],
    shift: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """out = max(0, (a[index] - b) * scale + shift)."""
    batch, m, k = index.shape
    channels = a.shape[2]
    base = np.empty(channels, a.dtype)
    zero = a.dtype.type(0)
    for i in range(batch):
        for j in range(m):
            for c in range(channels):
                base[c] = shift[c] - b[i, j, c] * scale[c]
            for n in range(k):
                point, row = a[i, index[i, j, n]], out[i, j, n]
                for c in range(channels):
                    row[c] = max(point[c] * scale[c] + base[c], zero)


@numba.njit(cache=True, nogil=True)
def _gather_backward_sums(
    a: NDArray[Any],
    b: NDArray[Any],
    index: NDArray[np.int64],
    mean: NDArray[Any],
    rstd: NDArray[Any],
    out: NDArray[Any],
    grad: NDArray[Any],
    sums: NDArray[np.float64],
) -> None:
    """sums += the sum of g and of g * normalised row, where g is the gradient that the ReLU lets through."""
    batch, m, k = index.shape
    channels = a.shape[2]
    zero = a.dtype.type(0)
    first, second, base = np.empty(channels, a.dtype), np.empty(channels, a.dtype), np.empty(channels, a.dtype)
    for i in range(batch):
        for j in range(m):
            for c in range(channels):
                first[c] = 0
                second[c] = 0
                base[c] = b[i, j, c] + mean[c]
            for n in range(k):
                point, row, g = a[i, index[i, j, n]], out[i, j, n], grad[i, j, n]
                for c in range(channels):
                    passed = g[c] if row[c] > zero else zero
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
    scale: NDArray[Any],
    slope: NDArray[Any],
    offset: NDArray[Any],
    out: NDArray[Any],
    grad: NDArray[Any],
    da: NDArray[Any],
    db: NDArray[Any],
) -> None:
    """Scatter d(row) = scale * g - offset - slope * row into da, and its negative sum over neighbours into db."""
    batch, m, k = index.shape
    channels = a.shape[2]
    zero = a.dtype.type(0)
    base = np.empty(channels, a.dtype)
    for i in range(batch):
        for j in range(m):
            centre = db[i, j]
            for c in range(channels):
                base[c] = slope[c] * b[i, j, c] - offset[c]
            for n in range(k):
                p = index[i, j, n]
                point, target, row, g = a[i, p], da[i, p], out[i, j, n], grad[i, j, n]
                for c in range(channels):
                    passed = g[c] if row[c] > zero else zero
                    d = scale[c] * passed - slope[c] * point[c] + base[c]
                    target[c] += d
                    centre[c] -= d


@numba.njit(cache=True, nogil=True)
def _block_max(
    block: NDArray[Any],
    pivot: NDArray[Any],
    sums: NDArray[np.float64],
    best: NDArray[Any],
    winner: NDArray[np.int32],
) -> None:
    """`sums` += those of a block's values less the pivot, and of their squares; per centre the first largest value
    and its neighbour."""
    centres, channels = best.shape
    k = block.shape[0] // centres
    first, second = np.empty(channels, block.dtype), np.empty(channels, block.dtype)
    for i in range(centres):
        top, who = best[i], winner[i]
        row = block[i * k]
        for c in range(channels):
            top[c] = row[c]
            who[c] = 0
            first[c] = row[c] - pivot[c]
            second[c] = first[c] * first[c]
        for n in range(1, k):
            row = block[i * k + n]
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
    weight: NDArray[Any],
    constant: NDArray[Any],
    h: NDArray[Any],
    dh: NDArray[Any],
    d_weight: NDArray[Any],
) -> None:
    """Add the sparse part of the gradient: each channel's goes through the neighbour that won the maximum. And add
    to dh's rows what the mean's gradient gives to all of them."""
    centres, outputs = grad.shape
    _, k, channels = h.shape
    for i in range(centres):
        for n in range(k):
            row = dh[i, n]
            for c in range(channels):
                row[c] += constant[c]
        for o in range(outputs):
            g = grad[i, o]
            n = winner[i, o]
            source, target, w, dw = h[i, n], dh[i, n], weight[o], d_weight[o]
            for c in range(channels):
                target[c] += g * w[c]
                dw[c] += g * source[c]
