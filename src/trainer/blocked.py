"""The weighted contrastive loss in blocks of anchors: one product for both directions, no (N, N) matrices of autograd.

With logits L[i, s] = scale * image_i . shape_s, eq. 5 needs for every anchor a sum of exp(L) times weights: along a row
for images, along a column for shapes. Eq. 6's weights are a symmetric matrix S times a factor f of the anchor, so both
directions sum the same numbers E[i, s] = exp(L[i, s]) S[i, s],

    Z[i] = f[i] sum_s E[i, s]          Z'[s] = f[s] sum_i E[i, s],

and the gradient with respect to L is E[i, s] (f[i] / Z[i] + f[s] / Z'[s]), less 2 at the positives, over 2N. That is
one product of embeddings forward and two backward where autograd takes six, and a few blocks of memory where it takes a
dozen matrices. As many of the logits as `KEPT` says are kept for the backward pass, the others computed again.

Before an exponential the greatest logit is subtracted. Up to a scale of 40 that is the greatest there can be, the same
for all pairs: float32 holds even exp(-80) of it. Above, where low cosines would underflow, it is the greatest of the
row for one direction and of the column for the other, as logsumexp does it, at the cost of a second exponential.

Each rank holds the rows of its own images against all shapes. Column sums are added up over ranks, and so is the
gradient of the shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from captionless.trainer import distributed

ROWS = 128
"""Anchors in a block: with 8192 candidates 4 MiB of float32."""

KEPT = 3 << 26
"""Bytes of logits that a rank keeps for the backward pass at most; computing all again would be a fourth product."""

_SAFE = 40.0  # the bound up to which exp(logit - bound), at least exp(-80), is a normal float32


class PairWeights(Protocol):
    """Weights of a batch's pairs: anchor i weighs candidate s by `sum_m factors[m, i] * S_m[i, s]`."""

    factors: Tensor
    """(M, N), of all anchors of the global batch."""

    def rows(self, rows: slice) -> Sequence[tuple[Tensor, Tensor]]:
        """For each m, of this rank's anchors `rows`: S_m[i, s] and S_m[s, i], (len(rows), N) each, 0 where masked.

        One tensor twice where S_m is symmetric: then both directions share a sum.
        """


def weight_rows(weights: PairWeights, rows: slice, first: int = 0) -> Tensor:
    """(len(rows), N): the weights themselves, of a rank's anchors `rows`, whose first is the batch's place `first`."""
    blocks = [of_rows for of_rows, _ in weights.rows(rows)]
    at = first + rows.start
    factors = weights.factors[:, at : at + len(blocks[0]), None]
    return torch.stack([block * factor.to(block) for block, factor in zip(blocks, factors, strict=True)]).sum(0)


def blocked_share(
    image: Tensor, shape: Tensor, scale: Tensor, weights: PairWeights | None, sizes: Sequence[int], kept: int = KEPT
) -> Tensor:
    """This rank's share of eq. 5, both directions averaged: 0-d, differentiable in `image`, `shape` and `scale`.

    image, shape: (n, D), this rank's rows of a global batch of N. scale: 0-d, 1/tau. weights: None is InfoNCE. sizes:
    rows held by each rank. kept: see `KEPT`. In at least float32. The shares of all ranks sum to the loss.
    """
    dtype = torch.promote_types(image.dtype, torch.float32)
    found: Tensor = _Share.apply(image.to(dtype), shape.to(dtype), scale.to(dtype), weights, tuple(sizes), kept)
    return found


class _Pairs:
    """The logits and weights of this rank's anchors with all candidates, block by block."""

    def __init__(
        self,
        image: Tensor,
        shapes: Tensor,
        scale: Tensor,
        weights: PairWeights | None,
        first: int,
        kept: int,
        hide: bool,
    ) -> None:
        self._image, self._shapes, self._scale = image, shapes, scale
        self._weights, self.first, self._hide = weights, first, hide
        rows = min(len(image), kept // (len(shapes) * image.element_size()))
        self._kept = image.new_empty(rows - rows % ROWS if rows < len(image) else rows, len(shapes))
        self._known = False

    def blocks(self) -> Iterator[tuple[slice, Tensor, Sequence[tuple[Tensor | None, Tensor | None]]]]:
        """(rows, logits, weights) of one block after the other. With `hide`, the logits of masked pairs are -inf."""
        for start in range(0, len(self._image), ROWS):
            rows = slice(start, min(start + ROWS, len(self._image)))
            weights = [(None, None)] if self._weights is None else self._weights.rows(rows)
            kept = self._kept[rows] if rows.stop <= len(self._kept) else None
            if self._known and kept is not None:
                yield rows, kept, weights
                continue
            logits = torch.mm(self._scale * self._image[rows], self._shapes.t(), out=kept)
            of_rows, of_columns = weights[0]
            if self._hide and of_rows is not None and of_columns is not None:
                logits.masked_fill_((of_rows == 0) & (of_columns == 0), -torch.inf)
            yield rows, logits, weights
        self._known = True

    def positives(self, rows: slice, matrix: Tensor) -> Tensor:
        """The entries of some rows of a matrix at their own columns: a view."""
        return matrix.diagonal(self.first + rows.start)[: rows.stop - rows.start]


class _Share(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        image: Tensor,
        shape: Tensor,
        scale: Tensor,
        weights: PairWeights | None,
        sizes: tuple[int, ...],
        kept: int,
    ) -> Tensor:
        total, own = sum(sizes), distributed.own_rows(sizes)
        shapes, longest = _candidates(image, shape, sizes)
        bound = float(scale.abs() * longest)
        shared = bound <= _SAFE
        pairs = _Pairs(image, shapes, scale, weights, own.start, kept, hide=not shared)
        factors = (image.new_ones(1, total) if weights is None else weights.factors).to(image.device, torch.float64)

        row_top, column_top = image.new_full((len(image), 1), bound), image.new_full((1, total), bound)
        if not shared:
            column_top.fill_(-bound)
            for rows, logits, _ in pairs.blocks():
                row_top[rows] = logits.amax(1, keepdim=True)
                torch.maximum(column_top, logits.amax(0, keepdim=True), out=column_top)
            column_top = distributed.all_reduce_max(column_top)

        positive = image.new_empty(len(image))
        row_sums, column_sums = factors.new_empty(len(factors), len(image)), torch.zeros_like(factors)
        work = _Work(shapes, shared=shared)
        for rows, logits, blocks in pairs.blocks():
            positive[rows] = pairs.positives(rows, logits)
            along, across = work.exponentials(logits, row_top[rows], column_top)
            for m, (of_rows, of_columns) in enumerate(blocks):
                weighted = work.times(along, of_rows)
                row_sums[m, rows] = weighted.sum(1).double()
                if across is not along or of_columns is not of_rows:
                    weighted = work.times(across, of_columns)
                column_sums[m] += weighted.sum(0)
        column_sums = distributed.all_reduce_sum(column_sums)

        row_z, column_z = (factors[:, own] * row_sums).sum(0), (factors * column_sums).sum(0)
        ctx.pairs, ctx.shared, ctx.sizes = pairs, shared, sizes
        shares = (factors[:, own] / row_z).to(image), (factors / column_z).to(image)
        ctx.save_for_backward(image, scale, shapes, row_top, column_top, *shares)
        log_z = row_z.log() + column_z[own].log() + row_top[:, 0] + column_top[0, own]
        return ((log_z - 2 * positive).sum() / (2 * total)).to(image)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        image, scale, shapes, row_top, column_top, row_share, column_share = ctx.saved_tensors
        pairs, each = ctx.pairs, grads[0] / (2 * len(shapes))
        of_image = torch.empty_like(image) if ctx.needs_input_grad[0] else None
        of_shapes = torch.zeros_like(shapes)
        work = _Work(shapes, shared=ctx.shared)
        for rows, logits, blocks in pairs.blocks():
            along, across = work.exponentials(logits, row_top[rows], column_top)
            of_logits = work.zeros(len(logits))
            for m, (of_rows, of_columns) in enumerate(blocks):
                a, b = row_share[m, rows, None], column_share[m]
                if across is along and of_columns is of_rows:
                    of_logits.add_(work.times(along, of_rows, a, b))
                else:
                    of_logits.add_(work.times(along, of_rows, a))
                    of_logits.add_(work.times(across, of_columns, b))
            pairs.positives(rows, of_logits).sub_(2)
            of_shapes.addmm_(of_logits.t(), image[rows])
            if of_image is not None:
                torch.mm(of_logits, shapes, out=of_image[rows])
        of_scale = each * (shapes * of_shapes).sum()
        of_shape = distributed.own_sum(of_shapes.mul_(each * scale), ctx.sizes)
        return None if of_image is None else of_image.mul_(each * scale), of_shape, of_scale, None, None, None


class _Work:
    """Room for what is computed of one block after the other, so that no block allocates."""

    def __init__(self, shapes: Tensor, shared: bool) -> None:
        self._shared = shared
        self._room = [shapes.new_empty(ROWS, len(shapes)) for _ in range(3 if shared else 4)]

    def exponentials(self, logits: Tensor, row_top: Tensor, column_top: Tensor) -> tuple[Tensor, Tensor]:
        """exp(logits - top) for anchors along rows and along columns; one tensor twice where the tops are the same."""
        along = torch.sub(logits, row_top, out=self._room[0][: len(logits)]).exp_()
        if self._shared:
            return along, along
        return along, torch.sub(logits, column_top, out=self._room[3][: len(logits)]).exp_()

    def times(self, x: Tensor, weight: Tensor | None, *shares: Tensor) -> Tensor:
        """x * weight * the sum of one or two shares, if any: x itself, or a tensor that the next call overwrites."""
        out = self._room[1][: len(x)]
        if not shares:
            return x if weight is None else torch.mul(x, weight, out=out)
        if len(shares) == 1:
            torch.mul(x, *shares, out=out)
        else:
            torch.add(*shares, out=out).mul_(x)
        return out if weight is None else out.mul_(weight)

    def zeros(self, rows: int) -> Tensor:
        """(rows, N)."""
        return self._room[2][:rows].zero_()


def _candidates(image: Tensor, shape: Tensor, sizes: Sequence[int]) -> tuple[Tensor, float]:
    """All ranks' shapes, (N, D), and a bound of |image . shape|, the same on every rank."""
    lengths = torch.linalg.vector_norm(image, dim=1, keepdim=True)
    if distributed.world_size() == 1:
        return shape, float(lengths.max() * torch.linalg.vector_norm(shape, dim=1).max())
    every = distributed.gather(torch.cat([shape, lengths], 1), sizes)
    shapes = every[:, :-1].contiguous()
    return shapes, float(every[:, -1].max() * torch.linalg.vector_norm(shapes, dim=1).max())
