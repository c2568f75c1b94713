"""Damaged objects: they end a training, or are left out of their batches, named and counted, on every rank alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from captionless.errors import DataError, Interrupted
from captionless.store.shards import ShardReader
from captionless.telemetry import catalog, registry
from captionless.trainer import loop, model_file
from captionless.trainer.data.training_data import TrainingData
from captionless.trainer.elastic import supervisor
from captionless.trainer.training_job import TrainingJob
from tests.trainer import synthetic

OBJECTS = 24
ENCODER = {"width": 4, "nsample": 4, "radius": 0.4, "dropout": 0.3}


def prepare(root: Path, damaged: Sequence[int]) -> list[str]:
    """A data set of which some objects' points have a flipped bit; their keys."""
    synthetic.write(root, train=OBJECTS, shards=2)
    shards = {path: ShardReader(str(path)).index for path in (root / "embed" / "train").glob("*.tar")}
    keys = sorted(key for index in shards.values() for key in index)
    for key in (keys[i] for i in damaged):
        path = next(path for path, index in shards.items() if key in index)
        offset, size = shards[path][key]["points.npy"]
        raw = bytearray(path.read_bytes())
        raw[offset + size - 1] ^= 1
        path.write_bytes(raw)
    return [keys[i] for i in damaged]


def job(root: Path, run: str, **train: object) -> TrainingJob:
    return synthetic.job(root, run, **{"steps": 9, "encoder": ENCODER, **train})


def outcome(job: TrainingJob) -> tuple[dict[str, torch.Tensor], dict[str, list[float]]]:
    """Weights, and history without the time it took."""
    model, meta = model_file.load_model(job.run)
    history = json.loads((Path(job.run) / "history.json").read_text())
    history.pop("seconds")
    assert meta["provenance"]["skipped"] == history["skipped"]
    return model.state_dict(), history


def test_a_damaged_object_ends_the_training_and_is_named(tmp_path: Path) -> None:
    (key,) = prepare(tmp_path, [5])
    with pytest.raises(DataError, match=rf"object '{key}'"):
        loop.train(job(tmp_path, "run"))


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_it_is_left_out_of_its_batches_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], memory: int
) -> None:
    (key,) = prepare(tmp_path / "damaged", [5])
    damaged = job(tmp_path / "damaged", "run", max_skipped=1).model_copy(update={"memory": memory})
    loop.train(damaged)
    said = capfd.readouterr().err
    assert said.count("train i2i seed 0: skipped: ") == 1
    assert repr(key) in said
    weights, history = outcome(damaged)
    assert history["skipped"] == [key]
    assert [m[1:] for m in registry.snapshot() if m[0] == catalog.STAGE_SKIPPED_OBJECTS.name] == [[["damaged"], 1]]

    synthetic.write(tmp_path / "whole", train=OBJECTS, shards=2)
    chosen = TrainingData._chosen

    def without(self: TrainingData, step: int) -> tuple[int, np.ndarray, None]:
        epoch, every, _ = chosen(self, step)
        return epoch, every[every != 5], None

    monkeypatch.setattr(TrainingData, "_chosen", without)
    whole = job(tmp_path / "whole", "run")
    loop.train(whole)
    expected, calm = outcome(whole)
    assert all(torch.equal(expected[name], weights[name]) for name in expected)
    assert calm.pop("skipped") == []
    assert history.pop("skipped") == [key]
    assert history == calm


def test_more_than_are_allowed_end_it(tmp_path: Path) -> None:
    keys = prepare(tmp_path, [2, 17])
    with pytest.raises(DataError, match=r"2 .*train\.maxSkipped.*1") as raised:
        loop.train(job(tmp_path, "run", max_skipped=1))
    assert all(key in str(raised.value) for key in keys)


def test_a_batch_of_which_too_little_is_left_ends_it(tmp_path: Path) -> None:
    prepare(tmp_path, [3])
    with pytest.raises(DataError, match=r"1 of .* 2 objects.*: c"):
        loop.train(job(tmp_path, "run", max_skipped=1, batch_size=2, steps=12))


def test_a_stopped_training_still_knows_what_it_left_out(tmp_path: Path) -> None:
    keys = prepare(tmp_path, [2, 17])
    whole, stopped = (job(tmp_path, name, max_skipped=2) for name in ("whole", "stopped"))
    loop.train(whole)
    weights, history = outcome(whole)
    assert sorted(history["skipped"]) == keys
    for steps in (4, 1):  # after the first epoch: all are found, and found again
        asked = iter(range(1, 100))
        with pytest.raises(Interrupted):
            loop.train(stopped, lambda asked=asked, steps=steps: next(asked) >= steps)
    loop.train(stopped)
    again, its_history = outcome(stopped)
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert its_history == history


@pytest.mark.parametrize("batch_size", [8, 3])  # of 3 the second rank has one, which is damaged when it is its turn
def test_two_ranks_leave_out_what_one_does(tmp_path: Path, batch_size: int) -> None:
    keys = prepare(tmp_path, [1, 2, 12])
    slow = {"optim": {"lr": 1e-6, "warmup": 0.0}}  # last bits differ, and must not grow
    one, two = (job(tmp_path, n, max_skipped=3, batch_size=batch_size, steps=8, **slow) for n in ("one", "two"))
    loop.train(one)
    supervisor.run(two, 2, tmp_path / "two.log")
    (_, history), (_, its_history) = outcome(one), outcome(two)
    assert sorted(history["skipped"]) == keys
    assert its_history["skipped"] == history["skipped"]
    np.testing.assert_allclose(its_history["loss"], history["loss"], rtol=1e-3)
    log = (tmp_path / "two.log").read_text()
    assert all(log.count(f"object {key!r}") == 1 for key in keys)


def test_two_ranks_end_with_the_cause(tmp_path: Path) -> None:
    keys = prepare(tmp_path, [1, 2])
    with pytest.raises(DataError, match="sha256"):
        supervisor.run(job(tmp_path, "none"), 2, tmp_path / "none.log")
    with pytest.raises(DataError, match=r"2 .*train\.maxSkipped.*1") as raised:
        supervisor.run(job(tmp_path, "one", max_skipped=1), 2, tmp_path / "one.log")
    assert all(key in str(raised.value) for key in keys)


def test_the_search_for_hard_negatives_passes_over_it(tmp_path: Path) -> None:
    (key,) = prepare(tmp_path, [5])
    neighbours = {"kind": "neighbours", "group": 2, "candidates": 4, "every": 1}
    streamed = job(tmp_path, "run", max_skipped=1, batches=neighbours).model_copy(update={"memory": 0})
    loop.train(streamed)
    assert outcome(streamed)[1]["skipped"] == [key]


def test_one_that_validates_ends_it(tmp_path: Path) -> None:
    synthetic.write(tmp_path / "whole", train=OBJECTS, shards=2)
    validation = {"share": 0.3, "every": 4}
    whole = job(tmp_path / "whole", "run", validation=validation)
    place = int(TrainingData(whole.data, whole.train, 0).validation[0])
    (key,) = prepare(tmp_path / "damaged", [place])
    with pytest.raises(DataError, match=rf"object '{key}'"):
        loop.train(job(tmp_path / "damaged", "run", max_skipped=1, validation=validation))
