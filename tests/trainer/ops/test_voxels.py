"""Sparse grids and convolutions against dense ones: `conv3d` over the whole space, read at the occupied voxels."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from captionless.trainer.ops import voxels
from captionless.trainer.ops.voxels import Grid, convolve, rules, voxelise

SIDE = 12  # of the dense space, its middle at the origin
HALF = SIDE // 2


def cloud(seed: int = 0, batch: int = 3, n: int = 60, side: float = 0.9 * HALF) -> Tensor:
    """(batch, n, 3) points in a cube about the origin, in float64, for voxels of edge 1."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(batch, n, 3, generator=generator, dtype=torch.float64) * 2 - 1) * side


def coordinates(grid: Grid) -> Tensor:
    """(V, 4): cloud, x, y, z, read from the keys as the module's docstring says."""
    fields = [grid.keys >> 48, *(grid.keys >> shift & 0xFFFF for shift in (32, 16, 0))]
    return torch.stack(fields, dim=1)


def levels(grid: Grid) -> tuple[Grid, Tensor]:
    """A grid's next coarser one, and the coordinates of its voxels counted from the dense space's corner."""
    coarse, _ = grid.coarser()
    origin = torch.tensor([0, *[(1 << 14) - HALF // 2] * 3])
    return coarse, coordinates(coarse) - origin


def dense(x: Tensor, at: Tensor, batch: int, side: int) -> Tensor:
    """(batch, C, side, side, side) with the rows of x at their places, and 0."""
    space = x.new_zeros(batch, side, side, side, x.shape[1])
    return space.index_put(tuple(at.t()), x).movedim(-1, 1)


def place(grid: Grid) -> Tensor:
    return coordinates(grid) - torch.tensor([0, *[(1 << 15) - HALF] * 3])


def test_a_voxel_has_the_mean_of_its_points() -> None:
    points = cloud()
    features = torch.cat([points, points.square()], dim=-1)
    grid, means = voxelise(points, features, 1.0)
    expected: dict[tuple[int, ...], list[Tensor]] = {}
    for b, (xyz, rows) in enumerate(zip(points, features, strict=True)):
        for p, f in zip(xyz, rows, strict=True):
            expected.setdefault((b, *(int(c) for c in p.floor())), []).append(f)
    found = [(b, x - (1 << 15), y - (1 << 15), z - (1 << 15)) for b, x, y, z in coordinates(grid).tolist()]
    assert found == sorted(expected)
    torch.testing.assert_close(means, torch.stack([torch.stack(expected[v]).mean(0) for v in sorted(expected)]))
    assert grid.sizes(3) == [sum(v[0] == b for v in expected) for b in range(3)]
    coarse, parent = grid.coarser()
    halves = [(b, *(c // 2 for c in v)) for b, *v in found]
    assert [sorted(set(halves)).index(h) for h in halves] == parent.tolist()
    assert len(coarse.keys) == len(set(halves))


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_submanifold_convolution_is_a_dense_one_at_the_occupied_voxels(kernel: int) -> None:
    grid, x = voxelise(cloud(), cloud(1), 1.0)
    weight = torch.randn(kernel**3, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    at = place(grid)

    def whole(x: Tensor, weight: Tensor) -> Tensor:
        filters = weight.view(kernel, kernel, kernel, 3, 4).permute(4, 3, 0, 1, 2)
        out = functional.conv3d(dense(x, at, 3, SIDE), filters, padding=kernel // 2)
        return out.movedim(1, -1)[tuple(at.t())]

    compare(lambda x, w: convolve(x, w, rules(grid, grid, kernel)), whole, x, weight)


@pytest.mark.parametrize("kernel", [2, 3])
def test_a_strided_convolution_is_a_dense_one_at_the_voxels_around_occupied_ones(kernel: int) -> None:
    grid, x = voxelise(cloud(), cloud(1), 1.0)
    coarse, to = levels(grid)
    weight = torch.randn(kernel**3, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    at = place(grid)

    def whole(x: Tensor, weight: Tensor) -> Tensor:
        filters = weight.view(kernel, kernel, kernel, 3, 4).permute(4, 3, 0, 1, 2)
        out = functional.conv3d(dense(x, at, 3, SIDE), filters, stride=2, padding=(kernel - 1) // 2)
        return out.movedim(1, -1)[tuple(to.t())]

    compare(lambda x, w: convolve(x, w, rules(grid, coarse, kernel)), whole, x, weight)


def compare(ours, theirs, x: Tensor, weight: Tensor) -> None:  # type: ignore[no-untyped-def]
    results = []
    for forward in (ours, theirs):
        leaves = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
        out = forward(*leaves)
        (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
        results.append([out.detach(), *(leaf.grad for leaf in leaves)])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)


def test_gradients_by_finite_differences() -> None:
    grid, x = voxelise(cloud(n=20), cloud(1, n=20), 1.0)
    coarse, _ = grid.coarser()
    for target, kernel in ((grid, 3), (coarse, 2), (coarse, 3)):
        book = rules(grid, target, kernel)
        weight = torch.randn(kernel**3, 3, 2, dtype=torch.float64, requires_grad=True)
        leaves = (x.clone().requires_grad_(), weight)
        assert torch.autograd.gradcheck(lambda x, w, book=book: convolve(x, w, book), leaves)
        convolve(x, weight, book).sum().backward()  # where the input needs none, the weight still gets its own
        assert weight.grad is not None


@pytest.mark.parametrize("seed", range(4))
def test_the_compiled_walk_finds_what_the_search_finds(seed: int) -> None:
    grid, _ = voxelise(cloud(seed, n=1 + 80 * seed), cloud(seed, n=1 + 80 * seed), 1.0)
    coarse, _ = grid.coarser()
    for target, kernel in ((grid, 1), (grid, 3), (grid, 5), (coarse, 2), (coarse, 3)):
        compiled, plain = rules(grid, target, kernel), None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(voxels, "_join", voxels.join_torch)
            plain = rules(grid, target, kernel)
        assert compiled.starts == plain.starts
        assert torch.equal(compiled.sources, plain.sources)
        assert torch.equal(compiled.targets, plain.targets)
        for _, sources, targets in compiled.pairs():  # so that a scatter never adds to a row twice
            assert len(sources.unique()) == len(sources)
            assert len(targets.unique()) == len(targets)


def test_a_convolution_moves_with_its_cloud_by_whole_voxels() -> None:
    edge = 0.25
    points, features = cloud() * edge, cloud(1)
    weight = torch.randn(27, 3, 4, dtype=torch.float64)
    results = []
    for step in itertools.product((0, 1, -3), repeat=3):
        grid, x = voxelise(points + edge * torch.tensor(step), features, edge)
        results.append((x, convolve(x, weight, rules(grid, grid, 3))))
    for found in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found, results[0], strict=True))
    strided = []
    for step in (0, 2, -6):  # a coarser grid needs steps of its own voxels
        grid, x = voxelise(points + edge * step, features, edge)
        strided.append(convolve(x, weight, rules(grid, grid.coarser()[0], 3)))
    assert all(torch.equal(found, strided[0]) for found in strided)


def test_points_that_have_no_voxel_are_reported() -> None:
    for wrong in (torch.nan, torch.inf, 1e6):
        points = cloud()
        points[1, 2, 0] = wrong
        with pytest.raises(ValueError, match=r"16384 voxels of 0\.5"):
            voxelise(points, points, 0.5)
    border = torch.tensor([[[float(voxels.LIMIT), -float(voxels.LIMIT), 0.0]]])
    grid, _ = voxelise(border, border, 1.0)
    for _ in range(5):
        coarse, _ = grid.coarser()
        assert rules(grid, coarse, 3).starts[-1] == 1
        grid = coarse
