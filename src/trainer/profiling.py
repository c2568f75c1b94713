"""A trace of a few steps by torch's profiler, beside the run: `captionless train --profile N`.

    <run>/profile/<run name>-<first step>.json.gz    for https://ui.perfetto.dev or chrome://tracing

Rank 0 is traced, after a few steps in which kernels are compiled and memory is allocated: what it computes, on the CPU
and the GPU, and how long it waits for the others.
"""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from captionless.store import objects
from captionless.telemetry.progress import say
from captionless.trainer.run_folder import profile_name
from captionless.trainer.training_job import TrainingJob

_WARM_UP = 3


class StepProfile:
    """Traces `job.profile` steps of a run that goes on from step `done`, fewer if no more are left; none if it is 0.

    All ranks have one, and only that of rank 0 (`traces`) does anything.
    """

    def __init__(self, job: TrainingJob, fingerprint: str, done: int, traces: bool) -> None:
        left = job.train.steps - done
        self._first = done + min(_WARM_UP, max(0, left - job.profile))
        self._end = min(self._first + job.profile, job.train.steps)
        self._job, self._traces = job, traces
        self._name = profile_name(fingerprint, self._first)
        self._profiler: Any = None

    @contextmanager
    def step(self, step: int) -> Iterator[None]:
        """Around each step (from 0)."""
        if self._traces and self._profiler is None and self._first <= step < self._end:
            from torch.profiler import ProfilerActivity, profile

            on_gpu = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
            self._profiler = profile(activities=[ProfilerActivity.CPU, *on_gpu], record_shapes=True)
            self._profiler.start()
        yield
        if self._profiler is not None and step + 1 == self._end:
            self._profiler.stop()

    def is_whole(self, done: int) -> bool:
        """Whether the last of the steps to be traced is made, after `done` of them; the same on every rank."""
        return self._first < self._end == done

    def store(self) -> None:
        """Store the trace, and say where it is (rank 0)."""
        url = objects.join(self._job.run, self._name)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "trace.json")
            self._profiler.export_chrome_trace(path)
            with open(path, "rb") as file:
                objects.write_bytes(url, gzip.compress(file.read(), 6))
        self._profiler = None
        steps = f"steps {self._first} to {self._end - 1}" if self._end - self._first > 1 else f"step {self._first}"
        say(f"{self._job.title}: {steps} traced in {url}; open it in https://ui.perfetto.dev")
