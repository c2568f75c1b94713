"""The k nearest by cosine of some of many rows, on a device that multiplies faster than the CPU.

As `nearest_neighbours` does: float32 products preselect, and float64 products of the rows decide, so that both find the
same, and the results do not depend on how the work is cut. A device keeps only the best few of each row's products.
Where these do not certainly contain the k nearest, since very many are nearly equal, the CPU compares that row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captionless.nearest_neighbours import NearestNeighbours

_SPARE = 32  # more than k are preselected: a row with more that are nearly equal is left to the CPU
_COLUMNS = 1 << 16  # rows compared with at a time
_EXACT = 128  # rows whose preselected products are computed exactly at a time


def nearest(every: Tensor, scale: Tensor, places: NDArray[np.int64], k: int, keys: Sequence[str]) -> NDArray[np.int32]:
    """The places of the k nearest of the rows `places`, contiguous, (n, k) int32, nearest first; equal ones in order of
    place.

    every: (N, D) float32, and scale: (N,) float64, `nearest_neighbours.scales` of it, on the device. keys: of all rows,
    for errors.
    """
    n, own = len(every), torch.from_numpy(places).to(every.device)
    width = min(k + _SPARE, n - 1)
    values, found = _preselected(every, scale, own, width)
    exact = torch.cat(
        [_cosines(every, scale, own[i : i + _EXACT], found[i : i + _EXACT]) for i in range(0, len(own), _EXACT)]
    )
    order = found.argsort(dim=1)  # of equal ones the first
    found, exact = found.gather(1, order), exact.gather(1, order)
    order = exact.argsort(dim=1, descending=True, stable=True)[:, :k]
    best = found.gather(1, order).to(torch.int32).cpu().numpy()
    # a sum of D float32 products is off by at most D halves of an eps, see `nearest_neighbours`
    slack = (every.shape[1] + 8) * torch.finfo(torch.float32).eps
    unsure = exact.gather(1, order[:, -1:])[:, 0] < values.amin(dim=1) + slack if width < n - 1 else own.new_zeros(0)
    for at in torch.nonzero(unsure).flatten().tolist():
        query = NearestNeighbours(every[own[at] : own[at] + 1].cpu().numpy(), int(places[at]), k, keys)
        for first in range(0, n, _COLUMNS):
            query.add(every[first : first + _COLUMNS].cpu().numpy(), first)
        best[at] = query.result()[0][0]
    return best


def _preselected(every: Tensor, scale: Tensor, own: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The `width` highest cosines of each row by float32 products, itself apart: (n, width) and their places."""
    rows = every[own] * scale[own, None].float()
    best, found = rows.new_empty(len(own), 0), own.new_empty(len(own), 0)
    for first in range(0, len(every), _COLUMNS):
        part = every[first : first + _COLUMNS]
        products = rows @ part.t() * scale[first : first + _COLUMNS].float()
        own_column = (own >= first) & (own < first + len(part))
        products[own_column, own[own_column] - first] = -torch.inf
        highest = products.topk(min(width, len(part)), dim=1)
        best, found = torch.cat([best, highest.values], 1), torch.cat([found, highest.indices + first], 1)
        kept = best.topk(min(width, best.shape[1]), dim=1)
        best, found = kept.values, found.gather(1, kept.indices)
    return best, found


def _cosines(every: Tensor, scale: Tensor, own: Tensor, found: Tensor) -> Tensor:
    """The cosines of some rows and those that were preselected for them, in float64."""
    products = torch.einsum("nd,nwd->nw", every[own].double(), every[found].double())
    return products * scale[own, None] * scale[found]
