"""What a step of a real training waits for its batch, with the data in memory, on the disk and on S3."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import torch

from benchmarks.measure import Timing, table
from benchmarks.reader.s3 import s3, upload
from benchmarks.reader.samples import FEATURES, POINTS, VIEWS
from captionless.spec.train import TrainSpec
from captionless.spec.weights import Weights
from captionless.trainer.data.feed import BatchFeed
from captionless.trainer.data.read_ahead import AHEAD
from captionless.trainer.elastic.heartbeat import Heartbeat
from captionless.trainer.loop import TrainingRun
from captionless.trainer.training_job import MEMORY, TrainingJob
from tests.embedded import write_embedded

OBJECTS, SHARDS, BATCH, SAMPLED, THREADS = 256, 8, 32, 1024, 2
STEPS, WARM = 16, 8  # an epoch is 8 steps: all objects were verified, and kept if there is room


def times(folder: Path, url: str, memory: int, ahead: int = AHEAD) -> tuple[Timing, Timing]:
    """Seconds of each step with its wait, and of the wait alone."""
    spec = TrainSpec(weights=(Weights.uniform,), steps=STEPS, batch_size=BATCH, points=SAMPLED)
    job = TrainingJob(
        run=str(folder / "run"), data=url, weights=Weights.uniform, seed=0, train=spec, clip={}, threads=THREADS,
        memory=memory,
    )  # fmt: skip
    run = TrainingRun(job)
    run.feed = BatchFeed(run.data, job.title, Heartbeat(), ahead)
    whole, waited = [], []
    with run.feed:
        for step in range(STEPS):
            began = time.perf_counter()
            run.feed.wait(step)
            waited.append(time.perf_counter() - began)
            run.step()
            whole.append(time.perf_counter() - began)
    return Timing(whole[WARM:]), Timing(waited[WARM:])


def steps_table(folder: Path) -> str:
    """A table, and what of a step was waiting."""
    torch.set_num_threads(THREADS)
    write_embedded(str(folder / "embed"), {"a": OBJECTS // 2, "b": OBJECTS // 2}, SHARDS, 0, VIEWS, FEATURES, POINTS)
    local = str(folder / "embed")
    with s3():
        remote = upload(folder / "embed")
        found = {
            "made when it is needed, from memory": times(folder, local, MEMORY, ahead=0),
            "made ahead, from memory": times(folder, local, MEMORY),
            "made ahead, from the disk": times(folder, local, 0),
            "made ahead, from S3": times(folder, remote, 0),
        }
    first = next(iter(found.values()))[0].median
    rows = [
        [name, whole, f"{first / whole.median:.2f}", wait, f"{sum(wait.seconds) / sum(whole.seconds):.1%}"]
        for name, (whole, wait) in found.items()
    ]
    rate = BATCH / statistics.median(found["made ahead, from S3"][0].seconds)
    return (
        f"PointNeXt-S, {BATCH} clouds of {SAMPLED} of {POINTS:,} points and a random view of {VIEWS}, {THREADS} "
        f'threads; {STEPS - WARM} steps each after the first {WARM}. Except for the rows "from memory", nothing is '
        "cached (`dataMemory: 0`). The S3 server runs on the same cores.\n\n"
        + table(["a batch is", "a step (range)", "times as fast", "of that waiting", "share"], rows)
        + f"\nThe step processes {rate:,.0f} samples/s.\n"
    )
