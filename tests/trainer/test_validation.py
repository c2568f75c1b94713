from pathlib import Path

import numpy as np
import pytest
import torch

from captionless.trainer import loop, model_file, validation
from tests.trainer import synthetic


def test_mean_reciprocal_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    image, shape = rng.standard_normal((2, 23, 4)).astype(np.float32)
    shape[7] = shape[3]  # two answers that are the same: the right one comes last
    products = image.astype(np.float64) @ shape.T
    total = 0.0
    for i in range(23):
        own = products[i, i]
        total += 1 / sum(products[i, s] >= own - 1e-6 for s in range(23))
        total += 1 / sum(products[s, i] >= own - 1e-6 for s in range(23))
    for rows in (1024, 5):
        monkeypatch.setattr(validation, "_BLOCK", rows)
        assert validation.mean_reciprocal_rank(image, shape) == pytest.approx(total / 46, rel=1e-6)
    assert validation.mean_reciprocal_rank(np.eye(9, dtype=np.float32), np.eye(9, dtype=np.float32)) == 1.0


def test_the_result_is_what_scored_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores that fall: the weights of the first validation are the result, whatever came after."""
    synthetic.write(tmp_path, train=26)
    weights: dict[int, dict[str, torch.Tensor]] = {}
    scores = iter([0.2, 0.7, 0.7, 0.1])

    class Falling(validation.Validation):
        def score(self, encoder, log_scale, done):  # type: ignore[no-untyped-def]
            super().score(encoder, log_scale, done)
            weights[done] = {name: value.clone() for name, value in encoder.state_dict().items()}

    monkeypatch.setattr(validation, "mean_reciprocal_rank", lambda image, shape: next(scores))
    monkeypatch.setattr(loop, "Validation", Falling)
    loop.train(synthetic.job(tmp_path, steps=7, validation={"share": 0.3, "every": 2}))
    model, meta = model_file.load_model(str(tmp_path / "run"))
    assert sorted(weights) == [2, 4, 6, 7]
    assert meta["step"] == 4
    assert meta["provenance"]["validation_objects"] == 8
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[4][name])
    assert not all(torch.equal(value, weights[7][name]) for name, value in model.state_dict().items())
