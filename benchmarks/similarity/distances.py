"""Distances between point clouds, the paper's rejected baselines: what I2I and (I2L)^2 are measured against.

Both are Fan et al.'s (arXiv 1612.00603), as means over points instead of sums, so that clouds of other sizes compare.
Clouds are taken as they lie: nothing is aligned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from captionless.errors import DataError


def chamfer(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Chamfer distance of (P, 3) and (Q, 3) points, in squared units.

    `mean_i min_j |a_i - b_j|^2 + mean_j min_i |a_i - b_j|^2`.
    """
    there, _ = cKDTree(b).query(a)
    back, _ = cKDTree(a).query(b)
    return float(np.mean(there**2) + np.mean(back**2))


def earth_movers(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Earth mover's distance of two clouds (P, 3), in their units: `min_phi mean_i |a_i - b_phi(i)|`, phi a bijection.

    Exact, in O(P^3). DataError for clouds of different sizes.
    """
    if len(a) != len(b):
        raise DataError(f"earth mover's distance of {len(a)} points to {len(b)}; expected equally many")
    cost = cdist(a, b)
    return float(cost[linear_sum_assignment(cost)].mean())
