"""Real torchrun rounds: results, causes, interruption and lost ranks."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from captionless.errors import DataError, Interrupted, Retryable, SpecError
from captionless.runtime.processes import is_alive
from captionless.store import writers
from captionless.trainer import checkpoint, loop, model_file
from captionless.trainer.elastic import supervisor
from captionless.trainer.elastic.rendezvous import News
from captionless.trainer.training_job import TrainingJob
from tests import pace
from tests.trainer import synthetic
from tests.trainer.elastic.processes import ranks, start


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("supervise")
    synthetic.write(path, train=24)
    supervisor.run(long(path, "undisturbed"), 2, path / "undisturbed.log")
    return path


def long(root: Path, run: str) -> TrainingJob:
    encoder = {"width": 4, "nsample": 4, "radius": 0.4, "dropout": 0.3}
    return synthetic.job(root, run, steps=100, checkpoint_every=5, encoder=encoder)


def checkpoints(job: TrainingJob) -> set[str]:
    return {path.name for path in Path(job.run).glob("checkpoints/step-*")}


def wait_for_new_checkpoint(job: TrainingJob, before: set[str]) -> None:
    pace.wait_for("a newer checkpoint", lambda: not checkpoints(job) <= before, 120, every=0.02)


def after(steps: int) -> Callable[[], bool]:
    asked = iter(range(1, 1000))
    return lambda: next(asked) >= steps


def test_two_ranks_train_what_one_process_trains(root: Path) -> None:
    """Until rounding has grown through Adam's division; the exact comparison is in test_distributed."""
    job = long(root, "one")
    with pytest.raises(Interrupted):
        loop.train(job, after(2))
    state = checkpoint.newest(job.run, loop.TrainingRun(job).fingerprint)
    two = json.loads((root / "undisturbed" / "history.json").read_text())
    assert two["loss"][:2] == pytest.approx(state["history"]["loss"], rel=1e-3)
    assert model_file.load_model(str(root / "undisturbed"))[1]["provenance"]["processes"] == 2


@pytest.mark.soak
def test_a_run_disturbed_in_every_way_ends_as_the_undisturbed_one(root: Path) -> None:
    job, log = long(root, "disturbed"), root / "disturbed.log"

    process, before = start(job, 2, log), checkpoints(job)  # SIGTERM: both ranks stop at the same step
    wait_for_new_checkpoint(job, before)
    process.send_signal(signal.SIGTERM)
    said, _ = pace.communicate(process, 120)
    assert process.returncode == 75
    assert b"train i2i seed 0" in said
    assert not ranks(job)

    def kill_a_rank(before: set[str]) -> None:
        wait_for_new_checkpoint(job, before)
        os.kill(ranks(job)[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill_a_rank, args=(checkpoints(job),))
    killer.start()  # a lost rank ends the round, as a failure that may pass
    with pytest.raises(Retryable, match="train i2i seed 0"):
        supervisor.run(job, 2, log)
    killer.join()

    process, before = start(job, 2, log), checkpoints(job)  # a killed supervisor takes its ranks with it
    wait_for_new_checkpoint(job, before)
    workers = ranks(job)
    assert len(workers) == 2
    process.kill()
    process.wait()
    pace.wait_for("the killed supervisor's ranks to end", lambda: not any(is_alive(worker) for worker in workers), 60)
    assert not (root / "disturbed" / "model.pt").exists()

    supervisor.run(job, 2, log)
    (whole, _), (again, _) = (model_file.load_model(str(root / name)) for name in ("undisturbed", "disturbed"))
    for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    histories = [json.loads((root / name / "history.json").read_text()) for name in ("undisturbed", "disturbed")]
    assert all(history.pop("seconds") > 0 for history in histories)
    assert histories[0] == histories[1]


def test_a_frozen_training_that_is_replaced_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ranks, which nobody has frozen, find out when they store a checkpoint; its supervisor when it wakes."""
    synthetic.write(tmp_path, train=24)
    job = synthetic.job(tmp_path, steps=1_000_000, checkpoint_every=5)
    process = start(job, 1, tmp_path / "log")
    wait_for_new_checkpoint(job, set())
    with pytest.raises(Retryable, match=f"process {process.pid},"), writers.writer(job.run, settings="another"):
        pass
    process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(writers, "LIMIT_SECONDS", 1.0)
    with writers.writer(job.run, settings="another") as lease:
        pace.wait_for("the replaced training's ranks to end", lambda: not ranks(job), 60)
        stored = checkpoints(job)
        process.send_signal(signal.SIGCONT)
        said, _ = pace.communicate(process, 120)
        assert process.returncode == Retryable.exit_code
        assert job.run.encode() in said
        lease.check()
    assert checkpoints(job) == stored


def test_causes_become_errors_of_one_line(root: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(SpecError, match=r"train\.points: 9999"):
        supervisor.run(synthetic.job(root, "points", points=9999), 2, log)
    synthetic.write(tmp_path, train=8)
    tar = tmp_path / "embed" / "train" / "00000.tar"
    tar.write_bytes(tar.read_bytes()[:1000])
    with pytest.raises(DataError, match="truncated") as caught:
        supervisor.run(synthetic.job(tmp_path), 1, log)
    assert "\n" not in str(caught.value)
    assert "SpecError" not in log.read_text()  # expected errors leave no traceback in the log either


class _Rehearsed:
    """A round whose checkpoints are stored as `saved` says, one look after the other."""

    def __init__(self, saved: list[int]) -> None:
        self._saved, self.looks, self.stopped_at = saved, 0, -1

    @property
    def running(self) -> bool:
        self.looks += 1
        return self.stopped_at < 0 and self.looks <= len(self._saved)

    @property
    def saved_step(self) -> int:
        return self._saved[self.looks - 1]

    def stop(self) -> None:
        self.stopped_at = self.looks

    def check(self) -> None:
        pass


class _Told:
    """A rendezvous that has news at one look."""

    def __init__(self, at: int) -> None:
        self._left = at

    def news(self) -> News:
        self._left -= 1
        return News(regroup=self._left == 0)


@pytest.mark.parametrize(
    ("saved", "told", "stopped"),
    [
        ([-1, -1, -1, 5, 5], 2, 4),  # before the first checkpoint there is nothing to go on from
        ([5, 5, 5, 5, 10, 10], 2, 5),  # a checkpoint from before does not count
        ([5, 5, 5, 5], 2, -1),  # the training ends before the next one
        ([5, 10, 15], 9, -1),
    ],
)
def test_a_returning_node_is_let_in_after_the_next_checkpoint(
    monkeypatch: pytest.MonkeyPatch, saved: list[int], told: int, stopped: int
) -> None:
    monkeypatch.setattr(supervisor, "_POLL", 0)
    current = _Rehearsed(saved)
    lost = supervisor._await(current, lambda: False, None, rendezvous=_Told(told))  # type: ignore[arg-type]
    assert (current.stopped_at, lost) == (stopped, "")
