"""The loss in blocks against eq. 5 in float64 by autograd: values, gradients, blocks, and scales that overflow."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from captionless.trainer.losses import contrastive, hcl, hn_weights, tiled
from captionless.trainer.losses.hn_weights import HNWeights
from captionless.trainer.losses.pair_weights import PairWeights
from captionless.trainer.losses.tiled import contrastive_share

ROWS, D = 128, 24
N = 3 * ROWS + 77  # four blocks, the last one smaller


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there are several strips, some with the positives of a block and some without."""
    monkeypatch.setattr(tiled, "ROWS", ROWS)
    monkeypatch.setattr(tiled, "_NARROWEST", 100)


def embeddings(seed: int = 0, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    """Two (N, D) float64 matrices of unit rows, pairs alike."""
    g = torch.Generator().manual_seed(seed)
    image = torch.randn(N, D, generator=g, dtype=torch.float64)
    shape = image + noise * torch.randn(N, D, generator=g, dtype=torch.float64)
    return functional.normalize(image, dim=1), functional.normalize(shape, dim=1)


def similarity(seed: int) -> Tensor:
    sim = torch.rand(N, N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.8 + 0.1
    return (sim + sim.t()) / 2


IDS = [str(i % (N - 40)) for i in range(N)]  # 40 objects are there twice


def plain(image: Tensor, shape: Tensor, scale: Tensor, log_weight: Tensor) -> Tensor:
    """Eq. 5 as it is written, with the whole matrix."""
    logits = scale * image @ shape.t()
    rows = (logits + log_weight).logsumexp(1) - logits.diagonal()
    columns = (logits.t() + log_weight).logsumexp(1) - logits.diagonal()
    return (rows.mean() + columns.mean()) / 2


def results(function: object, image: Tensor, shape: Tensor, scale: float, dtype: torch.dtype) -> list[Tensor]:
    """The loss and its three gradients, in float64."""
    inputs = [image.to(dtype), shape.to(dtype), torch.tensor(scale, dtype=dtype)]
    inputs = [x.clone().requires_grad_() for x in inputs]
    value = function(*inputs)  # type: ignore[operator]
    value.backward()
    assert value.dtype == dtype
    return [value.detach().double(), *(x.grad.double() for x in inputs)]  # type: ignore[union-attr]


def error(got: list[Tensor], expected: list[Tensor]) -> float:
    """The largest relative norm of a difference."""
    return max(float((g - e).norm() / e.norm()) for g, e in zip(got, expected, strict=True))


KINDS = ("none", "dense", "uneven", "one", "two")


def weights(kind: str, dtype: torch.dtype) -> tuple[PairWeights | Tensor | None, Tensor]:
    """Weights of a kind, and what they are as log-weights in float64."""
    if kind == "none":
        return None, torch.zeros(N, N, dtype=torch.float64)
    if kind == "uneven":  # no symmetric matrix times a factor
        uneven = torch.randn(N, N, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
        return uneven.to(dtype), uneven
    first, second = (hn_weights.log_weights(similarity(seed), IDS) for seed in (1, 2))
    if kind == "dense":
        return first.to(dtype), first
    if kind == "one":
        return HNWeights([similarity(1).to(dtype)], IDS), first
    both = HNWeights([similarity(1).to(dtype), similarity(2).to(dtype)], IDS)
    return both, ((first.exp() + second.exp()) / 2).log()


@pytest.mark.parametrize("scale", [1 / 0.07, 100.0])
@pytest.mark.parametrize("kind", KINDS)
def test_value_and_gradients_are_the_formulas(kind: str, scale: float) -> None:
    image, shape = embeddings()
    given, log_weight = weights(kind, torch.float64)
    expected = results(lambda *x: plain(*x, log_weight), image, shape, scale, torch.float64)
    got = results(lambda *x: contrastive.contrastive_loss(*x, given), image, shape, scale, torch.float64)
    assert error(got, expected) < 1e-10
    if not isinstance(given, Tensor):
        for kept in (0, 8 * N * (ROWS + 5)):  # no logits, those of one block
            partly = functools.partial(contrastive_share, weights=given, sizes=[N], kept=kept)
            again = results(partly, image, shape, scale, torch.float64)
            assert error(again, got) < 1e-14


@pytest.mark.parametrize("kind", KINDS)
def test_float32_is_as_exact_as_logsumexp(kind: str) -> None:
    image, shape = (x.float().double() for x in embeddings())
    given, log_weight = weights(kind, torch.float32)
    for scale in (1 / 0.07, 100.0):
        expected = results(lambda *x: plain(*x, log_weight), image, shape, float(np.float32(scale)), torch.float64)
        single = results(lambda *x: plain(*x, log_weight.float()), image, shape, scale, torch.float32)
        got = results(lambda *x: contrastive.contrastive_loss(*x, given), image, shape, scale, torch.float32)
        assert error(got, expected) <= max(1e-6, error(single, expected))
        assert scale > 50 or error(got, expected) < 1e-6


@pytest.mark.parametrize("cosine", [-1.0, 0.0, 0.9])
def test_nothing_underflows_where_all_cosines_are_far_from_1(cosine: float) -> None:
    """Images about one direction, shapes about one that has this cosine with it: exp(100 * (cosine - 1)) is 0."""
    g = torch.Generator().manual_seed(3)
    axis, other = torch.eye(D, dtype=torch.float64)[:2]
    about = cosine * axis + (1 - cosine**2) ** 0.5 * other
    image, shape = (
        functional.normalize(x + 0.05 * torch.randn(N, D, generator=g, dtype=torch.float64), dim=1).float()
        for x in (axis, about)
    )
    given, log_weight = weights("one", torch.float32)
    expected = results(lambda *x: plain(*x, log_weight), image.double(), shape.double(), 100.0, torch.float64)
    got = results(lambda *x: contrastive.contrastive_loss(*x, given), image, shape, 100.0, torch.float32)
    assert error(got, expected) < 2e-4
    single = results(lambda *x: plain(*x, log_weight.float()), image, shape, 100.0, torch.float32)
    assert error(got, expected) < 1.5 * error(single, expected)


def test_a_row_whose_logits_are_far_above_a_column_s_does_not_hide_it() -> None:
    """One shift for rows and columns would lose the column: row 0 has a logit of 100, and of -100 at column 1."""
    image, shape = embeddings()
    image[0] = shape[0]
    shape[1] = -image[0]
    log_weight = torch.zeros(N, N, dtype=torch.float64)
    expected = results(lambda *x: plain(*x, log_weight), image, shape, 100.0, torch.float64)
    got = results(contrastive.contrastive_loss, image.float(), shape.float(), 100.0, torch.float32)
    assert error(got, expected) < 2e-4


def test_the_bits_do_not_depend_on_the_threads() -> None:
    image, shape = (x.float() for x in embeddings())
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            given = weights("two", torch.float32)[0]
            found.append(
                results(lambda *x, w=given: contrastive.contrastive_loss(*x, w), image, shape, 14.0, torch.float32)
            )
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(x, y) for x, y in zip(found[0], other, strict=True))


def test_images_that_are_frozen_get_no_gradient() -> None:
    image, shape = (x.float() for x in embeddings())
    shape.requires_grad_()
    scale = torch.tensor(14.0, requires_grad=True)
    contrastive.contrastive_loss(image, shape, scale, weights("one", torch.float32)[0]).backward()
    assert image.grad is None
    both = [x.detach().clone().requires_grad_() for x in (image, shape, scale)]
    contrastive.contrastive_loss(*both, weights("one", torch.float32)[0]).backward()
    assert torch.equal(both[1].grad, shape.grad)
    assert torch.equal(both[2].grad, scale.grad)


def test_hcl_in_blocks_is_the_formula() -> None:
    image, shape = embeddings()
    given, log_weight = weights("two", torch.float64)

    def whole(query: Tensor, key: Tensor, scale: Tensor) -> Tensor:
        logits = scale * query @ key.t()
        hidden = torch.eye(N, dtype=torch.bool) | (log_weight == -torch.inf)
        importance = (0.7 * logits + log_weight.masked_fill(hidden, 0.0)).exp().masked_fill(hidden, 0.0)
        count = (~hidden).sum(1).double()
        negative = (importance * logits.exp()).sum(1) / importance.sum(1) * count
        positive = logits.diagonal().exp()
        negative = torch.maximum((negative - 0.1 * count * positive) / 0.9, count * (-scale).exp())
        return -(positive / (positive + negative)).log().mean()

    expected = results(whole, image, shape, 3.0, torch.float64)
    got = results(lambda q, k, s: hcl.hcl_loss(q, k, 1 / s, 0.7, 0.1, given), image, shape, 3.0, torch.float64)
    assert error(got, expected) < 1e-10
