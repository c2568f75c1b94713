"""Commands as processes that cost no start-up, and that die or stop at a chosen write.

A fork server has imported what the stages import; each command is a fork of it that runs the console script's `main`.
A training's rank runs in the same process instead of under torchrun, whose start takes longer than the training; the
process that reads meshes is a fork as well.

Where a process is to die or to stop is counted in its own changes of the run's folder: files that are linked or renamed
to their final names, or deleted. That is where a kill makes a difference, and it is the same at every call.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from tests import pace

LONGEST = 120.0
"""Seconds that a command may take before it is taken for one that hangs."""
_BEAT, _LIMIT = 0.2, 1.0
"""Seconds between the renewals of a lease, and after which one may be taken over."""


@dataclass(frozen=True)
class Interruption:
    """What a process does to itself right before its `at`-th change of the run's folder, counted from 1.

    abroad: the process tells other writers that it is on another machine, so that they cannot know that it lives.
    """

    number: signal.Signals
    at: int
    abroad: bool = False


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (the negative number of the signal that killed it), stdout and stderr."""

    code: int
    output: str
    error: str


def context() -> ForkServerContext:
    """The fork server's context; the server starts with the first process."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["tests.chaos.preload"])
    return found


class Command:
    """A running command line in a world's folder."""

    def __init__(self, folder: Path, arguments: Sequence[str], interruption: Interruption | None = None) -> None:
        self.arguments, self._logs = list(arguments), Path(tempfile.mkdtemp(prefix="captionless-chaos-"))
        own = {k: v for k, v in os.environ.items() if not k.startswith(("CAPTIONLESS_", "JOB_COMPLETION"))}
        environment = {**own, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "200", "CAPTIONLESS_QUIET": "1"}
        self._process: ForkServerProcess = context().Process(
            target=_main, args=(str(folder), self.arguments, environment, str(self._logs), interruption)
        )
        self._process.start()

    @property
    def stopped(self) -> bool:
        """Whether it has stopped itself."""
        try:
            state = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state == "T"

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()

    def until_stopped(self) -> bool:
        """Waits until it stops itself or ends; whether it stopped."""
        pace.wait_for(f"{self.arguments} to stop or end", lambda: self.stopped or not self.running, LONGEST, every=0.01)
        return self.stopped

    def go_on(self) -> Ended:
        """Continues a stopped command, to its end."""
        os.kill(self._pid, signal.SIGCONT)
        return self.end()

    def stop(self) -> None:
        """Stops it where it is, until it is to go on."""
        os.kill(self._pid, signal.SIGSTOP)

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.join()

    def end(self) -> Ended:
        """Waits for its end."""
        deadline = pace.Deadline(LONGEST)
        while self._process.is_alive():
            self._process.join(1.0)
            if self._process.is_alive() and deadline.passed():
                self.kill()
                raise pace.TimedOut(f"{self.arguments} did not end; its stderr:\n{self._read('err')}")
        return Ended(self._process.exitcode or 0, self._read("out"), self._read("err"))

    @property
    def _pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def _read(self, name: str) -> str:
        path = self._logs / name
        return path.read_text(errors="replace") if path.exists() else ""


def _main(
    folder: str, arguments: list[str], environment: dict[str, str], logs: str, interruption: Interruption | None
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(os.path.join(logs, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", 1, closefd=False)
    sys.argv = ["captionless", *arguments]
    from captionless.__main__ import main
    from captionless.runtime import expendable_process, identity
    from captionless.store import writers
    from captionless.trainer.elastic import supervisor

    os.fsync = lambda descriptor: None  # what a killed process has written stays, unlike what a machine has
    supervisor.run = _train_here
    expendable_process.subprocess = SimpleNamespace(Popen=_Fork, DEVNULL=subprocess.DEVNULL)
    writers.BEAT_SECONDS, writers.LIMIT_SECONDS = _BEAT, _LIMIT
    if interruption is not None:
        if interruption.abroad:
            identity._machine = lambda: "another machine"
        _interrupt(os.path.join(folder, "out"), interruption)
    main()


def _interrupt(root: str, interruption: Interruption) -> None:
    """Counts this process's changes below a folder, and sends it the signal right before one of them."""
    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in ("os.rename", "os.link", "os.remove"):
            return
        path = os.path.abspath(os.fsdecode(arguments[0 if event == "os.remove" else 1]))
        if path.endswith(".tmp") or threading.current_thread().name == "captionless-lease":
            return  # seen by nobody; renewals come at any time
        if path.startswith(root):
            count += 1
            if count == interruption.at:
                os.kill(os.getpid(), interruption.number)
                time.sleep(0.01)  # until the signal arrives

    sys.addaudithook(watch)


def _train_here(job: Any, ranks: int, log: Path, gang: Any = None, lease: Any = None) -> None:
    """`supervisor.run` of one rank in this process."""
    import json

    from captionless.errors import KINDS, CaptionlessError
    from captionless.runtime import signals
    from captionless.trainer import worker

    with tempfile.TemporaryDirectory(prefix="captionless-train-") as name, signals.note_signals() as stop:
        os.environ.update(lease.environment() if lease is not None else {})
        report = Path(name)
        (report / "job.json").write_text(job.model_dump_json())
        sys.argv = ["worker", "--job", str(report / "job.json"), "--report", name]
        code = worker.main(stop)
        found = json.loads((report / "rank-0.json").read_text())
    if code:
        kinds = {kind.__name__: kind for kind in KINDS}
        raise kinds.get(found["error"], CaptionlessError)(found["line"])


class _Fork:
    """What `subprocess.Popen` is to `runtime.expendable_process`, as a fork of this process."""

    def __init__(self, arguments: Sequence[str], pass_fds: Sequence[int], stderr: IO[bytes], **_: Any) -> None:
        from captionless.runtime import env, expendable_process

        (connection,) = pass_fds
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.dup2(stderr.fileno(), 2)
                os.closerange(3, connection)
                os.closerange(connection + 1, os.sysconf("SC_OPEN_MAX"))
                os.environ[env.PARENT] = str(parent)
                place = arguments.index(expendable_process.__name__)
                expendable_process._serve(*arguments[place + 1 :])
            finally:
                os._exit(1)

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
