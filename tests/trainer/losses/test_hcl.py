"""HCL against a plain float64 reference, its gradient, and its limits."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from captionless.errors import SpecError
from captionless.trainer.losses.hcl import hcl_loss
from captionless.trainer.losses.hn_weights import log_weights
from tests.trainer import reference
from tests.trainer.losses.inputs import IDS, pairs, similarity


@pytest.mark.parametrize(("beta", "tau_plus"), [(1.0, 0.1), (0.5, 0.0), (0.0, 0.2), (2.0, 0.6)])
@pytest.mark.parametrize("tau", [0.07, 1.0])
def test_hcl(beta: float, tau_plus: float, tau: float) -> None:
    query, key = pairs(7)
    sim = similarity(7)
    log_w = log_weights(sim, IDS)
    for weights, s, ids in ((None, None, None), (log_w, sim.numpy(), IDS)):
        expected = reference.hcl(query.numpy(), key.numpy(), tau, beta, tau_plus, s, ids)
        assert float(hcl_loss(query, key, tau, beta, tau_plus, weights)) == pytest.approx(expected, rel=1e-10)
        single = hcl_loss(query.float(), key.float(), tau, beta, tau_plus, weights)
        assert float(single) == pytest.approx(expected, rel=1e-4)


def test_hcl_reduces_to_infonce_and_its_floor_binds() -> None:
    query, key = pairs(8)
    logits = query @ key.t() / 0.07
    torch.testing.assert_close(hcl_loss(query, key, 0.07, 0.0, 0.0), functional.cross_entropy(logits, torch.arange(8)))
    floor = math.log1p(7 * math.exp(-1 / 0.07) / math.exp(1 / 0.07))  # equal pairs, orthogonal to one another
    assert float(hcl_loss(torch.eye(8), torch.eye(8), 0.07, 1.0, 0.9)) == pytest.approx(floor, rel=1e-4, abs=1e-12)


def test_gradients_of_hcl_survive_the_smallest_temperature_in_float32() -> None:
    """Where the expected false negatives outweigh all, the floor holds, and exp(-1/tau) of it is below float32."""

    def gradients(dtype: torch.dtype) -> list[torch.Tensor]:
        given = [x.to(dtype).requires_grad_() for x in (*pairs(300, 24), torch.tensor(0.01, dtype=torch.float64))]
        return list(torch.autograd.grad(hcl_loss(*given, 1.0, 0.1), given))  # type: ignore[arg-type]

    for got, expected in zip(gradients(torch.float32), gradients(torch.float64), strict=True):
        assert (got.double() - expected).norm() <= 1e-4 * expected.norm()


def test_hcl_without_negatives_costs_nothing() -> None:
    query, key = (x.requires_grad_() for x in pairs(3))
    value = hcl_loss(query, key, 0.07, 1.0, 0.1, log_weights(similarity(3), ["a"] * 3))
    value.backward()
    assert float(value.detach()) == 0.0
    assert bool((query.grad == 0).all())


def test_gradients_of_hcl() -> None:
    query, key = (x.requires_grad_() for x in pairs(7))
    log_w = log_weights(similarity(7), IDS)
    assert torch.autograd.gradcheck(lambda q, k: hcl_loss(q, k, 0.5, 1.0, 0.1), (query, key))
    assert torch.autograd.gradcheck(lambda q, k: hcl_loss(q, k, 0.5, 0.7, 0.05, log_w), (query, key))


def test_tau_plus_of_1_is_refused() -> None:
    with pytest.raises(SpecError, match="tau_plus"):
        hcl_loss(*pairs(3), 0.07, 1.0, 1.0)
