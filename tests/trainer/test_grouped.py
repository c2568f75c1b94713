"""The fused CPU steps against plain torch autograd, and the rows-major BatchNorm against torch's."""

import pytest
import torch

from captionless.trainer import grouped
from captionless.trainer.norm import BatchNorm


def norm(channels: int, seed: int) -> BatchNorm:
    generator = torch.Generator().manual_seed(seed)
    layer = BatchNorm(channels).double()
    with torch.no_grad():
        layer.weight.copy_(torch.randn(channels, generator=generator))  # both signs
        layer.bias.copy_(torch.randn(channels, generator=generator))
        layer.running_mean.copy_(torch.randn(channels, generator=generator))
        layer.running_var.copy_(torch.rand(channels, generator=generator) + 0.5)
    return layer


def close(got: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-9) -> None:
    assert got.shape == expected.shape
    got, expected = got.detach(), expected.detach()
    assert (got - expected).norm() <= tolerance * expected.norm().clamp_min(1e-6)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fused", ["gather_norm_relu", "linear_norm_max"])
def test_fused_steps_equal_plain_torch(fused: str, training: bool) -> None:
    g = torch.Generator().manual_seed(1)
    batch, n, m, k, c, d = 3, 40, 20, 6, 5, 8
    if fused == "gather_norm_relu":
        a = torch.randn(batch, n, c, generator=g, dtype=torch.float64) + 3.0
        b = torch.randn(batch, m, c, generator=g, dtype=torch.float64)
        inputs = [a, b]
        index = torch.randint(n, (batch, m, k), generator=g)
        extra, channels = [index], c
    else:
        h = torch.relu(torch.randn(batch, m, k, c, generator=g, dtype=torch.float64))
        inputs = [h, torch.randn(d, c, generator=g, dtype=torch.float64)]
        extra, channels = [], d
    results = []
    for function in (getattr(grouped, fused), getattr(grouped, fused + "_torch")):
        layer = norm(channels, 2).train(training)
        if fused == "gather_norm_relu":
            layer.weight.data[0] = 0.0  # a channel switched off; under a maximum it would leave the winner undefined
        leaves = [x.clone().requires_grad_() for x in inputs]
        out = function(*leaves, *extra, layer)
        (out * torch.linspace(-1, 2, out.numel(), dtype=torch.float64).view_as(out)).sum().backward()
        buffers = [layer.running_mean, layer.running_var, layer.num_batches_tracked.double()]
        results.append([out.detach(), *(x.grad for x in leaves), layer.weight.grad, layer.bias.grad, *buffers])
        with torch.no_grad():
            results[-1].append(function(*inputs, *extra, layer.eval()))
    for got, expected in zip(*results, strict=True):
        close(got, expected)


def test_batch_norm_equals_torch() -> None:
    x = torch.randn(64, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 3 + 100
    ours, theirs = norm(7, 4), torch.nn.BatchNorm1d(7).double()
    theirs.load_state_dict(ours.state_dict())
    results = []
    for layer in (ours, theirs):
        leaf = x.clone().requires_grad_()
        out = layer(leaf)
        (out**3).sum().backward()
        results.append([out.detach(), leaf.grad, layer.weight.grad, layer.bias.grad])
        results[-1] += [layer.running_mean, layer.running_var, layer.num_batches_tracked.double(), layer.eval()(x)]
    for got, expected in zip(*results, strict=True):
        close(got, expected)


def test_statistics_do_not_cancel_in_float32() -> None:
    x = torch.randn(4096, 3, generator=torch.Generator().manual_seed(5)) * 0.01 + 1000
    exact = torch.nn.functional.batch_norm(x.double(), None, None, training=True)
    a, index = x.view(1, -1, 3), torch.arange(4096).view(1, 1, -1)
    got = grouped.gather_norm_relu(a, torch.zeros(1, 1, 3), index, BatchNorm(3))
    assert (got.view(-1, 3) - exact.relu()).abs().max() < 1e-2  # float32 resolves 1000 +- 0.01 to 6e-5


def test_training_on_one_row_is_refused() -> None:
    with pytest.raises(ValueError, match="more than one row"):
        BatchNorm(3)(torch.ones(1, 3))
