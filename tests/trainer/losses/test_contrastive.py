"""Eq. 5 against a plain float64 reference, its gradient, and its limits."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from captionless.trainer.losses.contrastive import contrastive_loss
from captionless.trainer.losses.hn_weights import log_weights
from tests.trainer import reference
from tests.trainer.losses.inputs import IDS, pairs, similarity


@pytest.mark.parametrize("scale", [1.0, 1 / 0.07, 100.0])
def test_contrastive_loss(scale: float) -> None:
    image, shape = pairs(7)
    for ids in (None, IDS, ["a"] * 7):
        log_w = log_weights(similarity(7), ids)
        expected = reference.contrastive(image.numpy(), shape.numpy(), scale, log_w.exp().numpy())
        got = contrastive_loss(image, shape, torch.tensor(scale, dtype=torch.float64), log_w)
        assert float(got) == pytest.approx(expected, rel=1e-12, abs=1e-12)
        half = contrastive_loss(image.float(), shape.float(), torch.tensor(scale), log_w.float())
        assert half.dtype == torch.float32
        assert float(half) == pytest.approx(expected, rel=2e-5, abs=2e-6)


def test_without_weights_it_is_cross_entropy_both_ways() -> None:
    image, shape = pairs(8)
    logits, labels = 14.0 * image @ shape.t(), torch.arange(8)
    expected = (functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.t(), labels)) / 2
    scale = torch.tensor(14.0, dtype=torch.float64)
    torch.testing.assert_close(contrastive_loss(image, shape, scale), expected)
    weighted = contrastive_loss(image, shape, scale, log_weights(torch.full((8, 8), 0.25).double()))
    torch.testing.assert_close(weighted, expected)


def test_an_anchor_without_negatives_costs_nothing() -> None:
    image, shape = (x.requires_grad_() for x in pairs(3))
    log_w = log_weights(similarity(3), ["a", "a", "a"])
    value = contrastive_loss(image, shape, torch.tensor(14.0), log_w)
    value.backward()
    assert float(value.detach()) == pytest.approx(0.0, abs=1e-12)
    assert float(image.grad.norm()) == pytest.approx(0.0, abs=1e-12)


def test_gradients() -> None:
    image, shape = (x.requires_grad_() for x in pairs(7))
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    log_w = log_weights(similarity(7), IDS)
    assert torch.autograd.gradcheck(lambda *x: contrastive_loss(*x, log_w), (image, shape, scale))


def test_log_weights_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="log_weight"):
        contrastive_loss(*pairs(3), torch.tensor(1.0), torch.zeros(2, 2))
