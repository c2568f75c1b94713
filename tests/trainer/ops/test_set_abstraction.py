"""The fused CPU step against plain torch autograd, and the rows-major BatchNorm against torch's."""

from __future__ import annotations

import pytest
import torch

from captionless.trainer.ops import set_abstraction, set_abstraction_kernels
from captionless.trainer.ops.batch_norm import BatchNorm

pytestmark = pytest.mark.usefixtures("many_parts")


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


BATCH, N, M, K, F, C, D = 11, 40, 20, 6, 4, 5, 8


@pytest.mark.parametrize("frozen", ["inner", "outer"])
@pytest.mark.parametrize("gradients", [True, False])
def test_a_norm_of_two_that_is_frozen_keeps_its_statistics(frozen: str, gradients: bool) -> None:
    """While the other takes those of the batch: as each norm by itself in plain torch."""
    found = []
    for function in (set_abstraction.set_abstraction, set_abstraction.set_abstraction_torch):
        g = torch.Generator().manual_seed(4)
        shapes = (BATCH, N, 3), (BATCH, N, F), (BATCH, M, 3), (C, 3 + F), (D, C)
        positions, features, centres, first, weight = (
            torch.randn(*s, generator=g, dtype=torch.float64) for s in shapes
        )
        inner, outer = norm(C, 2).train(frozen != "inner"), norm(D, 3).train(frozen != "outer")
        with torch.set_grad_enabled(gradients):
            out = function(positions, features, centres, padded_index(), first, inner, weight, outer)
        found.append([out, *(value.clone() for layer in (inner, outer) for value in layer.buffers())])
    for got, expected in zip(*found, strict=True):
        close(got.double(), expected.double())


def padded_index(k: int = K) -> torch.Tensor:
    """Groups as a ball query makes them: distinct neighbours in rising order, then copies of the first."""
    g = torch.Generator().manual_seed(1)
    index = torch.rand(BATCH, M, N, generator=g).topk(k, dim=-1).indices.sort(dim=-1).values
    found = torch.randint(1, k + 1, (BATCH, M, 1), generator=g)
    return torch.where(torch.arange(k) < found, index, index[..., :1])


def full_index() -> torch.Tensor:
    """One group of all points, as the last stage has it."""
    return torch.arange(N).expand(BATCH, 1, -1)


def results(function: object, index: torch.Tensor, training: bool) -> list[torch.Tensor]:
    """The output, the norms' buffers and, in training, the gradients of everything."""
    g = torch.Generator().manual_seed(2)
    m = index.shape[1]
    positions, features, centres, first, weight = (
        torch.randn(*shape, generator=g, dtype=torch.float64) + 0.5
        for shape in ((BATCH, N, 3), (BATCH, N, F), (BATCH, m, 3), (C, 3 + F), (D, C))
    )
    factors = torch.randn(BATCH, m, D, generator=g, dtype=torch.float64).relu()  # gradients of 0 among them
    inner, outer = norm(C, 2).train(training), norm(D, 3).train(training)
    inner.weight.data[0] = 0.0  # a channel switched off
    leaves = [x.requires_grad_(training) for x in (positions, features, centres, first, weight)]
    with torch.set_grad_enabled(training):
        out = function(positions, features, centres, index, first, inner, weight, outer)  # type: ignore[operator]
    found = [out, *inner.buffers(), *outer.buffers()]
    if training:
        (out * factors).sum().backward()
        found += [x.grad for x in (*leaves, *inner.parameters(), *outer.parameters())]
    return [x.detach().double() for x in found]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("index", [padded_index(), padded_index(1), full_index()], ids=["padded", "single", "all"])
def test_the_fused_step_equals_plain_torch(
    index: torch.Tensor, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_abstraction, "_BLOCK_ELEMENTS", 13 * D)  # several blocks, the last one smaller
    expected = results(set_abstraction.set_abstraction_torch, index, training)
    for got, exact in zip(results(set_abstraction.set_abstraction, index, training), expected, strict=True):
        close(got, exact)


def test_the_bits_do_not_depend_on_the_threads() -> None:
    threads = torch.get_num_threads()
    found = []
    for count in (1, 2, 3, 2):
        torch.set_num_threads(count)
        try:
            found.append(results(set_abstraction.set_abstraction, padded_index(), True))
            assert torch.get_num_threads() == count
        finally:
            torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(x, y) for x, y in zip(found[0], other, strict=True))


def test_merged_groups_count_their_copies() -> None:
    index = padded_index()
    points, starts, copies = set_abstraction_kernels.merge_copies(index.flatten(0, 1).numpy())
    for g, row in enumerate(index.view(-1, K).tolist()):
        assert points[starts[g] : starts[g + 1]].tolist() == sorted(set(row))
        assert copies[g] == row.count(row[0])


def test_gradients_in_evaluation_mode_reach_everything() -> None:
    """As fine-tuning with frozen statistics needs them."""
    features = torch.randn(BATCH, N, F, dtype=torch.float64, requires_grad=True)
    points, first, weight = torch.rand(BATCH, N, 3).double(), torch.randn(C, 3 + F).double(), torch.ones(D, C).double()
    first.requires_grad_()
    given = points, features, points[:, :M], padded_index(), first
    set_abstraction.set_abstraction(*given, norm(C, 2).eval(), weight, norm(D, 3).eval()).sum().backward()
    assert float(features.grad.norm()) > 0
    assert float(first.grad.norm()) > 0


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
    x = torch.randn(1, 4096, 3, generator=torch.Generator().manual_seed(5)) * 0.01 + 1000
    one, none = torch.eye(3), torch.zeros(1, 4096, 3)
    given = none, x, none, torch.arange(4096).view(1, -1, 1), torch.cat([one, one], 1), BatchNorm(3), one, BatchNorm(3)
    got = set_abstraction.set_abstraction(*given)
    normal = torch.nn.functional.batch_norm(x[0].double(), None, None, training=True).relu()
    exact = torch.nn.functional.batch_norm(normal, None, None, training=True)
    assert (got[0] - exact).abs().max() < 2e-2  # float32 resolves 1000 +- 0.01 to 6e-5


def test_training_on_one_row_is_refused() -> None:
    with pytest.raises(ValueError, match="row"):
        BatchNorm(3)(torch.ones(1, 3))
