"""A training of two ranks, one of which is killed at a random moment and started again: the same weights every time?"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.measure import table
from captionless.store import objects
from captionless.trainer import model_file
from captionless.trainer.run_folder import CHECKPOINTS, HISTORY
from captionless.trainer.training_job import TrainingJob
from tests.trainer import synthetic
from tests.trainer.elastic.processes import ranks, start

_STEPS, _EVERY = 200, 10


def killed_table(times: int, seed: int = 0) -> str:
    """Every run has hard-negative batches, micro-batches, dropout and a validation, and is killed once."""
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        synthetic.write(root, train=48, points=128)
        whole = _job(root, "undisturbed")
        _finish(whole, root)
        seconds = objects.read_json(objects.join(whole.run, HISTORY))["seconds"]
        rows, same = [], 0
        for number in range(times):
            job = _job(root, f"killed-{number}")
            training = start(job, 2, root / "log")
            interval, victim = moments.randrange(_STEPS // _EVERY - 1), moments.randrange(2)
            while len(found := ranks(job)) < 2 or _stored(job) < interval * _EVERY:
                time.sleep(0.01)
            time.sleep(moments.random() * seconds * _EVERY / _STEPS)
            os.kill(sorted(found)[victim], signal.SIGKILL)
            training.wait()
            rows.append([number + 1, victim, _stored(job)])
            _finish(job, root)
            same += _equal(job, whole)
    return (
        f"Two ranks, {_STEPS} steps, a checkpoint every {_EVERY}; hard-negative batches, two micro-batches, dropout "
        "and a validation share. One rank is killed (SIGKILL) at a random moment, and the training is restarted: "
        f"{same} of {times} times all final weights are bit-identical to those of the undisturbed run.\n\n"
        + table(["run", "rank killed", "resumed after step"], rows)
    )


def _job(root: Path, run: str) -> TrainingJob:
    return synthetic.job(
        root,
        run,
        "avg",
        steps=_STEPS,
        batch_size=16,
        points=64,
        checkpoint_every=_EVERY,
        accumulate=2,
        batches={"kind": "neighbours", "group": 4, "candidates": 8, "every": 4},
        validation={"share": 0.2, "every": 25},
    )


def _finish(job: TrainingJob, root: Path) -> None:
    if start(job, 2, root / "log").wait() != 0:
        raise RuntimeError((root / "log").read_text())


def _stored(job: TrainingJob) -> int:
    """The step of the newest checkpoint."""
    return max((int(path.name[5:13]) for path in Path(job.run).glob(f"{CHECKPOINTS}/step-*")), default=0)


def _equal(job: TrainingJob, other: TrainingJob) -> bool:
    one, two = (model_file.load_model(j.run)[0].state_dict() for j in (job, other))
    return all(torch.equal(one[name], two[name]) for name in one)
