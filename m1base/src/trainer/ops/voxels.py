"""Sparse voxel grids, and convolutions between them that never touch the empty space.

A grid is the rising list of its occupied voxels' keys. A key holds the cloud's number and three coordinates in one
integer, 16 bits each, so that a voxel's neighbour has its key plus a constant, and that of the grid twice as coarse its
coordinates shifted by one bit. Which voxels an offset of a kernel joins follows exactly from walking along two rising
lists; the pairs of all offsets are the convolution's rulebook (Graham et al., arXiv 1711.10275). A convolution then is,
offset by offset, a gather, a matrix product and a scatter, and so are both of its gradients.

The walk is compiled (numba) for the CPU; elsewhere it is a binary search in plain torch, the walk's reference in the
tests. Voxel p of a grid lies at coordinates [p, p + 1) times its edge from the origin, as in MinkowskiEngine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

LIMIT = 1 << 14
"""How many voxels a point may be away from the origin along an axis."""

_BITS = 16
_COORDINATES = (1 << 3 * _BITS) - 1
_HALVES = 0x7FFF_7FFF_7FFF  # all but the bits that a shift brings from one coordinate into the next
_ORIGIN = 1 << 15


@dataclass(frozen=True)
class Grid:
    """The occupied voxels of a batch of clouds. keys: (V,) int64, rising: by cloud, then x, y, z."""

    keys: Tensor

    def coarser(self) -> tuple[Grid, Tensor]:
        """The grid of voxels twice as large, and for each voxel here the one that contains it, (V,) int64."""
        clouds = self.keys & ~_COORDINATES
        keys, parent = torch.unique(clouds | (self.keys >> 1 & _HALVES), return_inverse=True)
        return Grid(keys), parent

    def sizes(self, clouds: int) -> list[int]:
        """The number of voxels of each of `clouds` clouds; voxels of a cloud are contiguous."""
        ends = torch.arange(1, clouds + 1, device=self.keys.device) << 3 * _BITS
        counts: list[int] = torch.searchsorted(self.keys, ends).diff(prepend=ends.new_zeros(1)).tolist()
        return counts


def voxelise(xyz: Tensor, features: Tensor, edge: float) -> tuple[Grid, Tensor]:
    """The voxels that hold points, and the mean of these points' features: (B, N, 3), (B, N, C) -> grid, (V, C).

    ValueError when a point is not finite or further from the origin than `LIMIT` voxels.
    """
    # A GPU divides by a number by multiplying with its reciprocal, which rounds otherwise; by a tensor it divides.
    cells = torch.floor(xyz.detach() / torch.full_like(xyz[:1, :1, :1], edge))
    if not bool((cells.abs() <= LIMIT).all()):
        raise ValueError(f"points must be finite and at most {LIMIT} voxels of {edge} away from the origin")
    keys = torch.arange(len(xyz), device=xyz.device).unsqueeze(1)
    for coordinate in (cells.long() + _ORIGIN).unbind(-1):
        keys = keys << _BITS | coordinate
    keys, voxel, points = torch.unique(keys, return_inverse=True, return_counts=True)
    sums = features.new_zeros(len(keys), features.shape[-1]).index_add(0, voxel.flatten(), features.flatten(0, 1))
    return Grid(keys), sums / points.unsqueeze(1)


@dataclass(frozen=True)
class Rules:
    """A kernel's rulebook: offset k joins rows sources[i] and targets[i] for starts[k] <= i < starts[k + 1].

    sources, targets: (P,) int64; no offset joins a row twice. rows: how many targets there are.
    """

    sources: Tensor
    targets: Tensor
    starts: tuple[int, ...]
    rows: int

    def pairs(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """(offset, sources, targets) of the offsets that join anything."""
        for k, (first, last) in enumerate(pairwise(self.starts)):
            if first < last:
                yield k, self.sources[first:last], self.targets[first:last]


def offsets(kernel: int) -> list[tuple[int, int, int]]:
    """The offsets that a kernel of that width covers, x slowest: for 3, -1 to 1 along each axis; for 2, 0 to 1."""
    along = range(-((kernel - 1) // 2), kernel // 2 + 1)
    return list(product(along, along, along))


def rules(source: Grid, target: Grid, kernel: int) -> Rules:
    """The rulebook of a convolution from a grid onto itself, or onto the one twice as coarse (stride 2).

    Voxel p of `target` sees the occupied ones among the voxels p + o or 2 p + o of `source`, for all `offsets` o.
    """
    base = target.keys
    if target is not source:
        base = base & ~_COORDINATES | (base & _COORDINATES) << 1
    steps = torch.tensor([(x << 2 * _BITS) + (y << _BITS) + z for x, y, z in offsets(kernel)], device=base.device)
    join = _join if base.device.type == "cpu" else join_torch
    sources, targets, counts = join(source.keys, base, steps)
    starts = (0, *counts.cumsum(0).tolist())
    return Rules(sources, targets, starts, len(base))


def _join(keys: Tensor, base: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which of `keys` is base[j] + steps[k], as pairs by k and then j: places in `keys`, j, and how many each k has."""
    arrays = keys.numpy(), base.numpy(), steps.numpy()
    counts = torch.zeros(len(steps), dtype=torch.int64)
    none = np.empty(0, np.int64)
    _walk(*arrays, counts.numpy(), none, none)
    sources, targets = torch.empty(2, int(counts.sum()), dtype=torch.int64)
    _walk(*arrays, counts.numpy(), sources.numpy(), targets.numpy())
    return sources, targets, counts


def join_torch(keys: Tensor, base: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`_join` in plain torch, on any device."""
    wanted = base + steps.unsqueeze(1)
    place = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
    hit = keys[place] == wanted
    return place[hit], hit.nonzero()[:, 1], hit.sum(1)


def convolve(x: Tensor, weight: Tensor, book: Rules) -> Tensor:
    """Row t of the result is the sum of x[s] @ weight[k] over the pairs (s, t) of each offset k.

    x: (V, C), weight: (K, C, D) -> (book.rows, D), differentiable in both, once.
    """
    out: Tensor = _Convolve.apply(x, weight, book)
    return out


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, book: Rules) -> Tensor:
        out = weight.new_zeros(book.rows, weight.shape[2])
        for k, sources, targets in book.pairs():
            _add(out, targets, (x.index_select(0, sources) @ weight[k]).to(out.dtype))
        ctx.save_for_backward(x, weight)
        ctx.book = book
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, None]:
        x, weight = ctx.saved_tensors
        dx = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        of_weight = torch.zeros_like(weight)
        for k, sources, targets in ctx.book.pairs():
            grad = grads[0].index_select(0, targets)
            torch.mm(x.index_select(0, sources).t(), grad, out=of_weight[k])
            if dx is not None:
                _add(dx, sources, grad @ weight[k].t())
        return dx, of_weight, None


def _add(out: Tensor, index: Tensor, rows: Tensor) -> None:
    """out[index] += rows, all of `index` different; torch's index_add_ goes through them value by value on a CPU."""
    if out.device.type == "cpu":
        _add_rows(out.numpy(), index.numpy(), rows.numpy())
    else:
        out.index_add_(0, index, rows)


@numba.njit(cache=True, nogil=True)
def _add_rows(out: NDArray[Any], index: NDArray[np.int64], rows: NDArray[Any]) -> None:
    for i in range(len(index)):
        to, row = out[index[i]], rows[i]
        for c in range(len(row)):
            to[c] += row[c]


@numba.njit(cache=True, nogil=True)
def _walk(
    keys: NDArray[np.int64],
    base: NDArray[np.int64],
    steps: NDArray[np.int64],
    counts: NDArray[np.int64],
    sources: NDArray[np.int64],
    targets: NDArray[np.int64],
) -> None:
    """Both lists rise, so that each offset goes along them once. With no room for pairs they are only counted."""
    pairs = 0
    for k in range(len(steps)):
        before, i = pairs, 0
        for j in range(len(base)):
            wanted = base[j] + steps[k]
            while i < len(keys) and keys[i] < wanted:
                i += 1
            if i < len(keys) and keys[i] == wanted:
                if len(sources) > 0:
                    sources[pairs] = i
                    targets[pairs] = j
                pairs += 1
        counts[k] = pairs - before
