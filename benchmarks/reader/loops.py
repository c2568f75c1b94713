"""A training's loop beside its steps alone: what reading, verifying, sampling and augmenting take of its time.

Epochs of the loop and of the steps alone take turns in one run. The steps alone are on the same batches, held in memory
as the loop took them; an epoch of the loop ends when the batches that are read ahead are there, so that nothing of it
goes on beside the steps alone.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch

from benchmarks.measure import Timing, table
from benchmarks.reader.s3 import s3, upload
from benchmarks.reader.samples import FEATURES, POINTS, VIEWS
from benchmarks.reader.steps import BATCH, OBJECTS, SAMPLED, SHARDS, THREADS
from captionless.spec.train import TrainSpec
from captionless.spec.weights import Weights
from captionless.trainer.data.feed import BatchFeed
from captionless.trainer.data.read_ahead import AHEAD
from captionless.trainer.data.training_data import Batch
from captionless.trainer.loop import TrainingRun
from captionless.trainer.training_job import TrainingJob
from tests.embedded import write_embedded

EPOCH = OBJECTS // BATCH
_NEVER = 10_000
_DISK = 1 << 30


class _Kept(BatchFeed):
    """A feed that keeps the batches that were taken."""

    taken: list[Batch]

    def take(self, step: int) -> Batch:
        batch = super().take(step)
        self.taken.append(batch)
        return batch

    def rest(self) -> None:
        """Returns when no thread works."""
        while self._ahead.ready < AHEAD:
            time.sleep(1e-4)


class _Held:
    """A feed of batches that are there."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = iter(batches)

    def take(self, step: int) -> Batch:
        """The next one."""
        return next(self._batches)


def epochs(folder: Path, url: str, shuffle: str, disk: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of every epoch of the loop, and of its steps alone."""
    spec = TrainSpec.model_validate(
        {
            "weights": ["uniform"],
            "steps": _NEVER,
            "batchSize": BATCH,
            "points": SAMPLED,
            "batches": {"shuffle": shuffle},
        }
    )
    job = TrainingJob(
        run=str(folder / "run"), data=url, weights=Weights.uniform, seed=0, train=spec, clip={}, threads=THREADS,
        memory=0, disk=disk,
    )  # fmt: skip
    run = TrainingRun(job)
    feed = run.feed
    feed.__class__ = _Kept  # the run's own feed, which also counts what is skipped
    assert isinstance(feed, _Kept)
    whole, alone = [], []
    with feed:
        feed.taken = []
        feed.wait(0)
        run.step()  # compiles what is not compiled yet
        feed.rest()
        for _ in range(rounds):
            feed.taken, began = [], time.perf_counter()
            for _ in range(EPOCH):
                feed.wait(run.done)
                run.step()
            feed.rest()
            whole.append(time.perf_counter() - began)
            run.feed = _Held(feed.taken)  # type: ignore[assignment]
            began = time.perf_counter()
            for _ in range(EPOCH):
                run.step()
            alone.append(time.perf_counter() - began)
            run.feed, run.done = feed, run.done - EPOCH
    return whole, alone


def loops_table(folder: Path, rounds: int) -> str:
    """A table of both shuffles, locally and over S3."""
    torch.set_num_threads(THREADS)
    write_embedded(str(folder / "embed"), {"a": OBJECTS // 2, "b": OBJECTS // 2}, SHARDS, 0, VIEWS, FEATURES, POINTS)
    local = str(folder / "embed")
    rows = []
    with s3():
        remote = upload(folder / "embed")
        for name, url, shuffle, disk in (
            ("local, global", local, "global", 0),
            ("local, windowed", local, "windowed", 0),
            ("S3, global", remote, "global", 0),
            ("S3, windowed", remote, "windowed", 0),
            ("S3, windowed, `dataDisk`", remote, "windowed", _DISK),
        ):
            whole, alone = epochs(folder, url, shuffle, disk, rounds)
            first, ratio = alone[0] / whole[0], sum(alone) / sum(whole)
            rows.append([name, Timing(whole), Timing(alone), f"{first:.3f}", f"{ratio:.3f}"])
    return (
        f"PointNeXt-S, {EPOCH} steps an epoch of {BATCH} clouds of {SAMPLED} of {POINTS:,} points and a random view of "
        f"{VIEWS}, {THREADS} threads; {rounds} epochs of each, in turns, nothing cached in memory (`dataMemory: 0`). "
        "The S3 server runs on the same cores. Ratios: the seconds of the steps alone over those of the loop.\n\n"
        + table(["", "an epoch (range)", "its steps alone (range)", "ratio, the first epoch", "ratio, all"], rows)
    )
