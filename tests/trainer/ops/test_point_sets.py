import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from captionless.trainer.ops import point_sets, torch_ops

pytestmark = pytest.mark.usefixtures("many_parts")


def cloud(batch: int, n: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, n, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 - 1


def naive_farthest(xyz: np.ndarray, m: int) -> list[int]:
    chosen = [0]
    while len(chosen) < m:
        squares = ((xyz[:, None] - xyz[chosen][None]) ** 2).sum(-1).min(1)
        chosen.append(int(squares.argmax()))
    return chosen


def naive_ball(xyz: np.ndarray, center: np.ndarray, radius: float, nsample: int) -> list[int]:
    hits = [j for j, p in enumerate(xyz) if ((p - center) ** 2).sum() < radius**2][:nsample]
    first = hits[0] if hits else 0
    return hits + [first] * (nsample - len(hits))


def naive_nearest(xyz: np.ndarray, center: np.ndarray, k: int) -> list[int]:
    return sorted(range(len(xyz)), key=lambda j: (((xyz[j] - center) ** 2).sum(), j))[:k]


def test_farthest_point_sample_is_the_definition() -> None:
    xyz = cloud(3, 60, torch.float64)
    got = point_sets.farthest_point_sample(xyz, 17)
    assert got.dtype == torch.int64
    assert got.tolist() == [naive_farthest(x.numpy(), 17) for x in xyz]


def test_ball_query_is_the_definition() -> None:
    xyz = cloud(2, 80, torch.float64)
    centers = torch.cat([xyz[:, :9], torch.full((2, 1, 3), 9.0, dtype=torch.float64)], dim=1)  # the last hits nothing
    got = point_sets.ball_query(xyz, centers, 0.6, 7)
    expected = [[naive_ball(x.numpy(), c.numpy(), 0.6, 7) for c in cs] for x, cs in zip(xyz, centers, strict=True)]
    assert got.tolist() == expected
    assert got[0, -1].tolist() == [0] * 7


@pytest.mark.parametrize("k", [1, 7, 80])
def test_k_nearest_is_the_definition(k: int) -> None:
    xyz = cloud(2, 80, torch.float64)
    xyz[:, 40:60] = xyz[:, :20]  # ties
    centers = torch.cat([xyz[:, :9], torch.full((2, 1, 3), 9.0, dtype=torch.float64)], dim=1)
    got = point_sets.k_nearest(xyz, centers, k)
    expected = [[naive_nearest(x.numpy(), c.numpy(), k) for c in cs] for x, cs in zip(xyz, centers, strict=True)]
    assert got.dtype == torch.int64
    assert got.tolist() == expected


def hard_clouds(dtype: torch.dtype) -> list[torch.Tensor]:
    """Ties, duplicates and sizes of every kind."""
    grid = torch.stack(torch.meshgrid(*[torch.arange(6, dtype=dtype) / 4] * 3, indexing="ij"), -1).reshape(1, -1, 3)
    flat = cloud(2, 1100, dtype) * torch.tensor([1.0, 0.5, 0.0], dtype=dtype)
    return [cloud(4, 300, dtype), flat, grid, grid[:, :1].expand(1, 20, 3)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_compiled_and_torch_paths_agree_to_the_index(dtype: torch.dtype) -> None:
    for xyz in hard_clouds(dtype):
        m = xyz.shape[1] // 2
        sample = point_sets.farthest_point_sample(xyz, m)
        assert torch.equal(sample, torch_ops.farthest_point_sample(xyz, m))
        centers = xyz.gather(1, sample.unsqueeze(-1).expand(-1, -1, 3))
        for radius, nsample in ((0.25, 8), (0.5, 32), (2.0, 400)):  # 0.25 and 0.5 lie on the grid's distances
            got = point_sets.ball_query(xyz, centers, radius, nsample)
            assert torch.equal(got, torch_ops.ball_query(xyz, centers, radius, nsample))
        for k in (1, m, xyz.shape[1]):
            assert torch.equal(point_sets.k_nearest(xyz, centers, k), torch_ops.k_nearest(xyz, centers, k))


INTERPRETED = """
import torch
from captionless.trainer.ops import point_sets, triton_ops
from tests.trainer.ops.test_point_sets import cloud

for dtype in (torch.float32, torch.float64):
    for xyz in (cloud(2, 150, dtype), torch.arange(12, dtype=dtype).reshape(1, 4, 3)[:, [0, 1, 0, 1, 3, 2, 3]] / 4):
        m = xyz.shape[1] // 2
        sample = triton_ops.farthest_point_sample(xyz, m)
        assert torch.equal(sample, point_sets.farthest_point_sample(xyz, m))
        centers = torch.cat([xyz.gather(1, sample.unsqueeze(-1).expand(-1, -1, 3)), xyz[:, :1] + 9], 1)
        for radius, nsample in ((0.75, 5), (1.5, 160)):
            found = triton_ops.ball_query(xyz, centers.contiguous(), radius, nsample)
            assert torch.equal(found, point_sets.ball_query(xyz, centers, radius, nsample))
"""


def test_the_kernels_for_a_gpu_find_the_same_as_a_program() -> None:
    """By Triton's interpreter; that they do so when compiled is tested where there is a GPU (test_gpu.py)."""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", INTERPRETED], env=environment, check=True)


def test_a_sample_in_farthest_order_is_a_prefix() -> None:
    xyz = cloud(2, 200)
    xyz[:, 150:] = xyz[:, :1]  # as point dropout leaves it
    xyz = xyz.gather(1, point_sets.farthest_point_sample(xyz, 180).unsqueeze(-1).expand(-1, -1, 3))
    again = xyz.gather(1, point_sets.farthest_point_sample(xyz, 180).unsqueeze(-1).expand(-1, -1, 3))
    assert torch.equal(again, xyz)


def test_points_that_are_no_numbers_do_no_harm() -> None:
    xyz = cloud(2, 100)
    xyz[0, 7], xyz[1, 3:5] = torch.nan, torch.inf
    got = point_sets.farthest_point_sample(xyz, 50)
    assert got.min() >= 0
    assert got.max() < 100


def test_the_border_is_outside() -> None:
    xyz = torch.tensor([[[0.0, 0, 0], [0.5, 0, 0], [0.25, 0, 0]]])
    assert point_sets.ball_query(xyz, xyz[:, :1], 0.5, 3).tolist() == [[[0, 2, 0]]]


def test_impossible_requests_are_refused() -> None:
    xyz = cloud(1, 5)
    with pytest.raises(ValueError, match="cannot sample 6 of 5"):
        point_sets.farthest_point_sample(xyz, 6)
    with pytest.raises(ValueError, match=r"\(B, N, 3\)"):
        point_sets.farthest_point_sample(xyz[0], 2)
    with pytest.raises(ValueError, match="positive"):
        point_sets.ball_query(xyz, xyz, 0.0, 2)
    with pytest.raises(ValueError, match="differ"):
        point_sets.ball_query(xyz, xyz.double(), 0.1, 2)
    with pytest.raises(ValueError, match="nearest 6 of 5"):
        point_sets.k_nearest(xyz, xyz, 6)
    with pytest.raises(ValueError, match="differ"):
        point_sets.k_nearest(xyz, xyz.double(), 2)
