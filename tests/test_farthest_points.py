"""Farthest point sampling against plain arithmetic, bit for bit: whatever is passed over would have changed nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from captionless import farthest_points
from captionless.precompute.pointcloud import farthest_point_order

Points = NDArray[np.float32]


def brute(points: Points, m: int) -> list[int]:
    """Every distance of every step; point 0 where nothing is left but copies."""
    x, y, z = points.T.copy()
    nearest = np.full(len(points), np.inf, points.dtype)
    found = [0]
    while len(found) < m:
        dx, dy, dz = (axis - axis[found[-1]] for axis in (x, y, z))
        np.minimum(nearest, (dx * dx + dy * dy) + dz * dz, out=nearest)
        found.append(int(np.argmax(nearest)))
    return found


def brute_order(points: Points) -> list[int]:
    """The same with every point once."""
    picked = brute(points, len(points))
    different = list(dict.fromkeys(picked))
    return different + sorted(set(range(len(points))) - set(different))


def sphere(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    points = rng.normal(size=(n, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def tubes(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """A few thin lines with noise, as of a chair's legs."""
    ends = rng.random((5, 2, 3))
    line = rng.integers(0, 5, n)
    along = rng.random((n, 1))
    return ends[line, 0] * along + ends[line, 1] * (1 - along) + rng.normal(size=(n, 3)) * 1e-3


CLOUDS = {
    "sphere": sphere,
    "volume": lambda rng, n: rng.random((n, 3)),
    "tubes": tubes,
    "plane": lambda rng, n: rng.random((n, 3)) * [1, 1, 0],
    "collinear": lambda rng, n: rng.random((n, 1)) * [[1.0, 2.0, -3.0]],
    "axis": lambda rng, n: rng.random((n, 1)) * [[0.0, 0.0, 1.0]],
    "half precision": lambda rng, n: sphere(rng, n).astype(np.float16),
    "lattice": lambda rng, n: rng.integers(0, 6, (n, 3)) / 4,
    "grid": lambda rng, n: np.stack(np.unravel_index(np.arange(n), (16, 16, n // 256 + 1)), axis=1) / 8,
    "each twice": lambda rng, n: np.repeat(rng.random((n // 2 + 1, 3)), 2, axis=0)[:n],
    "mostly one": lambda rng, n: np.where(rng.random((n, 1)) < 0.9, 0.5, rng.random((n, 3))),
    "all equal": lambda rng, n: np.full((n, 3), 0.25),
    "outliers": lambda rng, n: np.where(rng.random((n, 1)) < 2 / n, 1e4, 1.0) * sphere(rng, n),
    "tiny": lambda rng, n: sphere(rng, n) * 1e-20,  # whose squares underflow
    "huge": lambda rng, n: sphere(rng, n) * 1e19,  # whose squares overflow
    "far away": lambda rng, n: sphere(rng, n) + 1e6,
    "signed zeros": lambda rng, n: rng.choice([-0.0, 0.0, 1.0], (n, 3)),
}


@pytest.mark.parametrize("kind", CLOUDS)
def test_the_order_is_that_of_brute_force(kind: str) -> None:
    for seed, n in enumerate((1, 2, 3, 31, 32, 33, 511, 512, 513, 1500, 8300)):
        points = np.asarray(CLOUDS[kind](np.random.default_rng(seed), n), np.float32)
        with np.errstate(over="ignore", under="ignore"):
            expected = brute_order(points)
        np.testing.assert_array_equal(farthest_point_order(points), expected, err_msg=f"n = {n}")
        for m in (0, 1, n // 2):
            np.testing.assert_array_equal(farthest_point_order(points, m), expected[:m])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_random_clouds(dtype: type[np.floating]) -> None:
    rng = np.random.default_rng(7)
    kinds = list(CLOUDS.values())
    for _ in range(300):
        n = int(rng.integers(1, 200))
        made = np.stack([np.asarray(kinds[rng.integers(len(kinds))](rng, n), dtype) for _ in range(2)])
        out = np.empty((2, int(rng.integers(1, n + 1))), np.int64)
        farthest_points.sample(made, out)
        with np.errstate(over="ignore", under="ignore"):
            assert out.tolist() == [brute(points, out.shape[1]) for points in made]
