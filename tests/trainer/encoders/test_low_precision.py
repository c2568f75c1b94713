"""Under autocast nothing loses more than torch's own layers do, which see explicit differences of places."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.training.openpoints import OpenPoints
from captionless.trainer.encoders.pointbert import GroupTokens
from captionless.trainer.encoders.pointnext import PointNext
from captionless.trainer.ops import point_sets
from captionless.trainer.ops.set_abstraction import before_grouping

LOW = [torch.bfloat16, torch.float16]


def clouds(count: int, points: int, seed: int = 0) -> Tensor:
    """Of spheroids in the unit sphere."""
    g = torch.Generator().manual_seed(seed)
    x = functional.normalize(torch.randn(count, points, 3, generator=g), dim=-1)
    x = x * (0.3 + 0.7 * torch.rand(count, 1, 3, generator=g))
    return x / x.norm(dim=-1).amax(1)[:, None, None]


def error(got: Tensor, exact: Tensor) -> float:
    return float((got.double() - exact).norm() / exact.norm())


def grouped(x: Tensor, index: Tensor) -> Tensor:
    return torch.stack([rows[places] for rows, places in zip(x, index, strict=True)])


@pytest.mark.parametrize("precision", LOW, ids=str)
@pytest.mark.parametrize("radius", [0.05, 0.15, 0.5])
def test_differences_of_places_are_as_exact_as_of_explicit_ones(precision: torch.dtype, radius: float) -> None:
    torch.manual_seed(0)
    xyz, weight = clouds(4, 256), torch.randn(16, 3 + 8) / 11**0.5
    features = torch.randn(4, 256, 8)
    centres = xyz[:, :64]
    index = point_sets.ball_query(xyz, centres, radius, 16)
    explicit = torch.cat([(grouped(xyz, index) - centres.unsqueeze(2)) / radius, grouped(features, index)], dim=-1)
    exact = explicit.double() @ weight.double().T
    with torch.autocast("cpu", dtype=precision):
        a, b = before_grouping(xyz / radius, features, centres / radius, weight)
        theirs = functional.linear(explicit, weight)
    assert error(grouped(a, index) - b.unsqueeze(2), exact) <= 1.2 * error(theirs, exact)


@pytest.mark.parametrize("precision", LOW, ids=str)
def test_pointbert_groups_are_as_exact_as_of_explicit_differences(precision: torch.dtype) -> None:
    torch.manual_seed(0)
    tokens, points = GroupTokens(3, 32), clouds(8, 256)
    centres = points[:, :32]
    index = point_sets.k_nearest(points, centres, 8)

    def plainly(module: GroupTokens, points: Tensor, centres: Tensor) -> Tensor:
        relative = grouped(points, index) - centres.unsqueeze(2)
        x = module.lift(functional.relu(module.point_norm(module.point(relative))))
        both = torch.cat([x.amax(2, keepdim=True).expand_as(x), x], dim=-1)
        return module.reduce(module.last(functional.relu(module.joint_norm(module.joint(both)))).amax(2))

    exact = plainly(copy.deepcopy(tokens).double(), points.double(), centres.double())
    with torch.autocast("cpu", dtype=precision):
        ours, theirs = tokens(points, centres, index), plainly(tokens, points, centres)
    assert error(ours, exact) <= 1.2 * error(theirs, exact)


@pytest.mark.parametrize("precision", LOW, ids=str)
def test_embeddings_are_as_exact_as_those_of_torchs_layers(precision: torch.dtype) -> None:
    """The root mean square of twelve models: rounding changes which neighbours are the greatest, a matter of luck."""
    squares = torch.zeros(2)
    for seed in range(12):
        torch.manual_seed(seed)
        model = PointNext(width=8, nsample=8, radius=0.3, embed_dim=32, head=(32, 16), dropout=0.0)
        points, peer = clouds(16, 64, seed), OpenPoints(copy.deepcopy(model))
        exact = functional.normalize(copy.deepcopy(model).double()(points.double()), dim=-1)
        with torch.no_grad(), torch.autocast("cpu", dtype=precision):
            found = [functional.normalize(each(points).float(), dim=-1) for each in (model, peer)]
        squares += torch.tensor([error(x, exact) ** 2 for x in found])
    ours, theirs = squares.sqrt().tolist()
    assert ours <= 1.2 * theirs
