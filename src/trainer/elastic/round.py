"""One round of a training on this node: one torchrun, its ranks, and how they ended.

torchrun exits with 1 for any failure, so each rank writes the cause of its exit to a file (`worker`), and shows that it
is alive with another (`heartbeat`). Both are in the round's folder. Its path is part of the command line of torchrun
and of every rank, by which all of them are found and killed: torchrun starts each rank in a separate session, so a
signal to a process group would miss them, and a rank that starts just as torchrun dies cannot be found by its parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from captionless.errors import CRASH, KINDS, CaptionlessError, Interrupted, Retryable
from captionless.runtime import env, temporary_files
from captionless.runtime.processes import is_stopped, with_argument
from captionless.store.writers import Lease
from captionless.trainer.elastic.heartbeat import PATIENCE_SECONDS, Phase, RankStatus, read_status, status_file
from captionless.trainer.elastic.rendezvous import NodeAssignment
from captionless.trainer.training_job import TrainingJob

_LINGER_SECONDS = 5.0
"""How long the other ranks have, once the round is over, to exit on their own and report why."""

_KILL_SECONDS = 30.0
_STDERR = 2


class Round:
    """A running round, as a context manager that leaves no process behind.

    ranks: the number of ranks on this node. number: counts the rounds of this supervisor and is shown with the
    progress; 0 where there is only one. log: receives the output of torchrun and the ranks; None: it goes to the
    supervisor's own stderr, each line prefixed with its rank. grace: seconds that the ranks have to exit
    after `stop`. shown: a file for rank 0's progress. lease: the one that the ranks write under. environ: further
    variables of the ranks.
    """

    def __init__(
        self,
        job: TrainingJob,
        ranks: int,
        assignment: NodeAssignment,
        number: int,
        log: Path | None,
        grace: float,
        shown: str | None = None,
        lease: Lease | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._job, self._assignment, self._ranks, self._number = job, assignment, ranks, number
        self._log, self._grace, self._shown, self._lease = log, grace, shown, lease
        self._environ = environ or {}
        self._watched: dict[str, tuple[object, float]] = {}
        self._over_since: float | None = None
        self.hung = ""

    def __enter__(self) -> Self:
        self._scratch = tempfile.TemporaryDirectory(prefix=temporary_files.prefix(), ignore_cleanup_errors=True)
        self.folder = Path(self._scratch.name)
        (self.folder / "job.json").write_text(self._job.model_dump_json())
        with contextlib.ExitStack() as stack:
            output: IO[bytes] | None = None
            if self._log is not None:
                self._log.parent.mkdir(parents=True, exist_ok=True)
                output = stack.enter_context(open(self._log, "ab"))
            self._child = subprocess.Popen(
                self._command(),
                stdout=output or _STDERR,  # stdout is for results
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=self._environment(),
                start_new_session=True,  # a terminal's Ctrl-C reaches the supervisor only, which stops the round
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()
        self._scratch.cleanup()

    def _command(self) -> list[str]:
        assignment, python = self._assignment, sys.executable
        command = [python, "-m", "captionless.trainer.elastic.launch", python, "-m", "torch.distributed.run"]
        if assignment.nodes == 1:
            command += ["--standalone"]
        else:
            command += ["--rdzv-backend", "static", "--rdzv-id", str(assignment.round)]
            command += ["--nnodes", str(assignment.nodes), "--node-rank", str(assignment.rank)]
            command += ["--master-addr", assignment.address, "--master-port", str(assignment.port)]
        if self._log is None:
            command += ["--tee", "3", "--log-dir", str(self.folder / "log")]
            command += ["--log-line-prefix-template", "[${rank}] "]
        command += ["--nproc-per-node", str(self._ranks), "--max-restarts", "0", "-m", "captionless.trainer.worker"]
        command += ["--job", str(self.folder / "job.json"), "--report", str(self.folder)]
        return command + (["--round", str(self._number)] if self._number else [])

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **self._environ,
            env.PARENT: str(os.getpid()),
            "OMP_NUM_THREADS": str(self._job.threads),
            "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(int(self._grace)),
            **({env.PROGRESS: self._shown} if self._shown else {}),
            **(self._lease.environment() if self._lease is not None else {}),
        }

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    @property
    def stepping(self) -> bool:
        """Whether a rank on this node has done a step."""
        return any(status.phase is not Phase.start for status in self._statuses().values())

    def stop(self) -> None:
        """Make all ranks of all nodes stop after the next step, with a checkpoint. Before the first step there is
        nothing to keep, and the ranks on this node are killed."""
        if self.stepping:
            self._child.send_signal(signal.SIGTERM)
        else:
            self.kill()

    def over(self) -> None:
        """The round is lost: what does not exit soon is killed."""
        self._over_since = self._over_since or time.monotonic()

    def check(self) -> None:
        """Check the ranks; call it regularly. Kills the round when one hangs, or one has exited and others do not."""
        statuses = self._statuses()
        if any(self.folder.glob("rank-*.json")):
            self.over()
        storing = 0 in statuses and statuses[0].phase is Phase.storage  # worth waiting for: others only wait for rank 0
        if self._over_since and not storing and time.monotonic() - self._over_since > _LINGER_SECONDS:
            self.kill()
            return
        for rank, status in statuses.items():
            stopped = is_stopped(status.pid)
            limited = stopped or status.phase is Phase.step
            seconds = self._job.train.collective_timeout if limited else PATIENCE_SECONDS
            if self._same_for(f"rank {rank}", (status, stopped)) > seconds:
                self.hung = (
                    f"rank {rank} made no progress for {seconds:.0f} s ({status.phase} after step {status.step})"
                )
        stopped = is_stopped(self._child.pid)
        if self._same_for("torchrun", stopped) > self._job.train.collective_timeout and stopped:
            self.hung = "torchrun was stopped"
        if self.hung:
            self.kill()

    def kill(self) -> None:
        """Kill every process of the round. Retryable when one survives, since two rounds must not write at a time."""
        deadline = time.monotonic() + _KILL_SECONDS
        while pids := with_argument(str(self.folder)) | ({self._child.pid} if self.running else set()):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise Retryable(f"{self._job.title}: process {min(pids)} of the previous round cannot be killed")
            time.sleep(0.01)
        self._child.wait()
        if os.getpid() == 1:  # orphaned ranks are ours to reap
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass

    @property
    def saved(self) -> bool:
        """Whether a checkpoint was stored in this round."""
        return self.saved_step >= 0

    @property
    def saved_step(self) -> int:
        """The step of the last checkpoint that was stored in this round; -1 before the first."""
        return max((status.saved for status in self._statuses().values()), default=-1)

    @property
    def stopped_together(self) -> bool:
        """Whether the ranks stopped after the same step, as they do on all nodes when one receives a signal."""
        return any(report["error"] == Interrupted.__name__ for report in self._reports())

    def error(self, signalled: bool, lost: str) -> CaptionlessError | None:
        """Why the finished round failed; None if all its ranks on this node succeeded.

        signalled: this node received a stop signal. lost: why another node ended the round.
        """
        title = self._job.title
        reports = self._reports()
        if len(reports) == self._ranks and not any(report["error"] for report in reports):
            return None
        for kind in KINDS:
            for report in reports:
                if report["error"] == kind.__name__:
                    return kind(report["line"])
        if signalled:
            return Interrupted(f"{title}: stopped between checkpoints; rerun to resume from the latest")
        if lost:
            return Retryable(f"{title}: {lost}")
        if self.hung:
            return Retryable(f"{title}: {self.hung}; rerun to resume")
        where = "" if self._log is None else f" (see {self._log})"
        for report in reports:
            if report["error"] == CRASH:
                return Retryable(f"{title}: {report['line']}{where}")
        code = self._child.returncode
        return Retryable(f"{title}: a rank was lost, torchrun exited with code {code}; rerun to resume{where}")

    def _statuses(self) -> dict[int, RankStatus]:
        first = self._assignment.rank * self._ranks
        found = {rank: read_status(status_file(self.folder, rank)) for rank in range(first, first + self._ranks)}
        return {rank: status for rank, status in found.items() if status is not None}

    def _reports(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("rank-*.json"))]

    def _same_for(self, what: str, seen: object) -> float:
        """Seconds for which this has been seen unchanged."""
        now = time.monotonic()
        if what not in self._watched or self._watched[what][0] != seen:
            self._watched[what] = (seen, now)
        return now - self._watched[what][1]
