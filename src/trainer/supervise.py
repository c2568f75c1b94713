"""Runs a training job through torchrun and tells how it ended.

The calling process stays the parent: it forwards SIGTERM and SIGINT, shows the progress that rank 0 reports, keeps
torchrun's output out of the user's sight (in the log), and turns the causes that the ranks left into one exception
of `captionless.errors`. torchrun and the ranks die with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from captionless import progress
from captionless.errors import CaptionlessError, DataError, Interrupted, Retryable, SpecError
from captionless.lifeline import SUPERVISOR, die_with_parent
from captionless.trainer.job import Job

_SEVERITY: tuple[type[CaptionlessError], ...] = (SpecError, DataError, Interrupted, Retryable)
"""Which cause speaks for the run when ranks ended differently: the earliest named here."""

_POLL = 0.1
_SHUTDOWN_SECONDS = 300  # a step and a checkpoint must fit; torchrun's default of 30 is too short for large steps


def run(job: Job, nproc: int, log: Path) -> None:
    """Train `job` in `nproc` ranks on this machine; returns when its model file is stored.

    All output of torchrun and the ranks is appended to the file `log`. SpecError, DataError, Interrupted (after a
    checkpoint) or Retryable as the ranks report them, Retryable when they ended without a word.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="captionless-train-") as name, open(log, "ab") as output:
        folder = Path(name)
        (folder / "job.json").write_text(job.model_dump_json())
        environment = dict(os.environ)
        environment[SUPERVISOR] = str(os.getpid())
        environment["OMP_NUM_THREADS"] = str(job.threads)
        environment.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(_SHUTDOWN_SECONDS))
        shown = environment.setdefault(progress.VARIABLE, str(folder / "progress.json"))
        own_view = progress.VARIABLE not in os.environ
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(nproc)]
        command += ["--max-restarts", "0", "-m", "captionless.trainer.worker"]
        command += ["--job", str(folder / "job.json"), "--report", name]
        child = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # a terminal's Ctrl-C reaches this process only, which forwards it
            preexec_fn=die_with_parent,
        )
        try:
            with _forwarding(child) as signalled:
                _wait(child, job, shown if own_view else None)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        if child.returncode != 0:
            raise _cause(folder, job, child.returncode, bool(signalled), log)


def _wait(child: subprocess.Popen[bytes], job: Job, shown: str | None) -> None:
    """Until the child ends; its progress is shown when nobody else shows it."""
    if shown is None:
        child.wait()
        return
    view: progress.Progress | None = None
    with contextlib.ExitStack() as stack:
        running = True
        while running:
            running = child.poll() is None
            state = progress.read(shown)
            if state is not None:
                if view is None:
                    view = stack.enter_context(progress.Progress(state.title, state.total, state.unit, state.done))
                view.advance(state.done - view.state.done, **state.info)
            if running:
                time.sleep(_POLL)


@contextlib.contextmanager
def _forwarding(child: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """SIGTERM and SIGINT go to the child as one SIGTERM; yields the signals that came. Main thread only."""
    came: list[int] = []

    def handler(number: int, frame: object) -> None:
        if not came and child.poll() is None:
            child.send_signal(signal.SIGTERM)
        came.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield came
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _cause(folder: Path, job: Job, code: int, signalled: bool, log: Path) -> CaptionlessError:
    """The exception that tells why torchrun did not end well."""
    reports = [json.loads(path.read_text() or "{}") for path in sorted(folder.glob("rank-*.json"))]
    for kind in _SEVERITY:
        for report in reports:
            if report.get("error") == kind.__name__:
                return kind(report["line"])
    if signalled:
        return Interrupted(f"{job.title}: stopped before its first checkpoint of this round; run again to go on")
    for report in reports:
        if report.get("error") == "crash":
            return Retryable(f"{job.title}: {report['line']} (details in {log})")
    return Retryable(f"{job.title}: a rank was lost, torchrun ended with code {code}; run again to go on (log: {log})")
