"""The average of weights beside its definition in float64, how it is applied, and what a checkpoint keeps of it."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from captionless.trainer.ops.batch_norm import BatchNorm
from captionless.trainer.weight_average import WeightAverage


def model() -> tuple[nn.Sequential, nn.Parameter]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), BatchNorm(4)), nn.Parameter(torch.tensor(2.5))


def follow(average: WeightAverage, module: nn.Module, scale: nn.Parameter, steps: range) -> None:
    for step in steps:
        torch.manual_seed(step)
        with torch.no_grad():
            for value in (*module.parameters(), scale):
                value.add_(torch.randn(value.shape))
            module(torch.randn(5, 3))  # brings the running statistics up to date
        average.update()


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.9999])
def test_the_average_is_that_of_its_definition(decay: float) -> None:
    module, scale = model()
    average = WeightAverage(module, {"scale": scale}, decay)
    expected = {name: value.double() for name, value in {**module.state_dict(), "scale": scale.detach()}.items()}
    for step in range(1, 41):
        follow(average, module, scale, range(step, step + 1))
        d = min(decay, (1 + step) / (10 + step))
        for name, value in {**module.state_dict(), "scale": scale.detach()}.items():
            expected[name] = d * expected[name] + (1 - d) * value.double()
    found = average.state_dict()["average"]
    assert found.pop("1.num_batches_tracked") == 40
    for name, value in found.items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-5)


def test_it_is_applied_for_a_while_and_nothing_is_lost() -> None:
    module, scale = model()
    average = WeightAverage(module, {"scale": scale}, 0.9)
    follow(average, module, scale, range(3))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    averaged = {name: value.clone() for name, value in average.state_dict()["average"].items()}
    with average.applied():
        assert all(torch.equal(value, averaged[name]) for name, value in module.state_dict().items())
        assert torch.equal(scale.detach(), averaged["scale"])
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(torch.equal(value, averaged[name]) for name, value in average.state_dict()["average"].items())


def test_from_a_checkpoint_it_goes_on_to_the_bit() -> None:
    results = []
    for stop in (None, 4):
        module, scale = model()
        average = WeightAverage(module, {"scale": scale}, 0.99)
        follow(average, module, scale, range(stop or 9))
        if stop is not None:
            stored = io.BytesIO()
            torch.save(average.state_dict(), stored)
            stored.seek(0)
            average = WeightAverage(module, {"scale": scale}, 0.99)
            average.load_state_dict(torch.load(stored, weights_only=True))
            follow(average, module, scale, range(stop, 9))
        results.append(average.state_dict())
    one, other = results
    assert one["steps"] == other["steps"] == 9
    assert all(torch.equal(value, other["average"][name]) for name, value in one["average"].items())
