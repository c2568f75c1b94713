"""Training with masked false negatives: what batches bring for it, and what is recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captionless.errors import Interrupted
from captionless.store.embeddings import open_embeddings
from captionless.trainer import loop
from captionless.trainer.data.training_data import Batch, TrainingData
from captionless.trainer.hard_negatives import HardNegatives
from tests.trainer import synthetic
from tests.trainer.data.test_stored_neighbours import mine

WITH = {"kind": "neighbours", "group": 3, "candidates": 6}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("masked")
    synthetic.write(path, train=26, shards=4)
    mine(path)
    return path


def data_of(root: Path, margin: float, **train: Any) -> TrainingData:
    batches = {**WITH, "from": str(root / "near"), "falseNegatives": margin, **train.pop("batches", {})}
    job = synthetic.job(root, batches=batches, **train)
    found = TrainingData(job.data, job.train, job.seed)
    HardNegatives(found)
    return found


@pytest.mark.parametrize("batches", [{}, {"shuffle": "windowed", "window": 9}], ids=["global", "windowed"])
@pytest.mark.parametrize("views", [{}, {"count": 2, "loss": "mean"}, {"count": 2, "loss": "multi-positive"}])
def test_a_batch_brings_means_and_groups_and_is_otherwise_the_same(
    root: Path, views: dict[str, Any], batches: dict[str, Any]
) -> None:
    masked, plain = (data_of(root, margin, accumulate=2, views=views, batches=batches) for margin in (0.1, 0.0))
    stored = open_embeddings(str(root / "embed"), "train")
    for step in (0, 4):
        parts: list[Batch] = [masked.batch(step, rank, 3) for rank in range(3)]
        _, chosen = masked.indices(step)
        for rank, part in enumerate(parts):
            other = plain.batch(step, rank, 3)
            np.testing.assert_array_equal(part.image, other.image)
            np.testing.assert_array_equal(part.points, other.points)
            assert part.keys == other.keys
            assert other.means.size == 0
        keys = parts[0].keys
        assert sorted(keys) == sorted(masked.keys.some(chosen))
        assert parts[0].groups is not None
        for number in set(parts[0].groups.tolist()):  # groups follow their objects wherever these are dealt to
            own = sorted(key for key, group in zip(keys, parts[0].groups, strict=True) if group == number)
            assert own == sorted(masked.keys.some(chosen[number * 3 : number * 3 + 3]))
        means = np.concatenate([part.means for part in parts])
        rows = stored.views([list(stored.keys).index(key) for key in keys]).astype(np.float64)
        rows = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).mean(1)
        np.testing.assert_allclose(means, rows / np.linalg.norm(rows, axis=-1, keepdims=True), atol=1e-6)


def test_it_is_recorded_what_was_masked_and_random_batches_mask_nothing(root: Path) -> None:
    def losses(run: str, margin: float, stop_at: int = 0) -> dict[str, list[float]]:
        batches = {**WITH, "every": 1, "falseNegatives": margin}  # searched for before the fourth step
        job = synthetic.job(root, run, "avg", batches=batches, steps=6)
        if stop_at:
            asked = iter(range(1, 100))
            with pytest.raises(Interrupted):
                loop.train(job, lambda: next(asked) >= stop_at)
        loop.train(job)
        found: dict[str, list[float]] = json.loads((root / run / "history.json").read_text())
        return found

    plain, masked, again = losses("plain", 0.0), losses("masked", 0.3), losses("stopped", 0.3, stop_at=4)
    assert "false_negatives" not in plain
    assert masked["false_negatives"][:3] == [0, 0, 0]
    assert min(masked["false_negatives"][3:]) > 0
    assert masked["loss"][:3] == plain["loss"][:3]
    assert masked["loss"][3] < plain["loss"][3]
    assert {name: masked[name] for name in masked if name not in ("seconds", "run")} == {
        name: again[name] for name in again if name not in ("seconds", "run")
    }
