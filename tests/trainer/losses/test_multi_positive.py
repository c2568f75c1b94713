"""The loss of several positives against a plain float64 reference, its gradient, its blocks and its limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from captionless.trainer.losses import multi_positive
from captionless.trainer.losses.contrastive import contrastive_loss
from captionless.trainer.losses.hn_weights import HNWeights
from captionless.trainer.losses.multi_positive import multi_positive_share
from tests.trainer import reference
from tests.trainer.losses.inputs import IDS, pairs, similarity

N, VIEWS = 7, 3


def problem(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """(N, VIEWS, D) views and (N, D) shapes."""
    image, shape = pairs(N)
    noise = torch.randn(N, VIEWS, image.shape[1], generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return functional.normalize(image.unsqueeze(1) + 0.5 * noise, dim=-1).to(dtype), shape.to(dtype)


def plain(views: np.ndarray, shape: np.ndarray, scale: float, weight: np.ndarray) -> float:
    """Element by element, as the module's docstring has it."""
    n, count = views.shape[:2]
    total = 0.0
    for i in range(n):
        if not any(weight[i, j] > 0 for j in range(n) if j != i):
            continue
        others = 0.0
        for j in range(n):
            if j != i:
                others += (
                    weight[i, j] * sum(math.exp(scale * float(views[j, u] @ shape[i])) for u in range(count)) / count
                )
        for v in range(count):
            positive = math.exp(scale * float(views[i, v] @ shape[i]))
            to_shape = sum(weight[i, j] * math.exp(scale * float(views[i, v] @ shape[j])) for j in range(n))
            total -= (math.log(positive / to_shape) + math.log(positive / (weight[i, i] * positive + others))) / count
    return total / (2 * n)


@pytest.mark.parametrize("positive", ["one", "formula"])
@pytest.mark.parametrize("scale", [1.0, 1 / 0.07, 100.0])
def test_the_loss_is_that_of_its_definition(scale: float, positive: str) -> None:
    views, shape = problem()
    sim = similarity(N)
    weighted = np.exp(reference.log_weights(sim.numpy(), IDS, positive))
    for weights, weight in ((None, np.ones((N, N))), (HNWeights([sim.clone()], IDS, positive), weighted)):
        expected = plain(views.numpy(), shape.numpy(), scale, weight)
        got = multi_positive_share(views, shape, torch.tensor(scale, dtype=torch.float64), weights, [N])
        assert float(got) == pytest.approx(expected, rel=1e-10)
        single = multi_positive_share(views.float(), shape.float(), torch.tensor(scale), weights, [N])
        assert single.dtype == torch.float32
        assert float(single) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_its_gradient_is_that_of_differences() -> None:
    views, shape = problem()
    weights = HNWeights([similarity(N)], IDS)

    def loss(shape: Tensor, scale: Tensor) -> Tensor:
        return multi_positive_share(views, shape, scale, weights, [N])

    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (shape.requires_grad_(), scale))


def test_of_equal_views_it_is_the_loss_of_one() -> None:
    image, shape = pairs(N)
    weights, scale = HNWeights([similarity(N)], IDS), torch.tensor(20.0, dtype=torch.float64)
    expected = contrastive_loss(image, shape, scale, weights)
    for count in (1, 4):
        got = multi_positive_share(image.unsqueeze(1).repeat(1, count, 1), shape, scale, weights, [N])
        torch.testing.assert_close(got, expected)


def test_blocks_change_nothing_but_last_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    views, shape = problem()
    found = []
    for elements in (1 << 22, 2 * N * VIEWS):
        monkeypatch.setattr(multi_positive, "_ELEMENTS", elements)
        given = shape.clone().requires_grad_()
        weights = HNWeights([similarity(N)], IDS)
        value = multi_positive_share(views, given, torch.tensor(9.0, dtype=torch.float64), weights, [N])
        value.backward()
        found.append((value.detach(), given.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-14)


def test_without_negatives_it_costs_nothing() -> None:
    views, shape = problem()
    shape.requires_grad_()
    weights = HNWeights([similarity(N)], ["a"] * N)
    value = multi_positive_share(views, shape, torch.tensor(9.0, dtype=torch.float64), weights, [N])
    value.backward()
    assert float(value.detach()) == 0.0
    assert bool((shape.grad == 0).all())
