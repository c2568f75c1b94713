"""Runs a training job through torchrun, on one node or as one node of several, and reports how it ended.

The calling process stays the parent: it forwards SIGTERM and SIGINT, shows the progress that rank 0 reports, and turns
the causes that the ranks reported into one exception of `captionless.errors`. torchrun and the ranks die with it.

On one node there is one round. In a gang this process also outlives the rounds: when a node is lost, a rank fails or
hangs, or another node receives a stop signal, it pauses, waits for the other nodes (`rendezvous`), and restarts
torchrun from the latest checkpoint. It gives up after three rounds in a row without a newer checkpoint. Waiting for
nodes does not count as a round, and is limited only by `train.peerTimeout`.

The rounds are not retried by `runtime.retry`: an attempt is one of several nodes that must agree on it, and a round
that stored a checkpoint resets the count.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from captionless.errors import DataError, Retryable, SpecError
from captionless.runtime import env, signals, temporary_files
from captionless.store import objects
from captionless.store.writers import Lease
from captionless.telemetry import progress
from captionless.trainer.elastic.gang import Gang
from captionless.trainer.elastic.node_storage import NodeStorage
from captionless.trainer.elastic.rendezvous import NodeAssignment, Rendezvous
from captionless.trainer.elastic.round import Round
from captionless.trainer.training_job import TrainingJob

_ROUNDS = 3
_GRACE_SECONDS = 300  # a step and a checkpoint must fit; torchrun's default of 30 is too short for large steps
_POLL = 0.1


def run(job: TrainingJob, ranks: int, log: Path, gang: Gang | None = None, lease: Lease | None = None) -> None:
    """Train `job` in `ranks` ranks on this node; returns when its model file is stored.

    Without a gang all output of torchrun and the ranks is appended to the file `log`; with one it goes to
    stderr. SpecError or DataError if a rank of any node reports them; Interrupted if this process received a stop
    signal (after a checkpoint); Retryable if ranks failed otherwise (in a gang: too often), or nodes were missing too
    long. The ranks write under `lease`; once another has taken it over, the training ends with its error.
    """
    with signals.note_signals() as stop, NodeStorage() as storage:
        if gang is not None:
            _rounds(job, ranks, gang, stop, lease, storage)
            return
        first, environ = NodeAssignment(), storage.environment
        with _View() as view, Round(job, ranks, first, 0, log, _GRACE_SECONDS, view.file, lease, environ) as alone:
            _await(alone, stop, lease, view.show)
            error = alone.error(stop(), "")
        if error is not None:
            raise error


def _rounds(
    job: TrainingJob, ranks: int, gang: Gang, stop: Callable[[], bool], lease: Lease | None, storage: NodeStorage
) -> None:
    training = objects.digest(job.model_dump(mode="json"), ranks, gang.nodes)
    number = without_progress = 0
    with Rendezvous(gang, training, lambda line: _say(job, line)) as rendezvous:
        while True:
            assignment = rendezvous.join_round(stop)
            number += 1
            _say(job, f"round {number} as node {assignment.rank} of {assignment.nodes}")
            environ = storage.environment
            with Round(job, ranks, assignment, number, None, gang.grace, None, lease, environ) as current:
                lost = _await(current, stop, lease, rendezvous=rendezvous)
                error, saved, shared = current.error(stop(), lost), current.saved, current.stopped_together
            if error is None:
                rendezvous.ended(None)
                return
            rendezvous.ended("Interrupted" if shared else type(error).__name__, str(error))
            if isinstance(error, SpecError | DataError) or stop():
                raise error
            without_progress = 0 if saved else without_progress + 1
            if without_progress == _ROUNDS:
                raise Retryable(f"{error}; {_ROUNDS} rounds in a row without a newer checkpoint")
            pause = 2**without_progress
            _say(job, f"round {number} ended: {error}; next round in {pause} s")
            _pause(pause, stop)


def _await(
    current: Round,
    stop: Callable[[], bool],
    lease: Lease | None,
    show: Callable[[], None] | None = None,
    rendezvous: Rendezvous | None = None,
) -> str:
    """Wait until the round is over, or end it; returns why another node ended it, if one did. The error of a lost
    lease, which kills the round."""
    stopping, regroup, lost, before = False, False, "", -1
    while current.running:
        if lease is not None and lease.lost:
            lease.check()
        if rendezvous is not None:
            news = rendezvous.news()
            if news.regroup and not regroup:
                regroup, before = True, current.saved_step
            lost = lost or news.over
            if lost:
                current.over()
        if not stopping and (stop() or (regroup and current.saved_step > before)):  # a checkpoint was due anyway
            stopping = True
            current.stop()
        current.check()
        if show is not None:
            show()
        time.sleep(_POLL)
    return lost


def _say(job: TrainingJob, line: str) -> None:
    print(f"{job.title}: {line}", file=sys.stderr, flush=True)


def _pause(seconds: float, stop: Callable[[], bool]) -> None:
    """Sleep, until a signal arrives at the longest."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stop():
        time.sleep(_POLL)


class _View:
    """Rank 0's progress, shown here unless the environment names a file for it, which another process shows."""

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        self._shown: progress.Progress | None = None
        self.file: str | None = None
        if env.PROGRESS not in os.environ:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix=temporary_files.prefix()))
            self.file = os.path.join(folder, "progress.json")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.show()
        self._stack.__exit__(kind, error, tb)

    def show(self) -> None:
        """Refresh what is shown."""
        state = progress.read(self.file) if self.file else None
        if state is None:
            return
        if self._shown is None:
            self._shown = progress.Progress(state.title, state.total, state.unit, state.done)
            self._stack.enter_context(self._shown)
        self._shown.advance(state.done - self._shown.state.done, **state.info)
