"""Eq. 6 as a batch has it, against a plain float64 reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from captionless.errors import DataError, SpecError
from captionless.trainer.losses import hn_weights
from captionless.trainer.losses.hn_weights import HNWeights, PositiveWeight, log_weights
from tests.trainer import reference
from tests.trainer.losses.inputs import IDS, similarity


@pytest.mark.parametrize("positive", ["one", "formula"])
@pytest.mark.parametrize("ids", [None, IDS, ["a"] * 7], ids=["distinct", "repeated", "one object"])
def test_log_weights(positive: str, ids: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hn_weights, "_BLOCK", 3 * 7)  # three anchors at a time, the last one alone
    sim = similarity(7)
    expected = reference.log_weights(sim.numpy(), ids or list(range(7)), positive)
    got = log_weights(sim, ids, positive)
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=1e-12)
    assert torch.equal(torch.isinf(got), torch.isinf(torch.from_numpy(expected)))
    codes = None if ids is None else torch.tensor([ord(i) for i in ids])
    single = log_weights(sim.float(), codes, positive)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), expected, rtol=0, atol=1e-6)


def test_mean_negative_weight_is_one_and_constant_similarity_is_infonce() -> None:
    weight = log_weights(similarity(9)).exp()
    off = weight.sum(1) - weight.diagonal()
    torch.testing.assert_close(off / 8, torch.ones(9, dtype=torch.float64))
    constant = log_weights(torch.full((9, 9), 0.3))
    torch.testing.assert_close(constant, torch.zeros(9, 9), rtol=0, atol=1e-6)


@pytest.mark.parametrize("positive", ["one", "formula"])
def test_average_is_of_weights(positive: PositiveWeight) -> None:
    a, b = (log_weights(similarity(7, seed), IDS, positive).exp() for seed in (1, 2))
    got = HNWeights([similarity(7, 1), similarity(7, 2)], IDS, positive).matrix(slice(2, 6))
    np.testing.assert_allclose(got.numpy(), ((a + b) / 2)[2:6].numpy(), atol=1e-14)


def test_a_similarity_that_gives_no_weight_is_named() -> None:
    sim = similarity(3)
    sim[0, 2] = 0.0
    with pytest.raises(DataError, match=r"0 and 2.*0\.0"):
        log_weights(sim)
    assert bool(log_weights(sim, ["a", "b", "a"]).isfinite().any())  # masked, so not looked at
    sim[1, 2] = float("nan")
    with pytest.raises(DataError, match=r"1 and 2.*nan"):
        log_weights(sim, ["a", "b", "a"])


def test_another_weight_of_the_positive_is_refused() -> None:
    with pytest.raises(SpecError, match="positive_weight"):
        log_weights(similarity(3), positive_weight="two")
