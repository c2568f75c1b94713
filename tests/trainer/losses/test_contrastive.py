import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from captionless.errors import DataError, SpecError
from captionless.trainer.losses import contrastive, pair_weights
from captionless.trainer.losses.pair_weights import PositiveWeight, SimilarityWeights
from tests.trainer import reference


def pairs(n: int, d: int = 6, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    image, shape = torch.randn(2, n, d, generator=g, dtype=torch.float64)
    return functional.normalize(image, dim=1).to(dtype), functional.normalize(shape + image, dim=1).to(dtype)


def similarity(n: int, seed: int = 1) -> torch.Tensor:
    sim = torch.rand(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.8 + 0.1
    sim = (sim + sim.t()) / 2
    return sim.fill_diagonal_(1.0)


IDS = ["a", "b", "a", "c", "d", "b", "a"]


@pytest.mark.parametrize("positive", ["one", "formula"])
@pytest.mark.parametrize("ids", [None, IDS, ["a"] * 7])
def test_log_weights(positive: str, ids: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_weights, "_BLOCK", 3 * 7)  # three anchors at a time, the last one alone
    sim = similarity(7)
    expected = reference.log_weights(sim.numpy(), ids or list(range(7)), positive)
    got = contrastive.log_weights(sim, ids, positive)
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=1e-12)
    assert torch.equal(torch.isinf(got), torch.isinf(torch.from_numpy(expected)))
    codes = None if ids is None else torch.tensor([ord(i) for i in ids])
    single = contrastive.log_weights(sim.float(), codes, positive)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), expected, rtol=0, atol=1e-6)


def test_mean_negative_weight_is_one_and_constant_similarity_is_infonce() -> None:
    weight = contrastive.log_weights(similarity(9)).exp()
    off = weight.sum(1) - weight.diagonal()
    torch.testing.assert_close(off / 8, torch.ones(9, dtype=torch.float64))
    constant = contrastive.log_weights(torch.full((9, 9), 0.3))
    torch.testing.assert_close(constant, torch.zeros(9, 9), rtol=0, atol=1e-6)


@pytest.mark.parametrize("positive", ["one", "formula"])
def test_average_is_of_weights(positive: PositiveWeight) -> None:
    a, b = (contrastive.log_weights(similarity(7, seed), IDS, positive).exp() for seed in (1, 2))
    got = SimilarityWeights([similarity(7, 1), similarity(7, 2)], IDS, positive).matrix(slice(2, 6))
    np.testing.assert_allclose(got.numpy(), ((a + b) / 2)[2:6].numpy(), atol=1e-14)


@pytest.mark.parametrize("scale", [1.0, 1 / 0.07, 100.0])
def test_contrastive_loss(scale: float) -> None:
    image, shape = pairs(7)
    for ids in (None, IDS, ["a"] * 7):
        log_w = contrastive.log_weights(similarity(7), ids)
        expected = reference.contrastive(image.numpy(), shape.numpy(), scale, log_w.exp().numpy())
        got = contrastive.contrastive_loss(image, shape, torch.tensor(scale, dtype=torch.float64), log_w)
        assert float(got) == pytest.approx(expected, rel=1e-12, abs=1e-12)
        half = contrastive.contrastive_loss(image.float(), shape.float(), torch.tensor(scale), log_w.float())
        assert half.dtype == torch.float32
        assert float(half) == pytest.approx(expected, rel=2e-5, abs=2e-6)


def test_without_weights_it_is_cross_entropy_both_ways() -> None:
    image, shape = pairs(8)
    logits, labels = 14.0 * image @ shape.t(), torch.arange(8)
    expected = (functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.t(), labels)) / 2
    scale = torch.tensor(14.0, dtype=torch.float64)
    torch.testing.assert_close(contrastive.contrastive_loss(image, shape, scale), expected)
    weighted = contrastive.contrastive_loss(
        image, shape, scale, contrastive.log_weights(torch.full((8, 8), 0.25).double())
    )
    torch.testing.assert_close(weighted, expected)


def test_an_anchor_without_negatives_costs_nothing() -> None:
    image, shape = (x.requires_grad_() for x in pairs(3))
    log_w = contrastive.log_weights(similarity(3), ["a", "a", "a"])
    value = contrastive.contrastive_loss(image, shape, torch.tensor(14.0), log_w)
    value.backward()
    assert float(value.detach()) == pytest.approx(0.0, abs=1e-12)
    assert float(image.grad.norm()) == pytest.approx(0.0, abs=1e-12)


def test_gradients() -> None:
    image, shape = (x.requires_grad_() for x in pairs(7))
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    log_w = contrastive.log_weights(similarity(7), IDS)
    assert torch.autograd.gradcheck(lambda *x: contrastive.contrastive_loss(*x, log_w), (image, shape, scale))
    assert torch.autograd.gradcheck(lambda q, k: contrastive.hcl_loss(q, k, 0.5, 1.0, 0.1), (image, shape))
    assert torch.autograd.gradcheck(lambda q, k: contrastive.hcl_loss(q, k, 0.5, 0.7, 0.05, log_w), (image, shape))


@pytest.mark.parametrize(("beta", "tau_plus"), [(1.0, 0.1), (0.5, 0.0), (0.0, 0.2), (2.0, 0.6)])
@pytest.mark.parametrize("tau", [0.07, 1.0])
def test_hcl(beta: float, tau_plus: float, tau: float) -> None:
    query, key = pairs(7)
    sim = similarity(7)
    log_w = contrastive.log_weights(sim, IDS)
    for weights, s, ids in ((None, None, None), (log_w, sim.numpy(), IDS)):
        expected = reference.hcl(query.numpy(), key.numpy(), tau, beta, tau_plus, s, ids)
        assert float(contrastive.hcl_loss(query, key, tau, beta, tau_plus, weights)) == pytest.approx(
            expected, rel=1e-10
        )
        single = contrastive.hcl_loss(query.float(), key.float(), tau, beta, tau_plus, weights)
        assert float(single) == pytest.approx(expected, rel=1e-4)


def test_hcl_reduces_to_infonce_and_its_floor_binds() -> None:
    query, key = pairs(8)
    logits = query @ key.t() / 0.07
    torch.testing.assert_close(
        contrastive.hcl_loss(query, key, 0.07, 0.0, 0.0), functional.cross_entropy(logits, torch.arange(8))
    )
    floor = math.log1p(7 * math.exp(-1 / 0.07) / math.exp(1 / 0.07))  # equal pairs, orthogonal to one another
    assert float(contrastive.hcl_loss(torch.eye(8), torch.eye(8), 0.07, 1.0, 0.9)) == pytest.approx(
        floor, rel=1e-4, abs=1e-12
    )


def test_gradients_of_hcl_survive_the_smallest_temperature_in_float32() -> None:
    """Where the expected false negatives outweigh all, the floor holds, and exp(-1/tau) of it is below float32."""

    def gradients(dtype: torch.dtype) -> list[torch.Tensor]:
        given = [x.to(dtype).requires_grad_() for x in (*pairs(300, 24), torch.tensor(0.01, dtype=torch.float64))]
        return list(torch.autograd.grad(contrastive.hcl_loss(*given, 1.0, 0.1), given))  # type: ignore[arg-type]

    for got, expected in zip(gradients(torch.float32), gradients(torch.float64), strict=True):
        assert (got.double() - expected).norm() <= 1e-4 * expected.norm()


def test_hcl_without_negatives_costs_nothing() -> None:
    query, key = (x.requires_grad_() for x in pairs(3))
    value = contrastive.hcl_loss(query, key, 0.07, 1.0, 0.1, contrastive.log_weights(similarity(3), ["a"] * 3))
    value.backward()
    assert float(value.detach()) == 0.0
    assert bool((query.grad == 0).all())


def test_category_control_keeps_label_and_drops_structure() -> None:
    sim = similarity(4).numpy()
    got = contrastive.category_similarity(sim, ["x", "x", "y", "x"], {"x": 0.8, "y": 0.6})
    expected = sim.astype(np.float32)
    for i, j in ((0, 1), (0, 3), (1, 3)):
        expected[i, j] = expected[j, i] = 0.8
    np.testing.assert_array_equal(got, expected)


def test_sharpening_spreads_similarity_about_the_category_mean() -> None:
    categories, means = ["x", "x", "y", "x", "y", "z"], {"x": 0.8, "y": 0.6, "z": 1.0}
    sim = similarity(6).numpy()
    for sharpen in (1.0, 2.5, 8.0):
        expected = reference.sharpened(sim, categories, means, sharpen)
        got = contrastive.sharpened_similarity(sim, categories, means, sharpen)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=2**-23)  # rounded once, to float32
    at_mean = np.full((2, 2), 0.8)
    np.testing.assert_array_equal(
        contrastive.sharpened_similarity(at_mean, ["x", "x"], means, 9.0), np.float32(at_mean)
    )
    with pytest.raises(DataError, match=r"places 0 and 1 is nan"):
        contrastive.log_weights(torch.from_numpy(contrastive.sharpened_similarity(-at_mean, ["x", "x"], means, 1.5)))


def test_bad_input_is_told() -> None:
    sim = similarity(3)
    sim[0, 2] = 0.0
    with pytest.raises(DataError, match=r"places 0 and 2 is 0\.0"):
        contrastive.log_weights(sim)
    assert bool(contrastive.log_weights(sim, ["a", "b", "a"]).isfinite().any())  # masked, so not looked at
    sim[1, 2] = float("nan")
    with pytest.raises(DataError, match="nan"):
        contrastive.log_weights(sim, ["a", "b", "a"])
    with pytest.raises(SpecError, match="positive_weight"):
        contrastive.log_weights(similarity(3), positive_weight="two")
    with pytest.raises(SpecError, match="tau_plus"):
        contrastive.hcl_loss(*pairs(3), 0.07, 1.0, 1.0)
    with pytest.raises(ValueError, match="log_weight must be"):
        contrastive.contrastive_loss(*pairs(3), torch.tensor(1.0), torch.zeros(2, 2))
