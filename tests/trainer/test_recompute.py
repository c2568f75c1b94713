"""Activations that are computed again instead of kept: the same bits, and less memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from captionless.spec.train import TrainSpec
from captionless.trainer import encoders, loop
from captionless.trainer.recompute import recompute
from tests.trainer import synthetic
from tests.trainer.test_loop import outcome

SMALL: dict[str, dict[str, Any]] = {
    "pointnext-s": {"width": 4, "nsample": 6, "radius": 0.6, "dropout": 0.3},
    "pointbert": {"width": 8, "depth": 6, "heads": 2, "groups": 8, "nsample": 6, "drop_path": 0.3},
    "sparseconv": {"width": 4, "depth": 18, "voxel": 0.2, "dropout": 0.3},
}


@pytest.mark.parametrize("name", SMALL)
def test_gradients_and_statistics_are_the_same_bits_and_less_is_kept(name: str) -> None:
    points = torch.randn(6, 48, 3, generator=torch.Generator().manual_seed(1))
    found, kept = [], []
    for again in (False, True):
        torch.manual_seed(0)
        model = encoders.build(name, embed_dim=8, **SMALL[name])
        if again:
            recompute(model)
        total, weights = 0, {p.data_ptr() for p in model.parameters()}  # which are there in any case

        def count(x: torch.Tensor, weights: set[int] = weights) -> torch.Tensor:
            nonlocal total
            total += 0 if x.data_ptr() in weights else x.numel() * x.element_size()
            return x

        torch.manual_seed(3)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
            value = model(points).square().sum()
        value.backward()
        kept.append(total)
        found.append([value.detach(), *(p.grad for p in model.parameters()), *model.buffers()])
        assert list(model.state_dict()) == list(encoders.build(name, embed_dim=8, **SMALL[name]).state_dict())
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
    assert kept[1] < 0.8 * kept[0]  # 0.62, 0.02 and 0.73: what is not in a block is small only in large encoders


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_learns_the_same_bits(tmp_path: Path, accumulate: int) -> None:
    synthetic.write(tmp_path, train=12)
    given: dict[str, Any] = {"steps": 3, "accumulate": accumulate, "freeze": ["stages.1"], "ema": 0.9}
    for run, again in (("kept", False), ("again", True)):
        loop.train(synthetic.job(tmp_path, run, gradient_checkpointing=again, **given))
    (one, history), (other, its_history) = outcome(tmp_path, "kept"), outcome(tmp_path, "again")
    assert history == its_history
    assert all(torch.equal(one[name], other[name]) for name in one)
    jobs = [synthetic.job(tmp_path, "x", gradient_checkpointing=again, **given) for again in (False, True)]
    assert jobs[0].fingerprint("data") == jobs[1].fingerprint("data")


def test_torchs_compiler_decides_by_itself_what_to_keep() -> None:
    with pytest.raises(ValueError, match="gradientCheckpointing: not with compile"):
        TrainSpec(gradient_checkpointing=True, compile=True)
