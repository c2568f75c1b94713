"""Micro-batches against one graph that holds them all; low precision and its scaler."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from captionless.errors import SpecError
from captionless.trainer import encoders, loop
from captionless.trainer.grad_cache import accumulate_gradients
from captionless.trainer.losses import hn_weights
from captionless.trainer.losses.tiled import contrastive_share
from tests.trainer import synthetic

SIZES = [4, 3, 2]
KEYS = torch.arange(9) + (5 << 40)


def problem(dtype: torch.dtype) -> tuple[encoders.Encoder, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    options = {"width": 4, "nsample": 6, "radius": 0.6, "embed_dim": 6, "dropout": 0.3, "head": (16, 16)}
    encoder = encoders.build("pointnext-s", **options).to(dtype).train()
    image = functional.normalize(torch.randn(9, 6), dim=-1).to(dtype)
    return encoder, torch.rand(9, 48, 3).to(dtype), image, torch.rand(9, 9).add(0.5).to(dtype)


def state(encoder: encoders.Encoder) -> list[torch.Tensor]:
    gradients = [p.grad for p in encoder.parameters()]
    assert all(g is not None for g in gradients)
    return [*(g for g in gradients if g is not None), *encoder.buffers()]


def whole_step(accumulated: bool) -> list[torch.Tensor]:
    """Loss, gradients and buffers of a step in float64, by micro-batches or by one graph of them all."""
    encoder, points, image, sim = problem(torch.float64)
    log_scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    losses: list[torch.Tensor] = []

    def loss(shape: torch.Tensor) -> torch.Tensor:
        weights = hn_weights.HNWeights([(sim + sim.t()) / 2])
        losses.append(contrastive_share(image, shape, log_scale.exp(), weights, [9]))
        return losses[-1]

    if accumulated:
        accumulate_gradients(encoder, points, SIZES, loss, KEYS)
    else:
        parts = zip(points.split(SIZES), KEYS.split(SIZES), strict=True)
        loss(torch.cat([functional.normalize(encoder(*part), dim=-1) for part in parts])).backward()
    assert len(losses) == 1
    assert log_scale.grad is not None
    assert dict(encoder.named_buffers())["head.0.norm.num_batches_tracked"] == 3
    return [losses[0].detach(), log_scale.grad, *state(encoder)]


def test_micro_batches_have_the_loss_and_gradient_of_the_whole_batch() -> None:
    """The reference has the same: each part's own statistics and masks, one loss over all."""
    for got, expected in zip(whole_step(True), whole_step(False), strict=True):
        assert (got - expected).double().norm() <= 1e-11 * expected.double().norm().clamp_min(1e-9)


def test_one_micro_batch_is_the_plain_gradient() -> None:
    plain, points, image, _ = problem(torch.float32)
    scale = torch.tensor(10.0)
    contrastive_share(image, functional.normalize(plain(points, KEYS), dim=-1), scale, None, [9]).backward()
    encoder = problem(torch.float32)[0]
    accumulate_gradients(encoder, points, [9], lambda shape: contrastive_share(image, shape, scale, None, [9]), KEYS)
    assert all(torch.equal(got, expected) for got, expected in zip(state(encoder), state(plain), strict=True))


def embedded(precision: torch.dtype) -> torch.Tensor:
    """The embeddings that a step in this precision gives the loss; its gradients are finite and float32."""
    encoder, points, image, _ = problem(torch.float32)
    found: list[torch.Tensor] = []

    def loss(shape: torch.Tensor) -> torch.Tensor:
        found.append(shape.detach())
        return contrastive_share(image, shape, torch.tensor(10.0), None, [9])

    accumulate_gradients(encoder, points, SIZES, loss, KEYS, precision)
    assert all(x.dtype in (torch.float32, torch.int64) for x in [*found, *state(encoder)])
    assert all(x.isfinite().all() for x in state(encoder))
    return found[0]


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16], ids=str)
def test_low_precision_is_that_of_products_only(precision: torch.dtype) -> None:
    """How near it is: `encoders.test_low_precision`."""
    assert not torch.equal(embedded(torch.float32), embedded(precision))


def test_what_needs_a_gpu_is_reported_on_a_cpu(tmp_path: Path) -> None:
    synthetic.write(tmp_path)
    if not torch.cuda.is_available():
        with pytest.raises(SpecError, match=r"train\.precision: bfloat16"):
            loop.TrainingRun(synthetic.job(tmp_path, precision="bfloat16"))
        with pytest.raises(SpecError, match=r"train\.compile: true"):
            loop.TrainingRun(synthetic.job(tmp_path, compile=True))


def test_a_scaled_loss_changes_nothing_and_an_overflow_leaves_a_step_out(tmp_path: Path) -> None:
    synthetic.write(tmp_path)
    plain, scaled, overflown = (loop.TrainingRun(synthetic.job(tmp_path)) for _ in range(3))
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    overflown.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    before = [p.detach().clone() for p in overflown.parameters]
    for run in (plain, scaled, overflown):
        run.step()
    assert scaled.history["loss"] == plain.history["loss"]
    assert scaled.history["grad_norm"] == pytest.approx(plain.history["grad_norm"], rel=1e-5)
    for got, expected in zip(scaled.parameters, plain.parameters, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    assert overflown.history["grad_norm"] == [None]
    assert all(torch.equal(p, q) for p, q in zip(overflown.parameters, before, strict=True))
    assert overflown.scaler.get_scale() < 2.0**127
