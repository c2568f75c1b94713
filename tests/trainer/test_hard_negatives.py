from pathlib import Path

import numpy as np
import pytest
import torch

from captionless.trainer import encoders, hard_negatives
from captionless.trainer.data.training_data import TrainingData
from captionless.trainer.hard_negatives import HardNegatives, nearest
from captionless.trainer.infer import encode_points
from tests.trainer import synthetic


def test_nearest_are_those_of_a_plain_sort() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(-2, 3, (150, 3)).astype(np.float32)  # many equal products
    found = nearest(rows, 7)
    assert found.dtype == np.int32
    for i in range(150):
        products = rows[i].astype(np.float64) @ rows.T
        expected = sorted((s for s in range(150) if s != i), key=lambda s: (-products[s], s))[:7]
        assert found[i].tolist() == expected
    with pytest.raises(ValueError, match="3 neighbours among 3"):
        nearest(rows[:3], 3)


def test_the_search_is_in_the_encoders_space_and_comes_every_few_epochs(tmp_path: Path) -> None:
    synthetic.write(tmp_path, train=26)
    job = synthetic.job(tmp_path, batches={"kind": "neighbours", "group": 2, "candidates": 4, "every": 2})
    data = TrainingData(job.data, job.train, 0)  # three steps an epoch
    search = HardNegatives(data)
    torch.manual_seed(0)
    encoder = encoders.build("pointnext-s", **loop_options(job, data))
    searched = []
    for step in range(20):
        if search.due(step):
            search.search(encoder, step)
            searched.append(step)
    assert searched == [6, 12, 18]
    embedded = encode_points(encoder, data.clouds(data.training), 32)
    products = embedded @ embedded.T
    np.fill_diagonal(products, -np.inf)
    assert data.nearest is not None
    assert data.nearest.shape == (26, 4)
    np.testing.assert_array_equal(data.nearest[:, 0], products.argmax(1))

    again = TrainingData(job.data, job.train, 0)
    other = HardNegatives(again)
    other.load_state_dict(search.state_dict())
    np.testing.assert_array_equal(again.nearest, data.nearest)
    assert [step for step in range(18, 30) if other.due(step)] == list(range(24, 30))
    plain = synthetic.job(tmp_path)
    assert not any(HardNegatives(TrainingData(plain.data, plain.train, 0)).due(step) for step in range(30))


def loop_options(job, data):  # type: ignore[no-untyped-def]
    from captionless.trainer.encoders import encoder_options

    return encoder_options(job.train.encoder, data.features)


def test_the_search_is_of_training_objects_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.write(tmp_path, train=26)
    batches = {"kind": "neighbours", "group": 2, "candidates": 4, "every": 1}
    job = synthetic.job(tmp_path, batches=batches, validation={"share": 0.3})
    data = TrainingData(job.data, job.train, 0)
    monkeypatch.setattr(hard_negatives, "encode_all", lambda encoder, data, objects: np.eye(18, dtype=np.float32))
    search = HardNegatives(data)
    search.search(None, 3)  # type: ignore[arg-type]
    held = set(data.validation.tolist())
    assert not any(held & set(data.indices(step)[1].tolist()) for step in range(3, 12))
