"""Training of classifiers: stopped runs end alike, a probe leaves its encoder alone, validation chooses."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from captionless.errors import DataError, Interrupted, SpecError
from captionless.precompute.pointcloud import ordered
from captionless.spec.classification import ClassifySpec
from captionless.trainer import classifier_training, encoders, model_file
from captionless.trainer.classifier import Classifier, load_classifier, logits, save_classifier
from captionless.trainer.classifier_job import ClassifierJob
from captionless.trainer.data.batches import EpochOrder
from captionless.trainer.data.labelled_clouds import Labelled
from captionless.trainer.data.splits import held_out
from captionless.trainer.infer import embed_points
from tests import clouds

SETTINGS: dict[str, Any] = {
    "steps": 9, "batch_size": 8, "points": 32, "validate_every": 4,
    "encoder": {"width": 4, "nsample": 4, "radius": 0.4, "dropout": 0.3},
    "optim": {"lr": 5e-3, "warmup": 0.1},
}  # fmt: skip


@pytest.fixture(scope="module")
def splits() -> tuple[Labelled, Labelled]:
    given = clouds.fields(per_class=10)
    stored = np.stack([ordered(points, np.zeros((64, 3), np.uint8))[:, :3] for points in given["points"]])
    everything = Labelled([f"o{i:02d}" for i in range(30)], stored, given["labels"])
    chosen = held_out(everything.keys, everything.labels.tolist(), 0.2, 0)
    return everything.rows(~chosen), everything.rows(chosen)


def job(folder: Path, **settings: Any) -> ClassifierJob:
    spec = ClassifySpec.model_validate({**SETTINGS, **settings})
    return ClassifierJob(str(folder), "classify test", spec, clouds.CLASSES, "data")


def outcome(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The stored weights, and the history without its times."""
    model, _ = load_classifier(str(folder))
    history = json.loads((folder / "history.json").read_text())
    assert history.pop("seconds")["cpu"] > 0
    return model.state_dict(), history


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def after(steps: int) -> Callable[[], bool]:
    asked = itertools.count(1)
    return lambda: next(asked) >= steps


@pytest.mark.parametrize("frozen", [False, True])
def test_a_training_stopped_at_any_step_ends_as_the_undisturbed_one(
    tmp_path: Path, splits: tuple[Labelled, Labelled], frozen: bool
) -> None:
    classifier_training.train(job(tmp_path / "whole", frozen=frozen), *splits)
    state, history = outcome(tmp_path / "whole")
    assert [len(history[name]) for name in ("loss", "accuracy", "lr", "grad_norm")] == [9] * 4
    assert [v["step"] for v in history["validation"]] == [4, 8, 9]
    for stops in ([1], [4], [3, 2, 1]):
        mine = job(tmp_path / f"{stops}", frozen=frozen)
        for steps in stops:
            with pytest.raises(Interrupted):
                classifier_training.train(mine, *splits, after(steps))
        assert not (tmp_path / f"{stops}" / "model.pt").exists()
        classifier_training.train(mine, *splits)
        again, its_history = outcome(tmp_path / f"{stops}")
        assert equal(state, again)
        assert its_history == history
        assert (tmp_path / f"{stops}" / "model.pt").read_bytes() == (tmp_path / "whole" / "model.pt").read_bytes()


def test_a_killed_training_goes_on_and_a_finished_one_is_left(
    tmp_path: Path, splits: tuple[Labelled, Labelled]
) -> None:
    mine = job(tmp_path / "killed")

    def die() -> bool:
        if list((tmp_path / "killed").glob("checkpoints/*4-*")):
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        classifier_training.train(mine, *splits, die)
    classifier_training.train(mine, *splits)
    classifier_training.train(job(tmp_path / "whole"), *splits)
    assert equal(outcome(tmp_path / "killed")[0], outcome(tmp_path / "whole")[0])
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "whole").rglob("*")}
    classifier_training.train(job(tmp_path / "whole"), *splits)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "whole").rglob("*")} == before
    classifier_training.train(job(tmp_path / "whole", seed=1), *splits)
    assert not equal(outcome(tmp_path / "killed")[0], outcome(tmp_path / "whole")[0])


def test_a_probe_trains_the_head_alone_on_embeddings_made_once(
    tmp_path: Path, splits: tuple[Labelled, Labelled], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    options = {"width": 4, "nsample": 4, "radius": 0.4, "embed_dim": 16}
    encoder = encoders.build("pointnext-s", **options)
    for _ in range(20):  # running statistics that a pass in training mode would change
        encoder.train()(torch.randn(8, 32, 3))
    model_file.save_model(str(tmp_path / "encoder.pt"), encoder, "pointnext-s", options, {"points": 32})
    embedded = []
    real = embed_points
    monkeypatch.setattr(classifier_training, "embed_points", lambda *args: embedded.append(len(args[1])) or real(*args))
    optim = {"lr": 0.05, "warmup": 0.1}
    probe = job(tmp_path / "probe", frozen=True, init=str(tmp_path / "encoder.pt"), steps=60, optim=optim)
    run = classifier_training.ClassifierTraining(probe, *splits)
    trained = run.learner.validated()
    run.learner.fold()
    # Folded, the head gives for embeddings as they are what it gave for standardised ones.
    np.testing.assert_allclose(logits(run.classifier, splits[1].clouds, 32), trained, rtol=1e-4, atol=1e-4)
    embedded.clear()
    classifier_training.train(probe, *splits)
    assert sum(embedded) == len(splits[0]) + len(splits[1])
    model, _ = load_classifier(str(tmp_path / "probe"))
    assert equal(model.encoder.state_dict(), encoder.state_dict())
    found = logits(model, splits[1].clouds, 32).argmax(axis=1)
    assert (found == splits[1].labels).mean() > 0.8  # chance: 1/3
    classifier_training.train(job(tmp_path / "all", init=str(tmp_path / "encoder.pt"), steps=2), *splits)
    tuned, _ = load_classifier(str(tmp_path / "all"))
    assert not equal(tuned.encoder.state_dict(), encoder.state_dict())


def test_it_learns_to_tell_rods_from_plates_from_cubes(tmp_path: Path, splits: tuple[Labelled, Labelled]) -> None:
    encoder = {"width": 8, "nsample": 8, "radius": 0.4, "dropout": 0.0}
    mine = job(tmp_path, steps=60, points=64, encoder=encoder, optim={"lr": 1e-2, "warmup": 0.1})
    classifier_training.train(mine, *splits)
    model, _ = load_classifier(str(tmp_path))
    assert (logits(model, splits[1].clouds, 64).argmax(axis=1) == splits[1].labels).mean() == 1


def test_the_weights_that_validate_best_are_the_result(
    tmp_path: Path, splits: tuple[Labelled, Labelled], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = classifier_training.ClassifierTraining(job(tmp_path), *splits)
    right, wrong = np.eye(3)[splits[1].labels], np.eye(3)[(splits[1].labels + 1) % 3]
    half = np.where(np.arange(len(right))[:, None] % 2 == 0, right, wrong)
    states = []
    for scores in (half, right, right, wrong):
        run.step()
        monkeypatch.setattr(run.learner, "validated", lambda scores=scores: scores)
        run.validate()
        states.append({key: value.clone() for key, value in run.module.state_dict().items()})
    assert [v["accuracy"] for v in run.validations] == [0.5, 1.0, 1.0, 0.0]
    run.finish()
    model, meta = load_classifier(str(tmp_path))
    assert equal(model.state_dict(), states[1])  # the first of equals
    assert meta["best"] == {"step": 2, "accuracy": 1.0}


def test_a_diverging_training_is_reported(tmp_path: Path, splits: tuple[Labelled, Labelled]) -> None:
    with pytest.raises(SpecError, match=r"classify\.optim\.lr"):
        classifier_training.train(job(tmp_path, optim={"lr": 1e30, "warmup": 0.0}), *splits)


def test_validation_is_stratified_seeded_and_apart() -> None:
    labels = np.repeat([0, 1, 2, 3], [40, 20, 2, 1])
    keys = [f"k{i:02d}" for i in range(63)]
    chosen = held_out(keys, labels.tolist(), 0.1, 0)
    assert np.bincount(labels[chosen], minlength=4).tolist() == [4, 2, 1, 0]
    assert np.array_equal(chosen, held_out(keys, labels.tolist(), 0.1, 0))
    assert not np.array_equal(chosen, held_out(keys, labels.tolist(), 0.1, 1))
    order = np.random.default_rng(0).permutation(63)
    shuffled = held_out([keys[i] for i in order], labels[order].tolist(), 0.1, 0)
    assert {keys[i] for i in order[shuffled]} == {keys[i] for i in np.flatnonzero(chosen)}
    everything = Labelled(keys, np.zeros((63, 4, 3), np.float16), labels)
    training, validation = everything.rows(~chosen), everything.rows(chosen)
    assert not set(training.keys) & set(validation.keys)
    assert sorted([*training.keys, *validation.keys]) == keys
    most = held_out(keys, labels.tolist(), 0.99, 0)
    assert np.bincount(most + 2 * labels).tolist()[::2] == [1, 1, 1, 1]  # each class trains


def test_batches_are_permutations_without_the_incomplete_last() -> None:
    order = EpochOrder(26, 0)
    epochs = [np.concatenate([order.batch(3 * e + i, 8)[1] for i in range(3)]) for e in range(2)]
    assert all(len(set(epoch.tolist())) == 24 for epoch in epochs)
    assert not np.array_equal(*epochs)
    assert [order.batch(step, 8)[0] for step in range(6)] == [0, 0, 0, 1, 1, 1]


def test_a_file_without_a_classifier_is_reported(tmp_path: Path) -> None:
    url = str(tmp_path / "model.pt")
    options = {"width": 4, "nsample": 4, "embed_dim": 8}
    encoder = encoders.build("pointnext-s", **options)
    model_file.save_model(url, encoder, "pointnext-s", options, {"points": 32})
    with pytest.raises(DataError, match=r"model\.pt.*head"):
        load_classifier(url)
    save_classifier(url, Classifier(encoder, ["a", "b"]), "pointnext-s", options, {"points": 32})
    model_file.load_model(url)  # whatever reads an encoder reads a classifier's
    document = torch.load(url, weights_only=True)
    torch.save({**document, "classes": ["a", "b", "c"]}, url)
    with pytest.raises(DataError, match=r"model\.pt.*head.*3 classes"):
        load_classifier(url)
    document["head"]["bias"][1] = float("inf")
    torch.save(document, url)
    with pytest.raises(DataError, match=r"model\.pt: head\.bias"):
        load_classifier(url)
