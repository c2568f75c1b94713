"""Where a run tells its figures while it trains, besides its own curve: `train.logs`.

tensorboard    event files, in the run's folder
wandb          Weights & Biases, with the optional dependency of that name
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from captionless.trainer.logs.event_files import EventFiles
from captionless.trainer.logs.weights_and_biases import WeightsAndBiases
from captionless.trainer.training_job import TrainingJob


class Log(Protocol):
    """One place where figures go; used by rank 0 only."""

    def tell(self, step: int, values: Mapping[str, float]) -> None:
        """The figures of a step (from 0), by name; steps come in order."""

    def files(self) -> Mapping[str, bytes]:
        """What has been told since this was last asked and is to be stored with the next checkpoint, by its path in the
        run's folder."""

    def close(self) -> None:
        """No more is told."""


class Logs:
    """All that a job's `train.logs` asks for, once they are open; closed at the end of a `with`."""

    def __init__(self) -> None:
        self._logs: list[Log] = []

    def open(self, job: TrainingJob, fingerprint: str, done: int) -> None:
        """From the step `done` on figures are told. SpecError when a log is not available."""
        made: dict[str, type[Any]] = {"tensorboard": EventFiles, "wandb": WeightsAndBiases}
        for name in dict.fromkeys(job.train.logs):
            self._logs.append(made[name](job, fingerprint, done))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for log in self._logs:
            log.close()

    def tell(self, step: int, values: Mapping[str, float | None]) -> None:
        """See `Log`; what has no value is left out."""
        known = {name: value for name, value in values.items() if value is not None}
        for log in self._logs:
            log.tell(step, known)

    def files(self) -> dict[str, bytes]:
        """See `Log`."""
        return {name: data for log in self._logs for name, data in log.files().items()}
