"""The weighted contrastive loss, tile by tile: one product for both directions, no (N, N) matrices of autograd.

With logits L[i, s] = scale * image_i . shape_s, eq. 5 needs for every anchor a sum of exp(L) times weights: along a row
for images, along a column for shapes. Eq. 6's weights are a symmetric matrix S times a factor f of the anchor, so both
directions sum the same numbers E[i, s] = exp(L[i, s]) S[i, s],

    Z[i] = f[i] sum_s E[i, s]          Z'[s] = f[s] sum_i E[i, s],

and the gradient with respect to L is E[i, s] (f[i] / Z[i] + f[s] / Z'[s]), less 2 at the positives, over 2N. That is
one product of embeddings forward and two backward where autograd takes six, and a few tiles of memory where it takes a
dozen matrices. As many of the logits as `KEPT` says are kept for the backward pass, the others computed again.

A tile is a block of anchors with a strip of candidates. On a CPU it stays in the cache from the product that makes its
logits to those that take its gradient, and the strips of a block are dealt out to the cores. A GPU gets whole rows.
Sums over strips are added in their order, so that the bits don't depend on which core was first.

Before an exponential the greatest logit is subtracted. Up to a scale of 40 that is the greatest there can be, the same
for all pairs: float32 holds even exp(-80) of it. Above, where low cosines would underflow, it is the greatest of the
row for one direction and of the column for the other, as logsumexp does it, at the cost of a second exponential. Pairs
that are masked for the direction do not count: a false negative may be far nearer than all that is left.

Each rank holds the rows of its own images against all shapes. Column sums are added up over ranks, and so is the
gradient of the shapes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from captionless.runtime.torch_threads import torch_pool
from captionless.trainer import distributed
from captionless.trainer.losses.pair_weights import PairWeights

T = TypeVar("T")

ROWS, COLUMNS = 1024, 1024
"""Anchors and candidates of a tile on a CPU at most: 4 MiB of float32, for products at full speed."""

_STRIPS, _NARROWEST = 8, 256  # a smaller batch has as many strips, so that all cores have work, but no narrower ones

_ROWS_OF_GPU = 1024  # with all their candidates: enough work for a launch

KEPT = 3 << 26
"""Bytes of logits that a rank keeps for the backward pass at most; computing all again would be a fourth product."""

_SAFE = 40.0  # the bound up to which exp(logit - bound), at least exp(-80), is a normal float32


def contrastive_share(
    image: Tensor, shape: Tensor, scale: Tensor, weights: PairWeights | None, sizes: Sequence[int], kept: int = KEPT
) -> Tensor:
    """This rank's share of eq. 5, both directions averaged: 0-d, differentiable in `image`, `shape` and `scale`.

    image, shape: (n, D), this rank's rows of a global batch of N. scale: 0-d, 1/tau. weights: None is InfoNCE. sizes:
    rows held by each rank. kept: see `KEPT`. In at least float32. The shares of all ranks sum to the loss.
    """
    dtype = torch.promote_types(image.dtype, torch.float32)
    found: Tensor = _Share.apply(image.to(dtype), shape.to(dtype), scale.to(dtype), weights, tuple(sizes), kept)
    return found


class _Tiles:
    """The logits and weights of this rank's anchors with all candidates, tile by tile."""

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
        self._rows = ROWS if image.device.type == "cpu" else _ROWS_OF_GPU
        rows = min(len(image), kept // (len(shapes) * image.element_size()))
        self._kept = image.new_empty(rows - rows % self._rows if rows < len(image) else rows, len(shapes))
        self._known = False
        self._of_thread = threading.local()

    def map(self, work: Callable[[LossTile], T]) -> Iterator[tuple[slice, Iterator[T]]]:
        """Of each block of anchors its rows, and `work` of its tiles from left to right; all of that must be taken
        before the next block. Different tiles of a block are worked on at once."""
        on_cpu = self._image.device.type == "cpu"
        count = len(self._shapes)
        width = min(COLUMNS, max(_NARROWEST, -(-count // _STRIPS))) if on_cpu else count
        strips = [slice(at, min(at + width, count)) for at in range(0, count, width)]
        with torch_pool(self._image.device) as pool:
            for start in range(0, len(self._image), self._rows):
                rows = slice(start, min(start + self._rows, len(self._image)))
                weights = [(None, None)] if self._weights is None else self._weights.rows(rows)
                scaled = None if self._is_known(rows) else self._scale * self._image[rows]

                def tile(columns: slice, rows: slice = rows, weights: Any = weights, scaled: Any = scaled) -> T:
                    return work(LossTile(self, rows, columns, weights, scaled))

                yield rows, pool.map(tile, strips)
        self._known = True

    def _is_known(self, rows: slice) -> bool:
        return self._known and rows.stop <= len(self._kept)

    def logits(
        self, rows: slice, columns: slice, scaled: Tensor | None, of_rows: Tensor | None, of_columns: Tensor | None
    ) -> Tensor:
        """Those of a tile; with `hide`, masked pairs have -inf. scaled: the anchors, None where logits are known."""
        kept = self._kept[rows, columns] if rows.stop <= len(self._kept) else self.room(0, rows, columns)
        if scaled is None:
            return kept
        torch.mm(scaled, self._shapes[columns].t(), out=kept)
        if self._hide and of_rows is not None and of_columns is not None:
            kept.masked_fill_((of_rows == 0) & (of_columns == 0), -torch.inf)
        return kept

    def room(self, number: int, rows: slice, columns: slice) -> Tensor:
        """Room for a tile, which the thread's next one gets again: it stays in the cache, and nothing is allocated."""
        rooms, name = self._of_thread.__dict__, str(number)
        size = (rows.stop - rows.start) * (columns.stop - columns.start)
        if name not in rooms or rooms[name].numel() < size:
            rooms[name] = self._image.new_empty(size)
        found: Tensor = rooms[name][:size].view(rows.stop - rows.start, -1)
        return found


class LossTile:
    """Some anchors with some candidates."""

    def __init__(
        self,
        tiles: _Tiles,
        rows: slice,
        columns: slice,
        weights: Sequence[tuple[Tensor | None, Tensor | None]],
        scaled: Tensor | None,
    ) -> None:
        self.rows, self.columns, self._tiles = rows, columns, tiles
        self.weights = [_of_columns(columns, *pair) for pair in weights]
        self.logits = tiles.logits(rows, columns, scaled, *self.weights[0])
        self._is_known = scaled is None

    def positives(self, matrix: Tensor) -> tuple[slice, Tensor]:
        """Which anchors have their own candidate in the tile, and its entries of a matrix like the tile: a view."""
        offset = self._tiles.first + self.rows.start - self.columns.start
        own = matrix.diagonal(offset)
        start = self.rows.start + max(0, -offset)
        return slice(start, start + len(own)), own

    def exponentials(self, row_top: Tensor, column_top: Tensor, shared: bool) -> tuple[Tensor, Tensor]:
        """exp(logits - top) for anchors along rows and along columns. Where the tops are the same, one tensor twice,
        in the place of the logits: what is kept of these are then their exponentials."""
        if shared:
            if not self._is_known:
                self.logits.sub_(row_top[self.rows]).exp_()
            return self.logits, self.logits
        along = torch.sub(self.logits, row_top[self.rows], out=self._room(1))
        across = torch.sub(self.logits, column_top[:, self.columns], out=self._room(2))
        if self._is_one_sided:  # what is masked, and may be above the top, has the weight 0: it must be finite
            along.clamp_(max=0)
            across.clamp_(max=0)
        return along.exp_(), across.exp_()

    def tops(self) -> tuple[Tensor, Tensor]:
        """The greatest unmasked logits of rows, (n, 1), and of columns, (1, columns)."""
        along = across = self.logits
        of_rows, of_columns = self.weights[0]
        if self._is_one_sided and of_rows is not None and of_columns is not None:
            along, across = (self.logits.masked_fill(of == 0, -torch.inf) for of in (of_rows, of_columns))
        return along.amax(1, keepdim=True), across.amax(0, keepdim=True)

    @property
    def _is_one_sided(self) -> bool:
        of_rows, of_columns = self.weights[0]
        return of_rows is not of_columns

    def times(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """x * weight: x itself without one, or a tensor that the next call overwrites."""
        return x if weight is None else torch.mul(x, weight, out=self._room(3))

    def spread(self, x: Tensor, shares: Sequence[Sequence[Tensor]], of: int, room: int) -> Tensor:
        """x times the sum over the weights of each times its shares of it, which are (rows, 1) or (columns,); the
        weights are those `of` rows (0) or of columns (1)."""
        out, each = self._room(room), self._room(5)
        for m, (share, weights) in enumerate(zip(shares, self.weights, strict=True)):
            one = share[0] if len(share) == 1 else torch.add(*share, out=out if m == 0 else each)
            weight = weights[of]
            if m > 0 and weight is not None:
                out.addcmul_(one, weight)
            elif weight is not None:
                torch.mul(one, weight, out=out)
            elif one is not out:
                out.copy_(one.expand_as(out))
        return out.mul_(x)

    def _room(self, number: int) -> Tensor:
        return self._tiles.room(number, self.rows, self.columns)


def _of_columns(columns: slice, *weights: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Strips of an anchors' and a candidates' weights; one tensor twice where these are one."""
    of_rows, of_columns = weights
    found = None if of_rows is None else of_rows[:, columns]
    if of_columns is of_rows:
        return found, found
    return found, None if of_columns is None else of_columns[:, columns]


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
        tiles = _Tiles(image, shapes, scale, weights, own.start, kept, hide=not shared)
        factors = (image.new_ones(1, total) if weights is None else weights.factors).to(image.device, torch.float64)
        row_top, column_top = image.new_full((len(image), 1), bound), image.new_full((1, total), bound)
        if not shared:
            column_top = distributed.all_reduce_max(_tops(tiles, row_top.fill_(-bound), column_top.fill_(-bound)))

        positive = image.new_empty(len(image))
        row_sums, column_sums = factors.new_zeros(len(factors), len(image)), torch.zeros_like(factors)

        def sums(tile: LossTile) -> list[Tensor]:
            """Those of the tile's rows, for each of the weights; those of its columns are added."""
            places, logits = tile.positives(tile.logits)
            positive[places] = logits
            along, across = tile.exponentials(row_top, column_top, shared)
            of_rows = []
            for m, (of_row, of_column) in enumerate(tile.weights):
                weighted = tile.times(along, of_row)
                of_rows.append(weighted.sum(1))
                if across is not along or of_column is not of_row:
                    weighted = tile.times(across, of_column)
                column_sums[m, tile.columns] += weighted.sum(0)
            return of_rows

        for rows, of_tiles in tiles.map(sums):
            for of_rows in of_tiles:
                for m, found in enumerate(of_rows):
                    row_sums[m, rows] += found
        column_sums = distributed.all_reduce_sum(column_sums)

        row_z, column_z = (factors[:, own] * row_sums).sum(0), (factors * column_sums).sum(0)
        ctx.tiles, ctx.shared, ctx.sizes = tiles, shared, sizes
        shares = (factors[:, own] / row_z).to(image), (factors / column_z).to(image)
        ctx.save_for_backward(image, scale, shapes, row_top, column_top, *shares)
        log_z = row_z.log() + column_z[own].log() + row_top[:, 0] + column_top[0, own]
        return ((log_z - 2 * positive).sum() / (2 * total)).to(image)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        image, scale, shapes, row_top, column_top, row_share, column_share = ctx.saved_tensors
        tiles, each = ctx.tiles, grads[0] / (2 * len(shapes))
        of_image = torch.zeros_like(image) if ctx.needs_input_grad[0] else None
        of_shapes = torch.zeros_like(shapes)

        def gradients(tile: LossTile) -> Tensor | None:
            """That of the tile's anchors, if it is needed; that of its candidates is added."""
            along, across = tile.exponentials(row_top, column_top, ctx.shared)
            of_rows, of_columns = row_share[:, tile.rows, None], column_share[:, tile.columns]
            if across is along and all(row is column for row, column in tile.weights):
                of_logits = tile.spread(along, [*zip(of_rows, of_columns, strict=True)], of=0, room=3)
            else:
                of_logits = tile.spread(along, [(x,) for x in of_rows], of=0, room=3)
                of_logits += tile.spread(across, [(x,) for x in of_columns], of=1, room=4)
            tile.positives(of_logits)[1].sub_(2)
            of_shapes[tile.columns].addmm_(of_logits.t(), image[tile.rows])
            return None if of_image is None else of_logits @ shapes[tile.columns]

        for rows, of_tiles in tiles.map(gradients):
            for of_tile in of_tiles:
                if of_image is not None:
                    of_image[rows] += of_tile
        of_scale = each * (shapes * of_shapes).sum()
        of_shape = distributed.own_sum(of_shapes.mul_(each * scale), ctx.sizes)
        return None if of_image is None else of_image.mul_(each * scale), of_shape, of_scale, None, None, None


def _tops(tiles: _Tiles, row_top: Tensor, column_top: Tensor) -> Tensor:
    """The greatest logits of rows, (n, 1), into `row_top`, and of columns, (1, N), returned."""

    def greatest(tile: LossTile) -> Tensor:
        of_columns = column_top[:, tile.columns]
        of_rows, found = tile.tops()
        torch.maximum(of_columns, found, out=of_columns)
        return of_rows

    for rows, of_tiles in tiles.map(greatest):
        for of_tile in of_tiles:
            torch.maximum(row_top[rows], of_tile, out=row_top[rows])
    return column_top


def _candidates(image: Tensor, shape: Tensor, sizes: Sequence[int]) -> tuple[Tensor, float]:
    """All ranks' shapes, (N, D), and a bound of |image . shape|, the same on every rank."""
    lengths = torch.linalg.vector_norm(image, dim=1, keepdim=True)
    if distributed.world_size() == 1:
        return shape, float(lengths.max() * torch.linalg.vector_norm(shape, dim=1).max())
    every = distributed.gather(torch.cat([shape, lengths], 1), sizes)
    shapes = every[:, :-1].contiguous()
    return shapes, float(every[:, -1].max() * torch.linalg.vector_norm(shapes, dim=1).max())
