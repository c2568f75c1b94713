import math

import pytest
import torch

from captionless.spec.train import OptimSpec
from captionless.trainer.optim import Adam, learning_rate


@pytest.mark.parametrize("name", ["adamw", "adam"])
def test_the_update_is_torchs_with_decay_on_matrices_only(name: str) -> None:
    spec = OptimSpec(name=name, weight_decay=0.3, beta1=0.8, beta2=0.9, eps=1e-6)
    torch.manual_seed(0)
    start = [torch.randn(4, 3), torch.randn(5), torch.tensor(1.5)]
    ours, theirs = ([torch.nn.Parameter(x.clone()) for x in start] for _ in range(2))
    groups = [{"params": theirs[:1], "weight_decay": 0.3}, {"params": theirs[1:], "weight_decay": 0.0}]
    peer = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    expected = peer(groups, betas=(0.8, 0.9), eps=1e-6, foreach=False)
    optimizer = Adam(ours, spec)
    for step in range(6):
        rate = 0.1 / (step + 1)
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn(p.shape)
            q.grad = p.grad.clone()
        for group in expected.param_groups:
            group["lr"] = rate
        expected.step()
        optimizer.step(rate)
        if step == 2:  # go on in a new one
            state = optimizer.state_dict()
            optimizer = Adam(ours, spec)
            optimizer.load_state_dict(state)
        for p, q in zip(ours, theirs, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-7)
    optimizer.zero_grad()
    assert all(p.grad is None for p in ours)


def test_learning_rate_rises_linearly_then_follows_the_cosine() -> None:
    spec = OptimSpec(lr=1.0, min_lr=0.1, warmup=0.1)
    rates = [learning_rate(s, 101, spec) for s in range(101)]  # 11 warm-up steps
    assert rates[0] == pytest.approx(0.1 + 0.9 / 11)
    assert rates[10] == pytest.approx(1.0)
    assert rates[11] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.1)
    for s in range(12, 101):
        assert rates[s] == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * (s - 11) / 89)))
    assert learning_rate(0, 1, OptimSpec(lr=1.0, warmup=0.0)) == 1.0
