"""Batch normalisation over rows, with statistics of the whole global batch when several ranks train together.

Activations are kept rows-major, (..., C), so that a linear layer is one matrix product without a transpose; every
leading dimension is a row. `torch.nn.SyncBatchNorm` needs a GPU, this one works on any device and backend: the
row count, the mean and the centred squares of every rank are merged in the forward pass and the two sums of the
backward pass added, one exchange each, which makes the result that of one process holding all rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from captionless.trainer.distributed import all_gather, all_reduce_sum, world_size


class BatchNorm(nn.Module):
    """(..., C) -> (..., C), float; parameters and buffers as `torch.nn.BatchNorm1d` names and defines them.

    Statistics span all ranks of the process group while training. ValueError when training on fewer than 2 rows.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum, self.tracks = eps, momentum, True
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            scale, shift = self.affine()
            return x * scale + shift
        rows = x.reshape(-1, x.shape[-1]).to(self.weight.dtype)  # what autocast made of it
        if x.device.type == "cpu":
            pivot = rows.detach().mean(0)
            squares = (rows.detach() - pivot).square().sum(0)
        else:  # in one pass
            var, pivot = torch.var_mean(rows.detach(), 0, correction=0)
            squares = var * len(rows)
        mean, rstd, count = self.merge(torch.full_like(pivot, 0), squares, pivot, rows.shape[0])
        out: Tensor = _Normalise.apply(rows, self.weight, self.bias, mean, rstd, count)
        return out.view_as(x)

    def affine(self) -> tuple[Tensor, Tensor]:
        """(scale, shift), each (C,): what the layer does in evaluation mode is x * scale + shift."""
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale

    @torch.no_grad()
    def merge(
        self, total: Tensor, squares: Tensor, pivot: Tensor, rows: int, sign: Tensor | float = 1.0
    ) -> tuple[Tensor, Tensor, int]:
        """(mean, 1/std, count) of the global batch, each (C,); the running statistics are brought up to date.

        `total` and `squares` are this rank's sums of (x - pivot) and (x - pivot)^2 over its `rows` rows; a pivot near
        the mean keeps the variance from cancelling. Sums are merged in float64. Where the caller's x is the layer's
        input times `sign` (+1 or -1 per channel), the running mean gets the sign of the input again.
        """
        total, squares, pivot = total.double(), squares.double(), pivot.double()
        count = rows
        mean = pivot + total / rows
        centred = squares - total * total / rows
        if world_size() > 1:  # one exchange, merged as Chan, Golub & LeVeque (1979) do
            mine = torch.cat([mean, centred, mean.new_tensor([float(rows)])])
            means, squares, counts = torch.split(all_gather(mine), [len(mean), len(mean), 1], dim=1)
            count = round(float(counts.sum()))
            mean = (counts * means).sum(0) / count
            centred = (squares + counts * (means - mean).square()).sum(0)
        if count < 2:
            raise ValueError("batch normalisation requires more than one row in training")
        var = (centred / count).clamp_min(0)
        if self.tracks:
            self.running_mean.lerp_((mean * sign).to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_((centred / (count - 1)).to(self.running_var.dtype), self.momentum)
            self.num_batches_tracked += 1
        dtype = self.weight.dtype
        return mean.to(dtype), torch.rsqrt(var + self.eps).to(dtype), count


@contextlib.contextmanager
def running_statistics_kept(model: nn.Module) -> Iterator[None]:
    """Within it, no batch enters the running statistics of the model's norms: for a pass that is made twice."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    for norm in norms:
        norm.tracks = False
    try:
        yield
    finally:
        for norm in norms:
            norm.tracks = True


class _Normalise(torch.autograd.Function):
    """weight * (x - mean) * rstd + bias, where mean and rstd are functions of all ranks' x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, rstd: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(x, weight, mean, rstd)
        ctx.count = count
        scale = weight * rstd
        return torch.addcmul(bias - mean * scale, x, scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        x, weight, mean, rstd = ctx.saved_tensors
        if x.device.type == "cuda" and not torch.compiler.is_compiling():  # which fuses what is below by itself
            return *_backward_on_gpu(grads[0].contiguous(), x, weight, mean, rstd, ctx.count), None, None, None
        grad = grads[0]
        normal = (x - mean) * rstd
        sums = torch.stack([grad.sum(0), (grad * normal).sum(0)])
        average, slope = all_reduce_sum(sums).div(ctx.count).unbind(0)
        dx = weight * rstd * (grad - torch.addcmul(average, slope, normal))
        return dx, sums[1], sums[0], None, None, None


def _backward_on_gpu(
    grad: Tensor, x: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, weight and bias by the kernels of `torch.nn.SyncBatchNorm`: two passes over the rows."""
    grad_sum, product_sum, of_weight, of_bias = torch.batch_norm_backward_reduce(
        grad, x, mean, rstd, weight, True, True, True
    )
    grad_sum, product_sum = all_reduce_sum(torch.stack([grad_sum, product_sum])).unbind(0)
    counts = torch.tensor([count], dtype=torch.int32, device=x.device)
    dx = torch.batch_norm_backward_elemt(grad, x, mean, rstd, weight, grad_sum, product_sum, counts)
    return dx, of_weight, of_bias
