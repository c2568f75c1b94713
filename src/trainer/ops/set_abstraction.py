"""Grouping, shared MLP and max-pooling of a set abstraction, fused: no tensor of grouped points is ever made.

A set abstraction (PointNet++, Qi et al., arXiv 1706.02413) takes, for each centre q, its K neighbours p with features
f, applies linear -> BatchNorm -> ReLU -> linear -> BatchNorm to ((p - q) / r, f) and keeps the maximum over the
neighbours. Four identities make that cheap on a CPU, and all are exact:

- The first linear layer commutes with grouping: W.((p - q) / r, f) = a[neighbour] - b[centre], where a holds one row
  per point and b one per centre. One pass over the pairs finds the statistics of the differences; a second one makes
  the normalised, rectified rows, of a block of centres at a time.
- A ball query pads the groups that it cannot fill with copies of their first neighbour, and copies stay equal through
  every layer. One of them is kept with its number, which the statistics and gradients count; of 256 points and 16
  neighbours about a quarter of the rows is left.
- A positive affine map commutes with the maximum, and a BatchNorm is one once the sign of its weight is moved into the
  linear layer before it. So of the second layer's output for a block there remain its statistics and, per centre and
  channel, the largest value and the neighbour it came from.
- The gradient at that output is sparse (the winners) plus a dense part that is affine in the output itself, and the
  dense part folds into products of size C x C. The backward pass makes a block's rows again from a and b, and of their
  gradient keeps sums over each point's pairs and each centre's; what the first norm's statistics add to it is affine
  in the difference, and follows in a second pass over the pairs.

So nothing of the size of the pairs is ever held. Clouds are divided among the cores. Tensors that are not on the CPU,
and low precision, go through plain torch, which is also the reference in the tests.

Under autocast the features' part of the first layer is a product of low precision, but the places' is not: a[neighbour]
and b[centre] are large and nearly the same, and their difference would be made of their rounding errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from captionless.runtime.torch_threads import slices, torch_pool
from captionless.trainer.distributed import all_reduce_sum
from captionless.trainer.ops import set_abstraction_kernels as kernels
from captionless.trainer.ops.batch_norm import BatchNorm

_BLOCK_ELEMENTS = 1 << 16  # of a linear layer's output held at once: 256 KiB of float32 stay in the cache


def set_abstraction(
    positions: Tensor,
    features: Tensor,
    centres: Tensor,
    index: Tensor,
    first: Tensor,
    inner: BatchNorm,
    weight: Tensor,
    outer: BatchNorm,
) -> Tensor:
    """The maximum over neighbours n of each centre c of outer(relu(inner((p[n] - q[c], f[n]) @ first.T)) @ weight.T).

    positions, features: p (B, N, 3) and f (B, N, F) of the points; centres: q (B, M, 3); first: (C, 3 + F), weight:
    (D, C); all of one dtype. index: (B, M, K) int64, neighbours into N as a ball query lists them: distinct ones, then
    copies of the first. Returns (B, M, D), differentiable in all but `index`.
    """
    low = torch.is_autocast_enabled("cpu")
    constant = not inner.training, not outer.training  # statistics, of which the gradient takes none here
    if positions.device.type != "cpu" or low or constant[0] != constant[1] or (constant[0] and torch.is_grad_enabled()):
        return set_abstraction_torch(positions, features, centres, index, first, inner, weight, outer)
    given = positions.contiguous(), features.contiguous(), centres.contiguous(), first
    parameters = inner.weight, inner.bias, weight, outer.weight, outer.bias
    found: Tensor = _SetAbstraction.apply(*given, *parameters, index, inner, outer)
    return found


def set_abstraction_torch(
    positions: Tensor,
    features: Tensor,
    centres: Tensor,
    index: Tensor,
    first: Tensor,
    inner: BatchNorm,
    weight: Tensor,
    outer: BatchNorm,
) -> Tensor:
    """`set_abstraction` in plain torch, on any device."""
    a, b = before_grouping(positions, features, centres, first)
    return linear_norm_max(gather_norm_relu(a, b, index, inner), weight, outer)


def before_grouping(positions: Tensor, features: Tensor, centres: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(B, N, C) and (B, M, C) whose differences are (p[neighbour] - q[centre], f[neighbour]) @ weight.T; arguments as
    of `set_abstraction`, with weight for `first`. Of the places' type, also under autocast."""
    of_place, of_features = weight[:, :3], weight[:, 3:]
    placed, b = of_places(positions, of_place), of_places(centres, of_place)
    if torch.is_autocast_enabled(positions.device.type):
        return placed + functional.linear(features, of_features), b
    a = torch.addmm(placed.flatten(0, 1), features.flatten(0, 1), of_features.t())
    return a.view_as(placed), b


def of_places(places: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The linear layer of places, (..., I) -> (..., C), in their own precision whatever autocast says: what follows
    takes differences of them. I is 3 or 4, so that it costs next to nothing."""
    with torch.autocast(places.device.type, enabled=False):
        return functional.linear(places, weight, bias)


def gather_norm_relu(a: Tensor, b: Tensor, index: Tensor, norm: BatchNorm) -> Tensor:
    """relu(norm(a[neighbour] - b[centre])), (B, M, K, C), in plain torch, of what `before_grouping` returns."""
    flat = index.flatten(1).unsqueeze(-1).expand(-1, -1, a.shape[-1])
    return functional.relu(norm(a.gather(1, flat).view(*index.shape, -1) - b.unsqueeze(2)))


def linear_norm_max(h: Tensor, weight: Tensor, norm: BatchNorm) -> Tensor:
    """The maximum over neighbours of norm(h @ weight.T), (B, M, K, C) -> (B, M, D), in plain torch."""
    return torch.as_tensor(norm(functional.linear(h, weight)).amax(dim=2))


class _SetAbstraction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        positions: Tensor,
        features: Tensor,
        centres: Tensor,
        first: Tensor,
        inner_gain: Tensor,
        inner_bias: Tensor,
        weight: Tensor,
        outer_gain: Tensor,
        outer_bias: Tensor,
        index: Tensor,
        inner: BatchNorm,
        outer: BatchNorm,
    ) -> Tensor:
        a, b = _before_grouping(positions, features, centres, first)
        pairs = _Pairs(a, b, *kernels.merge_copies(_array(index.flatten(0, 1))))
        sign = _signs(outer_gain)
        signed = weight * sign.unsqueeze(1)
        if not inner.training:
            best = pairs.maximum(*inner.affine(), signed)[0]
            rstd = torch.rsqrt(outer.running_var + outer.eps)
            return torch.addcmul(outer_bias, (best - outer.running_mean * sign) * rstd, outer_gain.abs())
        pivot = a.mean((0, 1)) - b.mean((0, 1))
        total, squares = pairs.statistics(pivot)
        inner_mean, inner_rstd, inner_count = inner.merge(total, squares, pivot, index.numel())
        inner_scale = inner_gain * inner_rstd
        shift = inner_bias - inner_mean * inner_scale
        best, winner, (total, squares), pivot = pairs.maximum(inner_scale, shift, signed)
        mean, rstd, count = outer.merge(total, squares, pivot, index.numel(), sign)
        normal = best.sub_(mean).mul_(rstd)
        of_inner, of_outer = (inner_mean, inner_rstd, inner_scale, shift), (weight, outer_gain, mean, rstd, normal)
        ctx.save_for_backward(positions, features, centres, first, *of_inner, *of_outer, winner)
        ctx.neighbours, ctx.inner_count, ctx.count = pairs.neighbours, inner_count, count
        return torch.addcmul(outer_bias, normal, outer_gain.abs())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        positions, features, centres, first, inner_mean, inner_rstd, inner_scale, shift, *saved = ctx.saved_tensors
        weight, gain, mean, rstd, normal, winner = saved
        grad = grads[0].contiguous()
        outer_sums = _gradient_sums(grad, normal)
        sign = _signs(gain)
        signed, scale = weight * sign.unsqueeze(1), (gain.abs() * rstd).unsqueeze(1)
        slope, offset = _dense_part(outer_sums, ctx.count, scale[:, 0], mean, rstd)
        matrix = signed.t() @ (signed * -slope.unsqueeze(1))
        a, b = _before_grouping(positions, features, centres, first)
        pairs, da, db = _Pairs(a, b, *ctx.neighbours), _scratch(a.shape, a).zero_(), _scratch(b.shape, b).zero_()
        d_signed, gram, sums = pairs.backward(
            inner_scale, shift, inner_mean, grad, winner, signed * scale, matrix, -(offset @ signed), da, db
        )
        d_signed.mul_(scale).sub_(torch.outer(offset, sums[2])).sub_(slope.unsqueeze(1) * (signed @ gram))
        inner_sums = torch.stack([sums[0], sums[1] * inner_rstd])
        pairs.spread(
            inner_scale, *_dense_part(inner_sums, ctx.inner_count, inner_scale, inner_mean, inner_rstd), da, db
        )

        del a, b, pairs  # room for the gradients
        da, db = da.flatten(0, 1), db.flatten(0, 1)
        of_place, of_features = first[:, :3], first[:, 3:]
        d_place = da.t() @ positions.flatten(0, 1) + db.t() @ centres.flatten(0, 1)
        d_first = torch.cat([d_place, da.t() @ features.flatten(0, 1)], dim=1)
        d_points = [
            (d @ w).view_as(x) if needed else None
            for d, w, x, needed in zip(
                (da, da, db),
                (of_place, of_features, of_place),
                (positions, features, centres),
                ctx.needs_input_grad[:3],
                strict=True,
            )
        ]
        parameters = inner_sums[1], inner_sums[0], d_signed * sign.unsqueeze(1), outer_sums[1] * sign, outer_sums[0]
        return *d_points, d_first, *parameters, None, None, None


def _before_grouping(positions: Tensor, features: Tensor, centres: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """`before_grouping` without gradients, in `_scratch`."""
    a = _scratch((*features.shape[:2], len(weight)), features)
    b = _scratch((*centres.shape[:2], len(weight)), centres)
    of_place, of_features = weight[:, :3].t(), weight[:, 3:].t()
    torch.mm(positions.flatten(0, 1), of_place, out=a.flatten(0, 1)).addmm_(features.flatten(0, 1), of_features)
    torch.mm(centres.flatten(0, 1), of_place, out=b.flatten(0, 1))
    return a, b


def _scratch(shape: Sequence[int], like: Tensor) -> Tensor:
    """Memory for a moment, of a tensor's type. Not torch's, which is aligned: glibc puts no aligned memory into a hole
    of just its size, so that each such tensor would leave one that the next does not fill."""
    return torch.from_numpy(np.empty(shape, _array(like).dtype))


def _signs(gain: Tensor) -> Tensor:
    """-1 where `gain` is negative, else 1."""
    return torch.where(gain < 0, -1.0, 1.0).to(gain.dtype)


def _gradient_sums(grad: Tensor, normal: Tensor) -> Tensor:
    """(2, C): the sums of grad, (B, M, C), and of grad * normal."""
    with torch_pool() as pool:
        clouds = slices(len(grad), grad.numel())
        found = pool.map(lambda c: torch.stack([grad[c], grad[c] * normal[c]]).sum((1, 2)), clouds)
        return torch.stack([*found]).sum(0)


def _dense_part(sums: Tensor, count: int, scale: Tensor, mean: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor]:
    """(slope, offset), each (C,): the gradient at a BatchNorm's input x is scale * g - (offset + slope * x), where g is
    that at its output and `sums`, (2, C), those of g and of g times the normalised x over this rank's rows."""
    average = all_reduce_sum(sums) / count
    slope = scale * rstd * average[1]
    return slope, scale * average[0] - slope * mean


class _Pairs:
    """A batch's pairs of a centre and a neighbour, as rows: in parts for the cores, and in blocks for their caches.

    a: (B, N, C), b: (B, M, C), contiguous; the rest as `kernels.merge_copies` returns it.
    """

    def __init__(
        self, a: Tensor, b: Tensor, points: NDArray[np.int32], starts: NDArray[np.int64], copies: NDArray[np.int32]
    ) -> None:
        self._a, self._b = a, b
        self.neighbours = points, starts, copies
        self._most = int(np.diff(starts).max())  # rows of a group

    def statistics(self, pivot: Tensor) -> Tensor:
        """(2, C) float64: sums over pairs of a[neighbour] - b[centre] - pivot and of its square."""
        arrays, around = (_array(self._a), _array(self._b), *self.neighbours), _array(pivot)
        with torch_pool() as pool:
            found = pool.map(lambda part: kernels.statistics(*arrays, *part, around), self._parts())
            return torch.from_numpy(np.sum([*found], axis=0))

    def maximum(self, scale: Tensor, shift: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of y = relu((a[neighbour] - b[centre]) * scale + shift) @ weight.T, with weight (D, C): the largest value and
        the number in the group of the row that it first occurs in, (B, M, D) each; the sums over pairs of y - pivot and
        of its square, (2, D) float64; the pivot, (D,), a mean over some of the pairs."""
        _, starts, copies = self.neighbours
        best = weight.new_empty(*self._b.shape[:2], len(weight))
        winner = torch.empty(best.shape, dtype=torch.uint8 if self._most <= 256 else torch.int32)
        transposed = weight.t().contiguous()
        _, rows = next(self._blocks(self._parts()[0], len(weight), scale, shift))
        pivot = weight @ rows.mean(0)
        into = _array(pivot), _array(best.flatten(0, 1)), _array(winner.flatten(0, 1))

        def part(groups: tuple[int, int]) -> NDArray[np.float64]:
            sums = np.zeros((2, len(weight)))
            out = self._room(len(weight), len(weight))
            for block, rows in self._blocks(groups, len(weight), scale, shift):
                torch.mm(rows, transposed, out=out[: len(rows)])
                kernels.maximum(_array(out), starts, copies, *block, *into, sums)
            return sums

        with torch_pool() as pool:
            sums = np.sum([*pool.map(part, self._parts())], axis=0)
        return best, winner, torch.from_numpy(sums), pivot

    def backward(
        self,
        scale: Tensor,
        shift: Tensor,
        mean: Tensor,
        grad: Tensor,
        winner: Tensor,
        weight: Tensor,
        matrix: Tensor,
        constant: Tensor,
        da: Tensor,
        db: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient at the rows h is h @ matrix + constant and, at the rows that won, grad @ weight besides.

        Adds what the ReLU lets through of it to da, (B, N, C), over each point's pairs, and to db, (B, M, C), over each
        centre's. Returns the sum of grad times the rows that won, (D, C); that of h times h, (C, C); and, (3, C), those
        of what is let through, of it times (a[neighbour] - b[centre] - mean), and of h; all three as of `weight`.
        """
        points, starts, copies = self.neighbours
        channels, outputs = weight.shape[1], len(weight)
        fixed = [_array(x) for x in (mean, grad.flatten(0, 1), winner.flatten(0, 1), weight, constant)]
        a, b = _array(self._a), _array(self._b)

        def part(groups: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
            d_weight, gram = torch.zeros_like(weight), torch.zeros_like(matrix)
            sums = torch.zeros(3, channels, dtype=torch.float64)
            of_rows = self._room(channels, outputs)
            for block, rows in self._blocks(groups, outputs, scale, shift):
                torch.mm(rows, matrix, out=of_rows[: len(rows)])
                into = [_array(x) for x in (rows, of_rows, d_weight, da, db, sums)]
                kernels.backward_rows(a, b, points, starts, copies, *block, *fixed, *into)
                gram.addmm_(rows.t(), rows)
            return d_weight, gram, sums

        found = torch.zeros_like(weight), torch.zeros_like(matrix), torch.zeros(3, channels, dtype=torch.float64)
        with torch_pool() as pool:
            for one in pool.map(part, self._parts()):
                for total, x in zip(found, one, strict=True):
                    total.add_(x)
        return found[0], found[1], found[2].to(weight.dtype)

    def spread(self, scale: Tensor, slope: Tensor, offset: Tensor, da: Tensor, db: Tensor) -> None:
        """See `kernels.spread`."""
        arrays = _array(self._a), _array(self._b), *self.neighbours
        fixed = [_array(x) for x in (scale, slope, offset, da, db)]
        with torch_pool() as pool:
            list(pool.map(lambda part: kernels.spread(*arrays, *part, *fixed), self._parts()))

    def _parts(self) -> list[tuple[int, int]]:
        """The first group of some clouds and the one after their last, for each part."""
        count, m, channels = self._b.shape
        elements = len(self.neighbours[0]) * channels
        return [(clouds.start * m, clouds.stop * m) for clouds in slices(count, elements)]

    def _blocks(
        self, groups: tuple[int, int], outputs: int, scale: Tensor, shift: Tensor
    ) -> Iterator[tuple[tuple[int, int], Tensor]]:
        """Groups, first and end, with their rows relu((a[neighbour] - b[centre]) * scale + shift), which the next block
        overwrites."""
        points, starts, _ = self.neighbours
        rows = self._room(self._a.shape[-1], outputs)
        arrays = _array(self._a), _array(self._b), points, starts
        into = [_array(x) for x in (scale, shift, rows)]
        first, end = groups
        while first < end:
            last = min(int(np.searchsorted(starts, starts[first] + len(rows), side="right")) - 1, end)
            kernels.affine_relu(*arrays, first, last, *into)
            yield (first, last), rows[: starts[last] - starts[first]]
            first = last

    def _room(self, channels: int, outputs: int) -> Tensor:
        """For the rows of a block of which a layer has so many outputs."""
        return self._a.new_empty(max(_BLOCK_ELEMENTS // outputs, self._most), channels)


def _array(x: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = x.detach().numpy()
    return array
