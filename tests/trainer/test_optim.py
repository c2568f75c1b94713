"""Adam beside plain arithmetic, its stored state, and what it imports; the learning rate's schedule."""

from __future__ import annotations

import io
import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from captionless.spec.train import OptimSpec
from captionless.trainer.optim import Adam, learning_rate

STEPS = 50


def plain_update(
    name: str, spec: OptimSpec, rate: float, step: int, p: Tensor, grad: Tensor, first: Tensor, second: Tensor
) -> None:
    """Algorithms 1 (adam) and 2 (adamw) of Loshchilov & Hutter, one after the other, in place."""
    if p.ndim >= 2 and name == "adamw":
        p.mul_(1 - rate * spec.weight_decay)
    elif p.ndim >= 2:
        grad = grad.add(p, alpha=spec.weight_decay)
    first.lerp_(grad, 1 - spec.beta1)
    second.mul_(spec.beta2).addcmul_(grad, grad, value=1 - spec.beta2)
    denominator = second.sqrt().div_(math.sqrt(1 - spec.beta2**step)).add_(spec.eps)
    p.addcdiv_(first, denominator, value=-rate / (1 - spec.beta1**step))


@pytest.mark.parametrize("name", ["adamw", "adam"])
def test_50_steps_are_those_of_plain_arithmetic_to_the_bit(name: str) -> None:
    spec = OptimSpec(name=name, weight_decay=0.3, beta1=0.8, beta2=0.99, eps=1e-6)
    torch.manual_seed(0)
    start = [torch.randn(40, 30), torch.randn(5), torch.tensor(1.5), torch.randn(2, 3, 4)]
    ours, theirs = [torch.nn.Parameter(x.clone()) for x in start], [x.clone() for x in start]
    moments = [(torch.zeros_like(x), torch.zeros_like(x)) for x in start]
    optimizer = Adam(ours, spec)
    for step in range(1, STEPS + 1):
        rate = 0.1 / step
        for p, q, (first, second) in zip(ours, theirs, moments, strict=True):
            p.grad = torch.randn(p.shape)
            plain_update(name, spec, rate, step, q, p.grad.clone(), first, second)
        optimizer.step(rate)
        if step == STEPS // 2:  # a checkpoint, and a new process that resumes from it
            stored = io.BytesIO()
            torch.save(optimizer.state_dict(), stored)
            stored.seek(0)
            optimizer = Adam(ours, spec)
            optimizer.load_state_dict(torch.load(stored, weights_only=True))
        for p, q in zip(ours, theirs, strict=True):
            assert torch.equal(p.detach(), q)
    optimizer.zero_grad()
    assert all(p.grad is None for p in ours)


@pytest.mark.parametrize("name", ["adamw", "adam"])
def test_the_update_is_that_of_torchs_class(name: str) -> None:
    spec = OptimSpec(name=name, weight_decay=0.3)
    torch.manual_seed(0)
    ours, theirs = ([torch.nn.Parameter(x.clone())] for x in [torch.randn(4, 3)] * 2)
    peer = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    expected = peer(theirs, lr=0.1, betas=(spec.beta1, spec.beta2), eps=spec.eps, weight_decay=0.3, foreach=False)
    optimizer = Adam(ours, spec)
    for _ in range(3):
        ours[0].grad = torch.randn(4, 3)
        theirs[0].grad = ours[0].grad.clone()
        expected.step()
        optimizer.step(0.1)
        assert torch.equal(ours[0], theirs[0])


def test_the_stored_state_is_the_number_of_steps_and_the_moments() -> None:
    parameters = [torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(3))]
    optimizer = Adam(parameters, OptimSpec())
    assert optimizer.state_dict()["steps"] == 0
    for p in parameters:
        p.grad = torch.ones_like(p)
    optimizer.step(0.1)
    state = optimizer.state_dict()
    assert set(state) == {"steps", "first", "second"}
    assert type(state["steps"]) is int
    assert state["steps"] == 1
    for moments in (state["first"], state["second"]):
        assert [m.shape for m in moments] == [p.shape for p in parameters]


def test_a_step_does_without_torchs_compiler() -> None:
    code = """
import sys, torch
from captionless.spec.train import OptimSpec
from captionless.trainer.optim import Adam
for name in ("adamw", "adam"):
    p = torch.nn.Parameter(torch.ones(2, 2))
    p.grad = torch.ones(2, 2)
    Adam([p], OptimSpec(name=name)).step(0.1)
loaded = {"torch._dynamo", "torch._inductor"} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True)


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
