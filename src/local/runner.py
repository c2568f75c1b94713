"""The local runner: the plan as processes on this machine, with a live view.

Each worker of a stage is the same command a person would type, run as a child whose
output goes to `<logs>/<stage>.<index>.log` and whose progress comes through a small
file (see `progress`). A stage starts when what it reads is finished; workers fill the
machine's cores and no more, so that trainings that don't depend on one another go
side by side.

The runner keeps no state of its own: what is done is in the stages' records, and a
stage with nothing left to do ends at once. Killed anywhere and started again it goes
on. A lock in the output folder keeps a second runner away; children die with it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from captionless.errors import KINDS, CaptionlessError, DataError, Interrupted, Retryable, SpecError, did_you_mean
from captionless.runtime import termination_message
from captionless.runtime.env import PARENT, PROGRESS, QUIET, TERMINATION_MESSAGE, cores, threads
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import Stage, logs_folder, plan
from captionless.store import objects
from captionless.telemetry import progress
from captionless.terminal.live_view import LiveView

_POLL = 0.1
_CLASSES = {kind.exit_code: kind for kind in KINDS}

Status = Literal["waiting", "running", "done", "failed", "stopped"]


@dataclass
class Worker:
    """One running command of a stage."""

    process: subprocess.Popen[bytes]
    progress_file: str
    ending_file: str
    log: Path


@dataclass
class Job:
    """A stage on its way: which of its workers still have to start, run, or have ended."""

    stage: Stage
    to_start: list[int]
    running: dict[int, Worker] = field(default_factory=dict)
    states: dict[int, progress.ProgressState] = field(default_factory=dict)
    status: Status = "waiting"
    began: float = 0.0
    seconds: float = 0.0
    errors: list[CaptionlessError] = field(default_factory=list)

    @property
    def cores(self) -> int:
        """What one of its processes keeps busy; a gang is one process here, torchrun's parent."""
        return self.stage.cpus * (self.stage.workers if self.stage.gang else 1)

    def progress(self) -> progress.ProgressState | None:
        """All workers' progress as one; None before any has told."""
        states = list(self.states.values())
        if not states:
            return None
        total = progress.ProgressState(self.stage.name, states[0].unit, 0)
        for s in states:
            total.total += s.total
            total.done += s.done
            total.before += s.before
            total.info.update(s.info)
        unfinished = [s.rate for s in states if s.done < s.total]
        total.rate = sum(unfinished) if all(unfinished) else 0.0  # unknown while one worker's is
        return total


def select(stages: Sequence[Stage], start: str | None, only: str | None) -> list[Stage]:
    """The stages of `--from STAGE` (it and all after it) or `--only STAGE`; `train` names all trainings."""
    names = [s.name for s in stages]
    wanted = start or only
    if wanted is None:
        return list(stages)
    matching = [n for n in names if n == wanted or n.startswith(f"{wanted}-")]
    if not matching:
        raise SpecError(f"no stage {wanted!r}{did_you_mean(wanted, names)} (stages: {', '.join(names)})")
    if only is not None:
        return [s for s in stages if s.name in matching]
    return list(stages[names.index(matching[0]) :])


def run(spec: AlignmentSpec, start: str | None = None, only: str | None = None, view: LiveView | None = None) -> None:
    """Runs the plan to its end. Raises the error of the first stage that failed, after the others have ended."""
    if spec.root.startswith("memory://"):
        raise SpecError(f"output: {spec.root} lives in one process, and stages are processes; use a path or s3://")
    stages = select(plan(spec), start, only)
    objects.check(spec.root)
    logs = logs_folder(spec)
    try:
        logs.mkdir(parents=True, exist_ok=True)
        with _locked(logs.parent), tempfile.TemporaryDirectory(prefix="captionless-") as scratch:
            (Path(scratch) / "spec.yaml").write_text(load.dump_spec(spec))
            _Runner(spec, stages, logs, Path(scratch), view or LiveView()).run()
    except OSError as error:
        raise Retryable(
            f"{error.filename or logs}: {error.strerror or error}; free space or change `output`"
        ) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the folder for this process; SpecError when another runner has it."""
    with open(folder / ".lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Retryable(f"{folder}: another `captionless run` is at work here; wait for it or stop it") from None
        yield


class _Runner:
    def __init__(self, spec: AlignmentSpec, stages: Sequence[Stage], logs: Path, scratch: Path, view: LiveView):
        self.spec, self.logs, self.scratch, self.view = spec, logs, scratch, view
        self.jobs = {s.name: Job(s, list(range(1 if s.gang else s.workers))) for s in stages}
        self.cores = cores()
        self.stopping = False

    def run(self) -> None:
        before = {s: signal.signal(s, self._stop) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            with self.view:
                while self._step():
                    self.view.show(self._rows())
                    time.sleep(_POLL)
                self.view.show(self._rows(), last=True)
        finally:
            self._kill()
            for number, handler in before.items():
                signal.signal(number, handler)
        self._raise()

    def _stop(self, number: int, frame: object) -> None:
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
            self.stopping = True  # a worker was stopped by somebody else
        if self.stopping:
            raise Interrupted("stopped; run the same command again to go on from what is whole")
        if failed:
            job = failed[0]
            told = _worth_telling(job.errors)
            lines = dict.fromkeys(line for error in told for line in str(error).splitlines())
            raise type(told[0])("\n".join(f"{job.stage.name}: {line}" for line in lines))

    def _step(self) -> bool:
        """Collects what ended, starts what can start; False when nothing runs and nothing can."""
        for job in self.jobs.values():
            for index in list(job.running):
                self._collect(job, index)
        ended = any(j.status in ("failed", "stopped") for j in self.jobs.values())
        if not self.stopping and not ended:
            for job in self.jobs.values():
                self._start(job)
        return any(j.running for j in self.jobs.values())

    def _ready(self, job: Job) -> bool:
        return all(self.jobs[n].status == "done" for n in job.stage.after if n in self.jobs)

    def _start(self, job: Job) -> None:
        while job.to_start and self._ready(job):
            busy = sum(j.cores * len(j.running) for j in self.jobs.values())
            if busy and busy + job.cores > self.cores:
                return
            if job.status == "waiting":
                job.status, job.began = "running", time.monotonic()
            index = job.to_start.pop(0)
            job.running[index] = self._spawn(job.stage, index)

    def _spawn(self, stage: Stage, index: int) -> Worker:
        shared = stage.workers > 1 and not stage.gang
        suffix = f".{index}" if shared else ""
        log = self.logs / f"{stage.name}{suffix}.log"
        told, end = (str(self.scratch / f"{stage.name}.{index}.{kind}") for kind in ("progress", "ending"))
        command = [sys.executable, "-m", "captionless", *stage.command, str(self.scratch / "spec.yaml")]
        if shared:
            command += ["--shard", f"{index}/{stage.workers}"]
        ours = {PROGRESS: told, TERMINATION_MESSAGE: end, PARENT: str(os.getpid())}
        environment = {**os.environ, **ours, **threads(self.spec.resources.threads)}
        environment.pop(QUIET, None)  # the view may be, its log is whole
        with open(log, "ab") as file:
            _head(file, command)
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, start_new_session=True
            )
        return Worker(process, told, end, log)

    def _collect(self, job: Job, index: int) -> None:
        worker = job.running[index]
        code = worker.process.poll()
        state = progress.read(worker.progress_file)
        if state is not None:
            job.states[index] = state
        if code is None:
            return
        del job.running[index]
        if code != 0:
            self._failed(job, worker, self._error(code, worker))
        if not job.running and not job.to_start and job.status == "running":
            job.status = "done"
        job.seconds = time.monotonic() - job.began

    def _failed(self, job: Job, worker: Worker, error: CaptionlessError) -> None:
        """Notes how a worker failed. A wrong spec stops the others at once; else they end their work."""
        if isinstance(error, Interrupted):
            job.status = "stopped" if job.status != "failed" else job.status
            return
        job.status = "failed"
        job.errors.append(error)
        self.view.say(f"{job.stage.name}: failed, its log: {worker.log}")
        if isinstance(error, SpecError):
            self._terminate()

    def _error(self, code: int, worker: Worker) -> CaptionlessError:
        told = termination_message.read(worker.ending_file)
        line = told.message if told is not None else ""
        if not line:
            line = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if told is None or told.kind == "crash":
            line = f"{line}; see its log: {worker.log}"
        return _CLASSES.get(code, Retryable)(line)

    def _rows(self) -> list[tuple[str, Status, progress.ProgressState | None, float]]:
        now = time.monotonic()
        return [
            (j.stage.name, j.status, j.progress(), now - j.began if j.running else j.seconds)
            for j in self.jobs.values()
        ]


def _worth_telling(errors: Sequence[CaptionlessError]) -> list[CaptionlessError]:
    """A stage's workers find different broken data, but stumble over the same spec, disk or network."""
    wrong = [e for e in errors if isinstance(e, SpecError)]
    broken = [e for e in errors if isinstance(e, DataError)]
    return [*wrong[:1]] or [*broken] or [*errors[:1]]


def _head(file: IO[bytes], command: Sequence[str]) -> None:
    file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command[2:])}\n".encode())
    file.flush()
