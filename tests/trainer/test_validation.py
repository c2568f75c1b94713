from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from captionless.store.embeddings import Embeddings
from captionless.trainer import encoders, infer, loop, model_file, validation
from captionless.trainer.data.training_data import TrainingData
from captionless.trainer.encoders import encoder_options
from captionless.trainer.validation import Validation
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
        def score(self, encoder, log_scale, done, beat):  # type: ignore[no-untyped-def]
            super().score(encoder, log_scale, done, beat)
            weights[done] = {name: value.clone() for name, value in encoder.state_dict().items()}

    monkeypatch.setattr(validation, "mean_reciprocal_rank", lambda image, shape, beat: next(scores))
    monkeypatch.setattr(loop, "Validation", Falling)
    loop.train(synthetic.job(tmp_path, steps=7, validation={"share": 0.3, "every": 2}))
    model, meta = model_file.load_model(str(tmp_path / "run"))
    assert sorted(weights) == [2, 4, 6, 7]
    assert meta["step"] == 4
    assert meta["provenance"]["validation_objects"] == 8
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[4][name])
    assert not all(torch.equal(value, weights[7][name]) for name, value in model.state_dict().items())


def test_pictures_are_read_once_and_clouds_a_block_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.write(tmp_path, train=26)
    job = synthetic.job(tmp_path, validation={"share": 0.5, "every": 1})
    data = TrainingData(job.data, job.train, 0, memory=0)
    encoder = encoders.build("pointnext-s", **encoder_options(job.train.encoder, data.features))
    monkeypatch.setattr(infer, "ENCODED_TOGETHER", 4)
    reads: list[tuple[int, bool]] = []
    read = Embeddings.read

    def counted(self: Embeddings, indices: Any, views: Any = None, points: Any = None, *rest: Any, **more: Any) -> None:
        reads.append((len(indices), points is not None))
        read(self, indices, views, points, *rest, **more)

    monkeypatch.setattr(Embeddings, "read", counted)
    scored, beats = Validation(data), []
    for done in (1, 2):
        scored.score(encoder, torch.zeros(()), done, partial(beats.append, done))
    held = len(data.validation)
    assert held == 12
    assert sum(n for n, with_points in reads if not with_points) == held
    assert sum(n for n, with_points in reads if with_points) == 2 * held
    assert max(n for n, with_points in reads if with_points) == 4
    assert beats == [1] * (1 + 3 + 1) + [2] * (3 + 1)
