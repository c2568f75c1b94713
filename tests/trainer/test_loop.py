import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from captionless.errors import Interrupted, LossNotFinite, SpecError
from captionless.runtime import env
from captionless.store.embeddings import open_embeddings
from captionless.telemetry import catalog, progress, registry
from captionless.trainer import loop, model_file
from captionless.trainer.device import select_device
from captionless.trainer.infer import encode_points
from captionless.trainer.torch_documents import decode
from captionless.trainer.training_job import TrainingJob
from tests.store.web import serving
from tests.trainer import synthetic


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("loop")
    synthetic.write(path, train=24)
    return path


def outcome(root: Path, run: str) -> tuple[dict, dict]:
    """Final weights and history, the time it took apart."""
    model, meta = model_file.load_model(str(root / run))
    history = json.loads((root / run / "history.json").read_text())
    assert history.pop("seconds") > 0
    return {**model.state_dict(), "log_scale": torch.tensor(meta["log_scale"])}, history


def after(steps: int) -> Callable[[], bool]:
    asked = iter(range(1, 1000))
    return lambda: next(asked) >= steps


@pytest.mark.parametrize("weights", ["uniform", "avg"])
def test_a_run_stopped_at_any_step_ends_as_the_undisturbed_one(root: Path, weights: str) -> None:
    loop.train(synthetic.job(root, f"{weights}-whole", weights))
    state, history = outcome(root, f"{weights}-whole")
    assert [len(history[name]) for name in ("loss", "scale", "lr", "grad_norm", "weight_entropy")] == [6] * 5
    assert history["step"] == list(range(6))
    for stops in ([1], [5], [1, 2, 1]):
        job = synthetic.job(root, f"{weights}-{stops}", weights)
        for steps in stops:
            with pytest.raises(Interrupted):
                loop.train(job, after(steps))
        loop.train(job)
        again, its_history = outcome(root, f"{weights}-{stops}")
        assert all(torch.equal(state[key], again[key]) for key in state)
        assert its_history == history


EVERYTHING = {
    "loss": "hcl",
    "optim": {"name": "adam", "lr": 5e-3, "clip_grad": 1.0, "groups": [{"match": "head", "lr_factor": 0.5}]},
    "ema": 0.9,
    "views": {"count": 2, "loss": "mean"},
    "freeze": ["stages.1"],
    "batches": {"kind": "neighbours", "group": 4, "candidates": 6, "every": 1},
    "accumulate": 2,
    "validation": {"share": 0.25, "every": 2},
}


def test_what_is_found_on_the_way_is_kept_over_a_stop(root: Path) -> None:
    """Neighbours, micro-batches, averages, the best weights: stopped between two searches and two validations."""
    loop.train(synthetic.job(root, "everything", "avg", **EVERYTHING))
    state, history = outcome(root, "everything")
    assert history["validation"]["step"] == [2, 4, 6]
    for stops in ([1], [3], [1, 2, 2]):
        job = synthetic.job(root, f"everything-{stops}", "avg", **EVERYTHING)
        for steps in stops:
            with pytest.raises(Interrupted):
                loop.train(job, after(steps))
        loop.train(job)
        again, its_history = outcome(root, f"everything-{stops}")
        assert all(torch.equal(state[key], again[key]) for key in state)
        assert its_history == history


@pytest.mark.parametrize("share", [0.0, 0.25], ids=["last", "best"])
def test_the_average_of_the_weights_is_scored_and_stored(root: Path, share: float) -> None:
    """Beside its definition in float64, on the weights after each step of the same run without it."""
    kept = {"validation": {"share": share, "every": 2}, "checkpoint_every": 1, "keep_checkpoints": 9}
    loop.train(synthetic.job(root, f"raw-{share}", **kept))
    loop.train(synthetic.job(root, f"average-{share}", ema=0.6, **kept))
    model, meta = model_file.load_model(str(root / f"average-{share}"))
    start = loop.TrainingRun(synthetic.job(root, "x"))
    average = {name: value.double() for name, value in start.encoder.state_dict().items()}
    files = sorted((root / f"raw-{share}" / "checkpoints").glob("step-*"))
    assert len(files) == 6
    for step, file in enumerate(files[: meta["step"]], 1):
        d = min(0.6, (1 + step) / (10 + step))
        for name, value in decode(file.read_bytes())["encoder"].items():
            average[name] = d * average[name] + (1 - d) * value.double()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), average[name], rtol=1e-5, atol=1e-6)
    (_, history), (_, without) = (outcome(root, f"{name}-{share}") for name in ("average", "raw"))
    assert history["loss"] == without["loss"]
    if share:
        assert history["validation"] != without["validation"]


def test_a_run_whose_views_are_positives_by_themselves_can_be_stopped(root: Path) -> None:
    several = {"steps": 3, "accumulate": 2, "views": {"count": 3, "loss": "multi-positive"}}
    loop.train(synthetic.job(root, "positives", "avg", **several))
    job = synthetic.job(root, "positives-stopped", "avg", **several)
    with pytest.raises(Interrupted):
        loop.train(job, after(2))
    loop.train(job)
    (state, history), (again, its_history) = outcome(root, "positives"), outcome(root, "positives-stopped")
    assert all(torch.equal(state[key], again[key]) for key in state)
    assert its_history == history
    loop.train(synthetic.job(root, "one", "avg", steps=3, accumulate=2))
    assert outcome(root, "one")[1]["loss"] != history["loss"]


def test_what_is_frozen_stays_with_its_statistics(root: Path) -> None:
    job = synthetic.job(root, "frozen", freeze=["stem", "stages.[01]", "log_scale"])
    start = {name: value.clone() for name, value in loop.TrainingRun(job).encoder.state_dict().items()}
    loop.train(job)
    state, history = outcome(root, "frozen")
    assert len(set(history["scale"])) == 1
    kept = {name for name in start if torch.equal(start[name], state[name])}
    assert kept == {name for name in start if name.startswith(("stem.", "stages.0.", "stages.1."))}


def test_a_run_begins_with_the_weights_of_another(root: Path) -> None:
    loop.train(synthetic.job(root, "first", steps=2))
    model, _ = model_file.load_model(str(root / "first"))
    job = synthetic.job(root, "second", init=str(root / "first"))
    run = loop.TrainingRun(job)
    assert all(torch.equal(a, b) for a, b in zip(run.encoder.parameters(), model.parameters(), strict=True))
    before = job.fingerprint("data")
    loop.train(synthetic.job(root, "first", steps=3))  # another model under the same URL
    assert job.fingerprint("data") != before


def test_a_run_goes_on_from_the_learned_scale_of_another_unless_it_is_reset(root: Path) -> None:
    loop.train(synthetic.job(root, "first", steps=3, temperature=0.02))
    learned = model_file.load_model(str(root / "first"))[1]["log_scale"]
    inherits = loop.TrainingRun(synthetic.job(root, "x", init=str(root / "first")))
    assert float(inherits.log_scale.detach()) == learned != pytest.approx(-math.log(0.02), abs=1e-6)
    reset = {"init": str(root / "first"), "reset_temperature": True, "temperature": 0.5}
    assert float(loop.TrainingRun(synthetic.job(root, "x", **reset)).log_scale.detach()) == pytest.approx(math.log(2))


def test_a_model_without_a_learned_scale_is_refused_unless_it_is_reset(root: Path) -> None:
    loop.train(synthetic.job(root, "first", steps=1))
    model, about = model_file.load_model(str(root / "first"))
    url = str(root / "bare" / "model.pt")
    model_file.save_model(url, model, about["encoder"]["name"], about["encoder"]["options"], {})
    with pytest.raises(SpecError, match=r"bare.*no learned temperature.*train\.resetTemperature"):
        loop.TrainingRun(synthetic.job(root, "x", init=url))
    loop.TrainingRun(synthetic.job(root, "x", init=url, reset_temperature=True))


@pytest.mark.parametrize("temperature", [0.01, 1.0])
def test_the_first_step_is_within_the_bounds_of_the_scale(root: Path, temperature: float) -> None:
    run = loop.TrainingRun(synthetic.job(root, "x", temperature=temperature))
    assert 0 <= float(run.log_scale.detach()) <= math.log(100) + 1e-6
    with run.feed:
        run.step()
    assert run.history["scale"][0] == pytest.approx(1 / temperature)


def test_what_signs_urls_is_neither_stored_nor_told_apart(root: Path) -> None:
    loop.train(synthetic.job(root, "first"))
    jobs = []
    with serving(root) as address:
        for secret in ("5ecre7", "anew"):
            job = synthetic.job(root, "second", init=f"{address}/first/model.pt?X-Amz-Signature={secret}")
            clip = {**job.clip, "pretrained": f"https://ann:{secret}@host/weights.pt?X-Amz-Signature={secret}"}
            jobs.append(TrainingJob.model_validate({**job.model_dump(), "clip": clip}))
        assert jobs[0].fingerprint("data") == jobs[1].fingerprint("data")
        loop.train(jobs[0])
    assert not any(b"5ecre7" in path.read_bytes() for path in (root / "second").rglob("*") if path.is_file())


def test_a_batch_that_is_too_small_for_its_micro_batches_is_reported(root: Path) -> None:
    with pytest.raises(SpecError, match=r"batch of 8 .*1 processes.*train\.accumulate"):
        loop.TrainingRun(synthetic.job(root, "x", accumulate=9))


def test_a_killed_run_goes_on_from_its_last_checkpoint(root: Path) -> None:
    job = synthetic.job(root, "killed")

    def die() -> bool:
        raise KeyboardInterrupt

    loop.train(synthetic.job(root, "whole"))
    with pytest.raises(KeyboardInterrupt):
        loop.train(job, lambda: len(list((root / "killed").glob("checkpoints/*4-*"))) > 0 and die())
    assert not (root / "killed" / "model.pt").exists()
    loop.train(job)
    state, history = outcome(root, "whole")
    again, its_history = outcome(root, "killed")
    assert all(torch.equal(state[key], again[key]) for key in state)
    assert its_history == history


def test_the_curve_can_be_read_before_the_end(root: Path) -> None:
    loop.train(synthetic.job(root, "curve-whole"))
    job = synthetic.job(root, "curve")
    with pytest.raises(Interrupted):
        loop.train(job, after(5))

    def told() -> list[dict]:
        files = sorted((root / "curve" / "checkpoints").glob("curve-*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    _, history = outcome(root, "curve-whole")
    assert [row.pop("step") for row in told()] == [0, 1, 2, 3, 4]
    assert [row["loss"] for row in told()] == history["loss"][:5]
    assert set(told()[0]) == {"step", "loss", "scale", "lr", "grad_norm", "weight_entropy"}
    newest = sorted((root / "curve" / "checkpoints").glob("step-*"))[-1]
    newest.unlink()  # as if it had been killed before it was stored: goes on from step 4, and tells it once
    with pytest.raises(Interrupted):
        loop.train(job, after(1))
    assert [row["step"] for row in told()] == [0, 1, 2, 3, 4]
    loop.train(job)
    assert told() == []
    assert outcome(root, "curve")[1] == history


def test_a_finished_run_is_left_and_other_settings_begin_anew(root: Path) -> None:
    job = synthetic.job(root, "twice")
    loop.train(job)
    before = {p: p.stat().st_mtime_ns for p in (root / "twice").rglob("*") if p.is_file()}
    loop.train(job)
    assert {p: p.stat().st_mtime_ns for p in (root / "twice").rglob("*") if p.is_file()} == before
    loop.train(synthetic.job(root, "twice", points=16))
    assert model_file.load_model(str(root / "twice"))[1]["points"] == 16
    loop.train(synthetic.job(root, "fresh", points=16))
    assert outcome(root, "twice")[1] == outcome(root, "fresh")[1]


def test_seeds_and_weights_matter_and_data_order_is_paired(root: Path) -> None:
    losses = {}
    for weights, seed in (("uniform", 0), ("i2i", 0), ("i2i", 1)):
        loop.train(synthetic.job(root, f"{weights}{seed}", weights, seed, steps=2))
        losses[weights, seed] = outcome(root, f"{weights}{seed}")[1]["loss"]
    assert losses["i2i", 0] != losses["i2i", 1] != losses["uniform", 0]
    uniform, weighted = (loop.TrainingRun(synthetic.job(root, "x", w)) for w in ("uniform", "i2i"))
    np.testing.assert_array_equal(uniform.data.batch(1).points, weighted.data.batch(1).points)
    assert all(torch.equal(a, b) for a, b in zip(uniform.parameters, weighted.parameters, strict=True))


def test_it_learns_to_find_an_objects_own_image(tmp_path: Path) -> None:
    """Retrieval among held-out boxes, well above chance: a wrong gradient anywhere leaves it at chance."""
    synthetic.write(tmp_path, train=120, test=32)
    augment = {
        "dropout": 0.0,
        "rotate_up": False,
        "shift": 0.0,
        "scale_low": 1.0,
        "scale_high": 1.0,
        "perturb_sigma": 0.0,
        "jitter_sigma": 0.0,
    }
    encoder = {"width": 8, "nsample": 8, "radius": 0.4, "dropout": 0.0}
    job = synthetic.job(
        tmp_path,
        steps=120,
        batch_size=32,
        points=64,
        checkpoint_every=1000,
        encoder=encoder,
        augment=augment,
        optim={"lr": 1e-2, "warmup": 0.1},
    )
    loop.train(job)
    history = outcome(tmp_path, "run")[1]
    assert np.mean(history["loss"][-10:]) < 0.6 * np.mean(history["loss"][:5])
    model, meta = model_file.load_model(str(tmp_path / "run"))
    test = open_embeddings(str(tmp_path / "embed"), "test")
    everything = range(len(test))
    shape = encode_points(model, test.points(everything), meta["points"])
    image = test.views(everything).mean(1)
    rank = ((image @ shape.T) > np.sum(image * shape, axis=1, keepdims=True)).sum(1)
    assert np.median(rank) <= 8  # chance: 15.5 of 32


def measures_of(path: Path) -> dict[str, float]:
    """What the progress file has of a training's measures, those with labels apart."""
    state = progress.read(str(path))
    assert state is not None
    return {name: value for name, labels, value in state.measures if not labels}


def test_a_diverging_run_is_reported(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loss as well, for Prometheus, before it ends."""
    monkeypatch.setenv(env.PROGRESS, str(tmp_path / "progress"))
    with pytest.raises(LossNotFinite, match=r"train\.optim\.lr"):
        loop.train(synthetic.job(root, "nan", optim={"lr": 1e30, "warmup": 0.0}))
    found = measures_of(tmp_path / "progress")
    assert not math.isfinite(found["captionless_train_loss"]) or not math.isfinite(
        found["captionless_train_gradient_norm"]
    )


def test_what_is_measured_is_reported(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every metric of a training, of the values that the history has."""
    path = tmp_path / "progress"
    monkeypatch.setenv(env.PROGRESS, str(path))
    registry.reset()
    began = time.time()
    job = synthetic.job(root, "measured", "avg", validation={"share": 0.25, "every": 2})
    loop.train(job)
    found, (_, history) = measures_of(path), outcome(root, "measured")
    of_the_history = {
        "loss": "loss", "scale": "logit_scale", "lr": "learning_rate", "grad_norm": "gradient_norm",
        "weight_entropy": "weight_entropy_ratio",
    }  # fmt: skip
    for name, metric in of_the_history.items():
        assert found[f"captionless_train_{metric}"] == history[name][-1]
    assert (
        found["captionless_train_validation_reciprocal_rank_ratio"] == history["validation"]["mean_reciprocal_rank"][-1]
    )
    assert found["captionless_train_steps_total"] == 6
    took = found["captionless_train_step_seconds_total"] + found["captionless_train_batch_wait_seconds_total"]
    assert 0 < took < time.time() - began
    assert 0 <= found["captionless_train_batches_ready"] <= 3
    assert began < found["captionless_train_checkpoint_last_success_timestamp_seconds"] < time.time()
    assert 0 < found["captionless_train_checkpoint_duration_seconds"] < time.time() - began
    assert found["captionless_stage_read_bytes_total"] > 24 * synthetic.VIEWS * synthetic.FEATURES * 2
    of_a_training = {metric.name for metric in catalog.exported_by(catalog.Exporter.training)}
    state = progress.read(str(path))
    assert state is not None
    held = {tuple(labels) for name, labels, _ in state.measures if name == catalog.TRAIN_DATA_MEMORY.name}
    assert held == {("objects",), ("table",), ("validation",), ("similarity",)}
    rest = of_a_training - set(found) - {catalog.TRAIN_DATA_MEMORY.name}
    # of several nodes only, and of batches that hide false negatives
    assert rest == {"captionless_train_round", catalog.TRAIN_FALSE_NEGATIVES.name}


def test_no_gpu_is_reported(root: Path) -> None:
    if torch.cuda.is_available():
        assert select_device("auto").type == "cuda"
    else:
        assert select_device("auto").type == "cpu"
        with pytest.raises(SpecError, match=r"resources\.device"):
            select_device("cuda")
