"""The local runner: the plan as processes on this machine, with a live view.

Each worker of a stage is the same command that a user would type, run as a child process; its output goes to
`<logs>/<stage>.<index>.log` and its progress comes through a small file (see `telemetry.progress`). A stage starts when
its inputs are finished; workers use at most the cores of the machine, so that independent trainings run side by side.

The runner keeps no state: finished work is recorded by the stages, and a stage with nothing left to do ends at once. If
it is killed at any time, a rerun resumes. A lease on the output prevents a second runner, on whatever host, and a lock
prevents another that would write to the same logs; children die with the runner.
"""

from __future__ import annotations

import fcntl
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from captionless.errors import CaptionlessError, DataError, Interrupted, Retryable, SpecError
from captionless.local import workers
from captionless.local.selection import select
from captionless.local.workers import LocalStatus, StageProcesses, WorkerProcess
from captionless.runtime import temporary_files
from captionless.runtime.env import cores
from captionless.runtime.signals import handle_signals
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import Stage, logs_folder, plan
from captionless.store import objects
from captionless.store.writers import Lease, writer
from captionless.telemetry import progress
from captionless.terminal.live_view import LiveView

_POLL = 0.1
LEASE = "captionless run"
"""Whoever holds a lease with these settings on the output runs the plan; stages hold leases on their own folders."""


def run(spec: AlignmentSpec, start: str | None = None, only: str | None = None, view: LiveView | None = None) -> None:
    """Runs the plan. Raises the error of the first stage that failed, after the others have ended."""
    if spec.root.startswith("memory://"):
        raise SpecError(
            f"output: {spec.root} exists in one process only, and stages are processes; use a path or s3://"
        )
    stages = select(plan(spec), start, only)
    objects.check(spec.root)
    logs = logs_folder(spec)
    try:
        logs.mkdir(parents=True, exist_ok=True)
        with (
            writer(spec.root, settings=LEASE) as lease,
            _locked(logs.parent),
            tempfile.TemporaryDirectory(prefix=temporary_files.prefix()) as scratch,
        ):
            (Path(scratch) / "spec.yaml").write_text(load.dump_spec(spec))
            _Runner(spec, stages, logs, Path(scratch), view or LiveView(), lease).run()
    except OSError as error:
        raise Retryable(
            f"{error.filename or logs}: {error.strerror or error}; free some space or change `output`"
        ) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Locks the folder for this process; Retryable when another runner has it."""
    with open(folder / ".lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Retryable(
                f"{folder}: another `captionless run` is using this folder; wait for it or stop it"
            ) from None
        yield


class _Runner:
    def __init__(
        self, spec: AlignmentSpec, stages: Sequence[Stage], logs: Path, scratch: Path, view: LiveView, lease: Lease
    ):
        self.spec, self.logs, self.scratch, self.view, self.lease = spec, logs, scratch, view, lease
        self.jobs = {s.name: StageProcesses(s, list(range(1 if s.gang else s.workers))) for s in stages}
        self.cores = cores()
        self.stopping = False

    def run(self) -> None:
        with handle_signals(self._stop):
            try:
                with self.view:
                    while self._step():
                        self.view.show(self._rows())
                        if self.lease.lost:
                            self.lease.check()
                        time.sleep(_POLL)
                    self.view.show(self._rows(), last=True)
            finally:
                self._kill()
        self._raise()

    def _stop(self, number: int) -> None:
        self.stopping = True
        self._terminate()

    def _terminate(self) -> None:
        for job in self.jobs.values():
            for worker in job.running.values():
                worker.process.send_signal(signal.SIGTERM)

    def _kill(self) -> None:
        for job in self.jobs.values():
            for worker in job.running.values():
                worker.process.kill()
                worker.process.wait()

    def _raise(self) -> None:
        failed = [j for j in self.jobs.values() if j.status == "failed"]
        if not failed and any(j.status == "stopped" for j in self.jobs.values()):
            self.stopping = True  # a worker was stopped from outside
        if self.stopping:
            raise Interrupted("stopped; rerun to resume")
        if failed:
            job = failed[0]
            errors = _most_specific(job.errors)
            lines = dict.fromkeys(line for error in errors for line in str(error).splitlines())
            raise type(errors[0])("\n".join(f"{job.stage.name}: {line}" for line in lines))

    def _step(self) -> bool:
        """Collects the workers that ended and starts those that can start; False when nothing is left to do."""
        for job in self.jobs.values():
            for index in list(job.running):
                self._collect(job, index)
        ended = any(j.status in ("failed", "stopped") for j in self.jobs.values())
        if not self.stopping and not ended:
            for job in self.jobs.values():
                self._start(job)
        return any(j.running for j in self.jobs.values())

    def _ready(self, job: StageProcesses) -> bool:
        return all(self.jobs[n].status == "done" for n in job.stage.after if n in self.jobs)

    def _start(self, job: StageProcesses) -> None:
        while job.to_start and self._ready(job):
            busy = sum(j.cores * len(j.running) for j in self.jobs.values())
            if busy and busy + job.cores > self.cores:
                return
            if job.status == "waiting":
                job.status, job.began = "running", time.monotonic()
            index = job.to_start.pop(0)
            job.running[index] = workers.start(
                job.stage, index, self.scratch / "spec.yaml", self.spec.resources.threads, self.logs
            )

    def _collect(self, job: StageProcesses, index: int) -> None:
        worker = job.running[index]
        code = worker.process.poll()
        state = progress.read(worker.progress_file)
        if state is not None:
            job.states[index] = state
        if code is None:
            return
        del job.running[index]
        if code != 0:
            self._failed(job, worker, worker.error())
        if not job.running and not job.to_start and job.status == "running":
            job.status = "done"
        job.seconds = time.monotonic() - job.began

    def _failed(self, job: StageProcesses, worker: WorkerProcess, error: CaptionlessError) -> None:
        """Records how a worker failed. A spec error stops the others at once; otherwise they finish their work."""
        if isinstance(error, Interrupted):
            job.status = "stopped" if job.status != "failed" else job.status
            return
        job.status = "failed"
        job.errors.append(error)
        self.view.say(f"{job.stage.name}: failed; see the log: {worker.log}")
        if isinstance(error, SpecError):
            self._terminate()

    def _rows(self) -> list[tuple[str, LocalStatus, progress.ProgressState | None, float]]:
        now = time.monotonic()
        return [
            (j.stage.name, j.status, j.progress(), now - j.began if j.running else j.seconds)
            for j in self.jobs.values()
        ]


def _most_specific(errors: Sequence[CaptionlessError]) -> list[CaptionlessError]:
    """The errors to report: workers find different bad data, but fail for the same spec, disk or network."""
    wrong = [e for e in errors if isinstance(e, SpecError)]
    broken = [e for e in errors if isinstance(e, DataError)]
    return [*wrong[:1]] or [*broken] or [*errors[:1]]
