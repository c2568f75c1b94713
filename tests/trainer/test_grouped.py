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


BATCH, N, M, K, C, D = 3, 40, 20, 6, 5, 8


def padded_index() -> torch.Tensor:
    """Groups as a ball query makes them: distinct neighbours in rising order, then copies of the first."""
    g = torch.Generator().manual_seed(1)
    index = torch.rand(BATCH, M, N, generator=g).topk(K, dim=-1).indices.sort(dim=-1).values
    found = torch.randint(1, K + 1, (BATCH, M, 1), generator=g)
    return torch.where(torch.arange(K) < found, index, index[..., :1])


def expanded(rows: torch.Tensor, groups: grouped.Groups) -> torch.Tensor:
    """Merged rows with their copies again, (B M K, C)."""
    sizes = groups.starts.diff()
    place = torch.arange(K).expand(len(sizes), K)
    return rows[(groups.starts[:-1, None] + torch.where(place < sizes[:, None], place, 0)).flatten()]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("merge", [True, False])
def test_fused_steps_equal_plain_torch(merge: bool, training: bool) -> None:
    """Both steps, one after the other: the rows between them are compared as well."""
    g = torch.Generator().manual_seed(2)
    leaves = [
        torch.randn(BATCH, N, C, generator=g, dtype=torch.float64) + 3.0,
        torch.randn(BATCH, M, C, generator=g, dtype=torch.float64),
        torch.randn(D, C, generator=g, dtype=torch.float64),
    ]
    factors = torch.randn(BATCH, M, D, generator=g, dtype=torch.float64)
    results = []
    for suffix, groups in (
        ("", grouped.group(padded_index(), merge)),
        ("_torch", grouped.group(padded_index(), False)),
    ):
        first, last = norm(C, 2).train(training), norm(D, 3).train(training)
        first.weight.data[0] = 0.0  # a channel switched off
        a, b, weight = (x.clone().requires_grad_(training) for x in leaves)
        with torch.set_grad_enabled(training):
            rows = getattr(grouped, "gather_norm_relu" + suffix)(a, b, groups, first)
            out = getattr(grouped, "linear_norm_max" + suffix)(rows, weight, last, groups)
        results.append([expanded(rows, groups), out, *first.buffers(), *last.buffers()])
        if training:
            (out * factors).sum().backward()
            results[-1] += [x.grad for x in (a, b, weight, *first.parameters(), *last.parameters())]
    for got, expected in zip(*results, strict=True):
        close(got.double(), expected.double())


def test_merged_groups_count_their_copies() -> None:
    index = padded_index()
    groups = grouped.group(index, True)
    for g, row in enumerate(index.view(-1, K).tolist()):
        assert groups.starts[g + 1] - groups.starts[g] == len(set(row))
        assert groups.copies[g] == row.count(row[0])
    with pytest.raises(ValueError, match="fused"):
        grouped.linear_norm_max_torch(torch.ones(3, C), torch.ones(D, C), norm(D, 0), groups)


def test_gradients_in_evaluation_mode_reach_everything() -> None:
    """As fine-tuning with frozen statistics needs them."""
    groups = grouped.group(padded_index(), grouped.can_merge(torch.ones(1), norm(C, 2).eval()))
    a = torch.randn(BATCH, N, C, dtype=torch.float64, requires_grad=True)
    b = torch.randn(BATCH, M, C, dtype=torch.float64, requires_grad=True)
    rows = grouped.gather_norm_relu(a, b, groups, norm(C, 2).eval())
    grouped.linear_norm_max(rows, torch.ones(D, C).double(), norm(D, 3).eval(), groups).sum().backward()
    assert float(a.grad.norm()) > 0
    assert float(b.grad.norm()) > 0


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
    got = grouped.gather_norm_relu(a, torch.zeros(1, 1, 3), grouped.group(index, True), BatchNorm(3))
    assert (got.view(-1, 3) - exact.relu()).abs().max() < 1e-2  # float32 resolves 1000 +- 0.01 to 6e-5


def test_training_on_one_row_is_refused() -> None:
    with pytest.raises(ValueError, match="more than one row"):
        BatchNorm(3)(torch.ones(1, 3))
