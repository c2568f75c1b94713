"""Worker processes: the commands of a stage as children of the runner."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from captionless.errors import CRASH, KINDS, CaptionlessError, Retryable
from captionless.runtime import env, termination_message
from captionless.spec.plan import Stage
from captionless.telemetry import progress

_CLASSES = {kind.exit_code: kind for kind in KINDS}

LocalStatus = Literal["waiting", "running", "done", "failed", "stopped"]


@dataclass
class WorkerProcess:
    """One running command of a stage."""

    process: subprocess.Popen[bytes]
    progress_file: str
    message_file: str
    log: Path

    def error(self) -> CaptionlessError:
        """Why the process, which has ended with another exit code than 0, failed."""
        code = self.process.returncode
        message = termination_message.read(self.message_file)
        line = message.message if message is not None else ""
        if not line:
            line = f"killed by signal {-code}" if code < 0 else f"exited with code {code}"
        if message is None or message.kind == CRASH:
            line = f"{line}; see the log: {self.log}"
        return _CLASSES.get(code, Retryable)(line)


@dataclass
class StageProcesses:
    """The workers of a stage: those that still have to start, and those that are running."""

    stage: Stage
    to_start: list[int]
    running: dict[int, WorkerProcess] = field(default_factory=dict)
    states: dict[int, progress.ProgressState] = field(default_factory=dict)
    status: LocalStatus = "waiting"
    began: float = 0.0
    seconds: float = 0.0
    errors: list[CaptionlessError] = field(default_factory=list)

    @property
    def cores(self) -> int:
        """Cores that one of its processes keeps busy; a gang is one process here, torchrun's parent."""
        return self.stage.cpus * (self.stage.workers if self.stage.gang else 1)

    def progress(self) -> progress.ProgressState | None:
        """All workers' progress as one; None before any has reported."""
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


def start(stage: Stage, index: int, spec: Path, threads: int, logs: Path) -> WorkerProcess:
    """Starts worker `index` of a stage; its progress and termination message are files next to the `spec`."""
    is_shard = stage.workers > 1 and not stage.gang
    suffix = f".{index}" if is_shard else ""
    log = logs / f"{stage.name}{suffix}.log"
    progress_file, message_file = (str(spec.parent / f"{stage.name}.{index}.{kind}") for kind in ("progress", "end"))
    command = [sys.executable, "-m", "captionless", *stage.command, str(spec)]
    if is_shard:
        command += ["--shard", f"{index}/{stage.workers}"]
    own = {env.PROGRESS: progress_file, env.TERMINATION_MESSAGE: message_file, env.PARENT: str(os.getpid())}
    environment = {**os.environ, **own, **env.threads(threads)}
    environment.pop(env.QUIET, None)  # the view may be quiet, the log is complete
    with open(log, "ab") as file:
        _write_header(file, command)
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, start_new_session=True
        )
    return WorkerProcess(process, progress_file, message_file, log)


def _write_header(file: IO[bytes], command: Sequence[str]) -> None:
    file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command[2:])}\n".encode())
    file.flush()
