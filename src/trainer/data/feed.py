"""A rank's batches, one step after the other: read ahead, and without the objects that turn out to be damaged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from captionless.telemetry import catalog, registry
from captionless.trainer import distributed
from captionless.trainer.data.read_ahead import AHEAD, ReadAhead
from captionless.trainer.data.skipped import Skipped
from captionless.trainer.data.training_data import Batch, RawBatch, TrainingData
from captionless.trainer.elastic.heartbeat import Heartbeat


class BatchFeed:
    """As a context manager it leaves no thread behind; every rank has one and uses it for the same steps.

    Until `wait` has returned on every rank, only who says by `heartbeat` that it waits for storage may be late.
    """

    def __init__(self, data: TrainingData, title: str, heartbeat: Heartbeat, ahead: int = AHEAD) -> None:
        self._data, self._heartbeat = data, heartbeat
        self._ahead: ReadAhead[RawBatch, Batch] = ReadAhead(self._read, data.make, data.spec.steps, ahead)
        self.skipped = Skipped(title, data.spec.max_skipped, data.spec.accumulate)

    def __enter__(self) -> Self:
        self._ahead.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._data.close()
        self._ahead.__exit__(kind, error, tb)

    def take(self, step: int) -> Batch:
        """This rank's part of the step's global batch; DataError as `Skipped.of`."""
        registry.set_value(catalog.TRAIN_BATCHES_READY, self._ahead.ready)
        self._data.tell()
        with _waiting():
            batch = self._ahead.take(step)
        damaged = self.skipped.of(batch)
        if damaged:
            with self._heartbeat.storage():
                batch = self._data.batch(step, distributed.rank(), distributed.world_size(), damaged)
                distributed.meet()
        return batch

    def is_late(self, step: int) -> bool:
        """Whether this rank's part of the step's batch is still being read."""
        return self._ahead.is_late(step)

    def wait(self, step: int) -> None:
        """Until every rank has its part; as long as storage may take."""
        with self._heartbeat.storage(), _waiting():
            self._ahead.wait(step)
            distributed.meet()

    def drop(self) -> None:
        """Discard the batches read ahead, since the neighbours that batches are made of have changed."""
        self._ahead.drop()

    def _read(self, step: int) -> RawBatch:
        return self._data.read(step, distributed.rank(), distributed.world_size())


@contextmanager
def _waiting() -> Iterator[None]:
    """Counts the time as waiting for a batch."""
    began = time.monotonic()
    yield
    registry.add(catalog.TRAIN_BATCH_WAIT, time.monotonic() - began)
