"""Point-set operators: farthest point sampling, ball query and nearest neighbours.

Each operator exists as compiled kernels for CPU tensors (numba, the GIL released) and in plain torch for every other
device, which is the kernels' reference in the tests; those that a GPU does badly in torch are compiled for it as well
(`triton_ops`). All of them find the same to the index: they form squared distances as (dx*dx + dy*dy) + dz*dz in the
dtype of the points, without fused multiply-add, so that ties and radius borders fall alike everywhere.
"""

from __future__ import annotations

import os
import shutil
import warnings

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captionless.runtime.torch_threads import in_parts
from captionless.trainer.ops import cuda_ops

_BLOCK = 1 << 24  # distances held at once by the torch paths
_MOST_POINTS = 16384  # of a cloud that a GPU's program holds in registers
_COMPILER = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")


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
        return farthest_point_sample_torch(xyz, m)
    out = torch.empty(xyz.shape[0], m, dtype=torch.int64)
    in_parts(lambda c: _farthest_point_sample(xyz[c].numpy(), out[c].numpy()), len(xyz), m * xyz[..., 0].numel())
    return out


def farthest_point_sample_torch(xyz: Tensor, m: int) -> Tensor:
    """`farthest_point_sample` in plain torch, on any device: one argmax over (B, N) distances per sample."""
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
        return ball_query_torch(xyz, centers, radius, nsample)
    out = torch.empty(xyz.shape[0], centers.shape[1], nsample, dtype=torch.int64)
    limit = _squared(radius, xyz.dtype)
    pairs = centers.shape[1] * xyz[..., 0].numel()
    in_parts(lambda c: _ball_query(xyz[c].numpy(), centers[c].numpy(), limit, out[c].numpy()), len(xyz), pairs)
    return out


def _compiles() -> bool:
    """Whether Triton can: what launches its kernels is compiled by the machine's C compiler."""
    if _COMPILER is None:
        warnings.warn(
            "no C compiler in PATH: points are sampled in plain torch, a hundred times as slowly; the image's target "
            "`compile` has one",
            stacklevel=3,
        )
    return _COMPILER is not None


def ball_query_torch(xyz: Tensor, centers: Tensor, radius: float, nsample: int) -> Tensor:
    """`ball_query` in plain torch, on any device, in blocks of centres so that memory stays bounded."""
    n = xyz.shape[1]
    kept = min(nsample, n)
    limit = float(_squared(radius, xyz.dtype))
    index = torch.arange(n, device=xyz.device)
    out = []
    for block in torch.split(centers, max(1, _BLOCK // (xyz.shape[0] * n)), dim=1):
        dx, dy, dz = (block[:, :, None, i] - xyz[:, None, :, i] for i in range(3))
        hit = (dx * dx + dy * dy) + dz * dz < limit
        first = torch.where(hit, index, n).topk(kept, dim=-1, largest=False, sorted=True).values
        first = torch.where(first == n, first[..., :1], first)
        first = torch.where(first == n, 0, first)
        out.append(torch.cat([first, first[..., :1].expand(*first.shape[:-1], nsample - kept)], dim=-1))
    return torch.cat(out, dim=1)


def k_nearest(xyz: Tensor, centers: Tensor, k: int) -> Tensor:
    """The `k` points nearest to each centre, the nearest first; equal distances go to the lowest index.

    xyz: (B, N, 3), centers: (B, M, 3), same dtype; returns (B, M, k) int64. ValueError unless 1 <= k <= N.
    """
    xyz, centers = _with_centers(xyz, centers)
    if not 1 <= k <= xyz.shape[1]:
        raise ValueError(f"cannot find the nearest {k} of {xyz.shape[1]} points")
    if xyz.device.type != "cpu":
        return k_nearest_torch(xyz, centers, k)
    out = torch.empty(*centers.shape[:2], k, dtype=torch.int64)
    pairs = centers.shape[1] * xyz[..., 0].numel()
    in_parts(lambda c: _k_nearest(xyz[c].numpy(), centers[c].numpy(), out[c].numpy()), len(xyz), pairs)
    return out


def k_nearest_torch(xyz: Tensor, centers: Tensor, k: int) -> Tensor:
    """`k_nearest` in plain torch, on any device, in blocks of centres so that memory stays bounded."""
    n = xyz.shape[1]
    index = torch.arange(n, device=xyz.device)
    out = []
    for block in torch.split(centers, max(1, _BLOCK // (xyz.shape[0] * n)), dim=1):
        dx, dy, dz = (block[:, :, None, i] - xyz[:, None, :, i] for i in range(3))
        squares = (dx * dx + dy * dy) + dz * dz
        if squares.dtype == torch.float32:
            # Floats >= 0 order as their bits do; topk leaves open which of several equals it takes, so none are equal.
            order = (squares.view(torch.int32).long() << 32 | index).topk(k, dim=-1, largest=False).indices
        else:
            order = squares.sort(dim=-1, stable=True).indices[..., :k]
        out.append(order)
    return torch.cat(out, dim=1)


def _squared(radius: float, dtype: torch.dtype) -> np.floating:
    """radius^2 rounded as a kernel in `dtype` rounds it."""
    scalar = np.float64 if dtype == torch.float64 else np.float32
    return scalar(radius) * scalar(radius)


_BLOCK = 32
"""Points that share a bounding box."""

_PANEL = 16
"""Boxes whose distances are computed together."""

_CELLS = 16
"""Along each axis, of the grid whose cells order the points."""

_SPREAD = np.array([sum((i >> bit & 1) << 3 * bit for bit in range(4)) for i in range(_CELLS)])
"""The bits of a cell's number at every third place: three of them make a cell's place on the Z-order curve."""


@numba.njit(cache=True, nogil=True)
def _farthest_point_sample(xyz: NDArray[np.floating], out: NDArray[np.int64]) -> None:
    """Points near one another form blocks, and a block is passed over whose bounding box is no nearer to the new sample
    than each of its points is to some sample before. Rounding is monotonic, so that the distance to the box, computed
    as that to a point is, is never above one to a point in it, and nothing that would change is passed over.

    `blocks` holds x, y, z and the distance of a block's points, `boxes` the bounds of a panel of blocks: x, y and z at
    least, at most, and the distance. Rows at constant places of one array are what lets the short loops vectorise.
    """
    batch, n, _ = xyz.shape
    panels = -(-n // (_BLOCK * _PANEL))
    size = panels * _PANEL * _BLOCK
    order = np.zeros(size, np.int32)  # the last blocks are filled up with copies of point 0, which is always nearest
    blocks, boxes = np.empty(4 * size, xyz.dtype), np.empty(panels * 7 * _PANEL, xyz.dtype)
    top, room = np.empty(panels * _PANEL, xyz.dtype), np.empty(_BLOCK, xyz.dtype)
    for b in range(batch):
        points = xyz[b]
        _order_by_cell(points, order)
        for k in range(len(top)):
            for axis in range(3):
                row = blocks[(4 * k + axis) * _BLOCK : (4 * k + axis + 1) * _BLOCK]
                for j in range(_BLOCK):
                    row[j] = points[order[k * _BLOCK + j], axis]
                at = (k // _PANEL * 7 + axis) * _PANEL + k % _PANEL
                boxes[at], boxes[at + 3 * _PANEL] = row.min(), row.max()
            blocks[(4 * k + 3) * _BLOCK : (4 * k + 4) * _BLOCK] = np.inf
        top[:] = np.inf
        last = out[b, 0] = 0
        for i in range(1, out.shape[1]):
            px, py, pz = points[last, 0], points[last, 1], points[last, 2]
            for panel in range(panels):
                box = boxes[panel * 7 * _PANEL : (panel + 1) * 7 * _PANEL]
                _distance_to_boxes(box, px, py, pz)
                for k in range(_PANEL):
                    block = panel * _PANEL + k
                    if box[6 * _PANEL + k] < top[block]:
                        top[block] = _keep_nearer(
                            blocks[4 * _BLOCK * block : 4 * _BLOCK * (block + 1)], px, py, pz, room
                        )
            out[b, i] = _first_farthest(top, blocks, order)
            last = out[b, i]


@numba.njit(cache=True, nogil=True)
def _order_by_cell(points: NDArray[np.floating], order: NDArray[np.int32]) -> None:
    """The numbers of the points, cell after cell of a grid along the Z-order curve."""
    n = len(points)
    low, step = np.empty(3, points.dtype), np.empty(3, points.dtype)
    for axis in range(3):
        low[axis] = points[:, axis].min()
        extent = points[:, axis].max() - low[axis]
        step[axis] = _CELLS * 0.999 / extent if extent > 0 else 0
    cells = np.empty(n, np.int64)
    ends = np.zeros(_CELLS**3 + 1, np.int32)
    for j in range(n):
        cell = 0
        for axis in range(3):
            place = (points[j, axis] - low[axis]) * step[axis]
            if place >= 0 and place < _CELLS:  # what is no number is in cell 0
                cell |= _SPREAD[int(place)] << axis
        cells[j] = cell
        ends[cell + 1] += 1
    for cell in range(_CELLS**3):
        ends[cell + 1] += ends[cell]
    for j in range(n):
        order[ends[cells[j]]] = j
        ends[cells[j]] += 1


# Below, minima and maxima are one instruction each where NaN and the sign of 0 need no care; no value changes.
@numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _distance_to_boxes(boxes: NDArray[np.floating], px: np.floating, py: np.floating, pz: np.floating) -> None:
    """Squared distances of a panel's boxes from a point."""
    zero = boxes.dtype.type(0)
    for k in range(_PANEL):
        dx = max(max(boxes[k] - px, px - boxes[k + 3 * _PANEL]), zero)
        dy = max(max(boxes[k + _PANEL] - py, py - boxes[k + 4 * _PANEL]), zero)
        dz = max(max(boxes[k + 2 * _PANEL] - pz, pz - boxes[k + 5 * _PANEL]), zero)
        boxes[k + 6 * _PANEL] = (dx * dx + dy * dy) + dz * dz


@numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _keep_nearer(
    block: NDArray[np.floating], px: np.floating, py: np.floating, pz: np.floating, room: NDArray[np.floating]
) -> np.floating:
    """The squared distances of a block's points brought up to date; returns the largest.

    By way of `room`: a minimum stored where it was loaded from becomes a masked store, which is slow; and the second
    loop, of a length that the compiler does not know, is not unrolled into single numbers.
    """
    for j in range(_BLOCK):
        dx, dy, dz = block[j] - px, block[j + _BLOCK] - py, block[j + 2 * _BLOCK] - pz
        room[j] = min((dx * dx + dy * dy) + dz * dz, block[j + 3 * _BLOCK])
    top = block.dtype.type(0)
    for j in range(len(room)):
        top = max(top, room[j])
        block[j + 3 * _BLOCK] = room[j]
    return top


@numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _first_farthest(top: NDArray[np.floating], blocks: NDArray[np.floating], order: NDArray[np.int32]) -> np.int32:
    """The lowest number of a point at the largest distance."""
    largest = top[0]
    for value in top:
        largest = max(largest, value)
    none = np.int32(len(order))
    first = none
    for k in range(len(top)):
        if top[k] == largest:
            for j in range(_BLOCK):
                first = min(first, order[k * _BLOCK + j] if blocks[(4 * k + 3) * _BLOCK + j] == largest else none)
    return first if first < none else np.int32(0)


@numba.njit(cache=True, nogil=True)
def _ball_query(
    xyz: NDArray[np.floating], centers: NDArray[np.floating], limit: np.floating, out: NDArray[np.int64]
) -> None:
    batch, n, _ = xyz.shape
    _, m, nsample = out.shape
    for b in range(batch):
        for i in range(m):
            cx, cy, cz = centers[b, i, 0], centers[b, i, 1], centers[b, i, 2]
            found = 0
            for j in range(n):
                dx, dy, dz = cx - xyz[b, j, 0], cy - xyz[b, j, 1], cz - xyz[b, j, 2]
                if (dx * dx + dy * dy) + dz * dz < limit:
                    out[b, i, found] = j
                    found += 1
                    if found == nsample:
                        break
            first = out[b, i, 0] if found > 0 else 0
            for k in range(found, nsample):
                out[b, i, k] = first


@numba.njit(cache=True, nogil=True)
def _k_nearest(xyz: NDArray[np.floating], centers: NDArray[np.floating], out: NDArray[np.int64]) -> None:
    """Each point is sorted into the nearest so far; of n points in no order, about k log(n / k) get in."""
    batch, n, _ = xyz.shape
    _, m, k = out.shape
    x, y, z = np.empty(n, xyz.dtype), np.empty(n, xyz.dtype), np.empty(n, xyz.dtype)
    squares, near = np.empty(n, xyz.dtype), np.empty(k, xyz.dtype)
    for b in range(batch):
        for j in range(n):
            x[j], y[j], z[j] = xyz[b, j, 0], xyz[b, j, 1], xyz[b, j, 2]
        for i in range(m):
            _squares(x, y, z, centers[b, i, 0], centers[b, i, 1], centers[b, i, 2], squares)
            near[:] = np.inf
            for j in range(n):
                d = squares[j]
                if j >= k and d >= near[k - 1]:
                    continue
                place = min(j, k - 1)
                while place > 0 and near[place - 1] > d:
                    near[place] = near[place - 1]
                    out[b, i, place] = out[b, i, place - 1]
                    place -= 1
                near[place] = d
                out[b, i, place] = j


@numba.njit(cache=True, nogil=True)
def _squares(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    z: NDArray[np.floating],
    px: np.floating,
    py: np.floating,
    pz: np.floating,
    squares: NDArray[np.floating],
) -> None:
    for j in range(len(x)):
        dx, dy, dz = px - x[j], py - y[j], pz - z[j]
        squares[j] = (dx * dx + dy * dy) + dz * dz
