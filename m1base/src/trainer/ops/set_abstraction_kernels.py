"""The compiled loops of `set_abstraction`: over groups of rows, a row being a pair of a centre and a neighbour.

Groups are numbered through all clouds, m of them in each, and group g's rows are starts[g] .. starts[g + 1] - 1. A
kernel does groups `first` to `last` - 1; of a block of rows, only theirs, it begins at row 0. Sums over pairs count a
group's first row `copies[g]` times. They are taken in the type of the rows over one group and in float64 over groups.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True)
def merge_copies(index: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
    """(points, starts, copies) of (G, K) neighbours as a ball query lists them: distinct ones first, and from the first
    one's return on copies of it. points: (rows,), each row's neighbour."""
    groups, k = index.shape
    starts, copies = np.zeros(groups + 1, np.int64), np.empty(groups, np.int32)
    for g in range(groups):
        kept = 1
        while kept < k and index[g, kept] != index[g, 0]:
            kept += 1
        starts[g + 1] = starts[g] + kept
        copies[g] = 1 + k - kept
    points = np.empty(starts[-1], np.int32)
    for g in range(groups):
        for n in range(starts[g + 1] - starts[g]):
            points[starts[g] + n] = index[g, n]
    return points, starts, copies


@numba.njit(cache=True, nogil=True)
def statistics(
    a: NDArray[Any],
    b: NDArray[Any],
    points: NDArray[np.int32],
    starts: NDArray[np.int64],
    copies: NDArray[np.int32],
    first: int,
    last: int,
    pivot: NDArray[Any],
) -> NDArray[np.float64]:
    """(2, C): the sums over pairs of a[neighbour] - b[centre] - pivot and of its square."""
    _, m, channels = b.shape
    sums = np.zeros((2, channels))
    once, squares, base = np.empty(channels, a.dtype), np.empty(channels, a.dtype), np.empty(channels, a.dtype)
    for g in range(first, last):
        cloud, centre = a[g // m], b[g // m, g % m]
        point = cloud[points[starts[g]]]
        times = a.dtype.type(copies[g])
        for c in range(channels):
            base[c] = centre[c] + pivot[c]
            d = point[c] - base[c]
            once[c] = times * d
            squares[c] = times * d * d
        for r in range(starts[g] + 1, starts[g + 1]):
            point = cloud[points[r]]
            for c in range(channels):
                d = point[c] - base[c]
                once[c] += d
                squares[c] += d * d
        for c in range(channels):
            sums[0, c] += once[c]
            sums[1, c] += squares[c]
    return sums


@numba.njit(cache=True, nogil=True)
def affine_relu(
    a: NDArray[Any],
    b: NDArray[Any],
    points: NDArray[np.int32],
    starts: NDArray[np.int64],
    first: int,
    last: int,
    scale: NDArray[Any],
    shift: NDArray[Any],
    rows: NDArray[Any],
) -> None:
    """rows = max(0, (a[neighbour] - b[centre]) * scale + shift)."""
    _, m, channels = b.shape
    base = np.empty(channels, a.dtype)
    zero = a.dtype.type(0)
    for g in range(first, last):
        cloud, centre = a[g // m], b[g // m, g % m]
        for c in range(channels):
            base[c] = shift[c] - centre[c] * scale[c]
        for r in range(starts[g], starts[g + 1]):
            point, row = cloud[points[r]], rows[r - starts[first]]
            for c in range(channels):
                row[c] = max(point[c] * scale[c] + base[c], zero)


@numba.njit(cache=True, nogil=True)
def maximum(
    rows: NDArray[Any],
    starts: NDArray[np.int64],
    copies: NDArray[np.int32],
    first: int,
    last: int,
    pivot: NDArray[Any],
    best: NDArray[Any],
    winner: NDArray[Any],
    sums: NDArray[np.float64],
) -> None:
    """best[g], winner[g]: per channel the first largest of group g's rows and its number in the group. sums, (2, D), +=
    the sums over pairs of row - pivot and of its square."""
    channels = rows.shape[1]
    once, squares = np.empty(channels, rows.dtype), np.empty(channels, rows.dtype)
    who = np.empty(channels, np.int32)
    for g in range(first, last):
        top = best[g]
        start = starts[g] - starts[first]
        times = rows.dtype.type(copies[g])
        row = rows[start]
        for c in range(channels):
            top[c] = row[c]
            who[c] = 0
            d = row[c] - pivot[c]
            once[c] = times * d
            squares[c] = times * d * d
        for n in range(1, starts[g + 1] - starts[g]):
            row = rows[start + n]
            for c in range(channels):
                value = row[c]
                d = value - pivot[c]
                once[c] += d
                squares[c] += d * d
                larger = value > top[c]
                who[c] = np.int32(n) if larger else who[c]
                top[c] = value if larger else top[c]
        for c in range(channels):
            winner[g, c] = who[c]
            sums[0, c] += once[c]
            sums[1, c] += squares[c]


@numba.njit(cache=True, nogil=True)
def backward_rows(
    a: NDArray[Any],
    b: NDArray[Any],
    points: NDArray[np.int32],
    starts: NDArray[np.int64],
    copies: NDArray[np.int32],
    first: int,
    last: int,
    mean: NDArray[Any],
    grad: NDArray[Any],
    winner: NDArray[Any],
    weight: NDArray[Any],
    constant: NDArray[Any],
    rows: NDArray[Any],
    d_rows: NDArray[Any],
    d_weight: NDArray[Any],
    da: NDArray[Any],
    db: NDArray[Any],
    sums: NDArray[np.float64],
) -> None:
    """From the gradient at the maxima to that before the ReLU, summed over each point's pairs and each centre's.

    grad: (G, D), as it reaches each winning output. d_rows: `rows @ inner`, the dense part of the gradient at the rows
    but for `constant` and for copies; overwritten. d_weight, (D, C), += the winners' part. da, db += what the ReLU
    lets through. sums, (3, C), += the sum of that, the sum of it times (a[neighbour] - b[centre] - mean), and the sum
    of the rows. The first row of each group is left multiplied by the root of its copies, so that `rows.T @ rows`
    counts them.
    """
    _, m, channels = b.shape
    outputs = grad.shape[1]
    zero = a.dtype.type(0)
    base = np.empty(channels, a.dtype)
    passed, normal, total = np.empty(channels, a.dtype), np.empty(channels, a.dtype), np.empty(channels, a.dtype)
    for g in range(first, last):
        start, size = starts[g] - starts[first], starts[g + 1] - starts[g]
        times = a.dtype.type(copies[g])
        for r in range(start, start + size):
            target = d_rows[r]
            for c in range(channels):
                target[c] += constant[c]
        head = d_rows[start]
        for c in range(channels):
            head[c] *= times
        for o in range(outputs):
            value = grad[g, o]
            if value != zero:
                source, target = rows[start + winner[g, o]], d_rows[start + winner[g, o]]
                w, dw = weight[o], d_weight[o]
                for c in range(channels):
                    target[c] += value * w[c]
                for c in range(channels):
                    dw[c] += value * source[c]
        cloud, centre, d_cloud, d_centre = a[g // m], b[g // m, g % m], da[g // m], db[g // m, g % m]
        head = rows[start]
        for c in range(channels):
            base[c] = centre[c] + mean[c]
            passed[c] = zero
            normal[c] = zero
            total[c] = (times - a.dtype.type(1)) * head[c]
        for r in range(start, start + size):
            p = points[starts[first] + r]
            point, d_point, row, d_row = cloud[p], d_cloud[p], rows[r], d_rows[r]
            for c in range(channels):
                d = d_row[c] if row[c] > zero else zero
                d_row[c] = d
                passed[c] += d
                total[c] += row[c]
            for c in range(channels):
                d_point[c] += d_row[c]
            for c in range(channels):
                normal[c] += d_row[c] * (point[c] - base[c])
        root = np.sqrt(times)
        for c in range(channels):
            head[c] *= root
            d_centre[c] += passed[c]
            sums[0, c] += passed[c]
            sums[1, c] += normal[c]
            sums[2, c] += total[c]


@numba.njit(cache=True, nogil=True)
def spread(
    a: NDArray[Any],
    b: NDArray[Any],
    points: NDArray[np.int32],
    starts: NDArray[np.int64],
    copies: NDArray[np.int32],
    first: int,
    last: int,
    scale: NDArray[Any],
    slope: NDArray[Any],
    offset: NDArray[Any],
    da: NDArray[Any],
    db: NDArray[Any],
) -> None:
    """From sums of gradients g behind the norm to those before it, in place: of scale * g - offset - slope * difference
    for each pair, the sum over a point's pairs in da, and less the sum over a centre's in db."""
    _, m, channels = b.shape
    one = a.dtype.type(1)
    base = np.empty(channels, a.dtype)
    for i in range(first // m, last // m):
        for p in range(a.shape[1]):
            d_point = da[i, p]
            for c in range(channels):
                d_point[c] *= scale[c]
    for g in range(first, last):
        cloud, centre, d_cloud, d_centre = a[g // m], b[g // m, g % m], da[g // m], db[g // m, g % m]
        for c in range(channels):
            base[c] = offset[c] - slope[c] * centre[c]
            d_centre[c] *= -scale[c]
        for r in range(starts[g], starts[g + 1]):
            point, d_point = cloud[points[r]], d_cloud[points[r]]
            times = a.dtype.type(copies[g]) if r == starts[g] else one
            for c in range(channels):
                d = times * (slope[c] * point[c] + base[c])
                d_point[c] -= d
                d_centre[c] += d
