"""One round of a training on this node: a torchrun, its ranks, and what became of them.

torchrun exits 1 whatever happened, so each rank leaves the cause of its end as a file (`worker`), and shows that it
is alive by another (`heartbeat`). The round's folder holds both; its path is part of the command line of torchrun and
of every rank, and that is how all of them are found and killed: torchrun starts each rank in a session of its own, a
signal to a process group would miss them, and one that starts just when torchrun dies has no parent to be found by.
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
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from captionless.errors import KINDS, CaptionlessError, Interrupted, Retryable
from captionless.runtime import env
from captionless.trainer.elastic import heartbeat
from captionless.trainer.elastic.heartbeat import PATIENCE_SECONDS, Beat, Phase
from captionless.trainer.elastic.rendezvous import NodeAssignment
from captionless.trainer.training_job import TrainingJob

"""Which cause speaks for the round when ranks ended differently: the earliest named here."""

_LINGER_SECONDS = 5.0
"""What the other ranks get, once the round is over, to end by themselves and say why."""

_KILL_SECONDS = 30.0


class Round:
    """A started round, as a context manager that leaves no process behind.

    ranks: how many are on this node. number: counts the rounds of this supervisor and is shown with the progress; 0:
    there is but one. log: gets the output of torchrun and of the ranks; None: it goes where the supervisor's goes, each
    line with its rank. grace: seconds that the ranks have to end after `stop`. shown: a file for rank 0's progress.
    """

    def __init__(
        self,
        job: TrainingJob,
        ranks: int,
        place: NodeAssignment,
        number: int,
        log: Path | None,
        grace: float,
        shown: str | None = None,
    ) -> None:
        self._job, self._place, self._ranks, self._number = job, place, ranks, number
        self._log, self._grace, self._shown = log, grace, shown
        self._watched: dict[str, tuple[object, float]] = {}
        self._over_since: float | None = None
        self.hung = ""

    def __enter__(self) -> Self:
        self._scratch = tempfile.TemporaryDirectory(prefix="captionless-train-", ignore_cleanup_errors=True)
        self.folder = Path(self._scratch.name)
        (self.folder / "job.json").write_text(self._job.model_dump_json())
        with contextlib.ExitStack() as stack:
            output: IO[bytes] | None = None
            if self._log is not None:
                self._log.parent.mkdir(parents=True, exist_ok=True)
                output = stack.enter_context(open(self._log, "ab"))
            self._child = subprocess.Popen(
                self._command(),
                stdout=output,
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
        place, python = self._place, sys.executable
        command = [python, "-m", "captionless.trainer.elastic.launch", python, "-m", "torch.distributed.run"]
        if place.nodes == 1:
            command += ["--standalone"]
        else:
            command += ["--rdzv-backend", "static", "--rdzv-id", str(place.round)]
            command += ["--nnodes", str(place.nodes), "--node-rank", str(place.rank)]
            command += ["--master-addr", place.address, "--master-port", str(place.port)]
        if self._log is None:
            command += ["--tee", "3", "--log-dir", str(self.folder / "log")]
            command += ["--log-line-prefix-template", "[${rank}] "]
        command += ["--nproc-per-node", str(self._ranks), "--max-restarts", "0", "-m", "captionless.trainer.worker"]
        command += ["--job", str(self.folder / "job.json"), "--report", str(self.folder)]
        return command + (["--round", str(self._number)] if self._number else [])

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            env.PARENT: str(os.getpid()),
            "OMP_NUM_THREADS": str(self._job.threads),
            "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(int(self._grace)),
            **({env.PROGRESS: self._shown} if self._shown else {}),
        }

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    @property
    def stepping(self) -> bool:
        """Whether a rank here has done a step."""
        return any(beat.phase is not Phase.start for beat in self._beats().values())

    def stop(self) -> None:
        """Have all ranks of all nodes stop at the next step, with a checkpoint. Before the first step there is nothing
        to keep, and the ranks here are killed."""
        if self.stepping:
            self._child.send_signal(signal.SIGTERM)
        else:
            self.kill()

    def over(self) -> None:
        """The round is lost: what does not end soon is killed."""
        self._over_since = self._over_since or time.monotonic()

    def check(self) -> None:
        """Look after the ranks, now and then: kill the round when one stands still, or one ended and others do not."""
        beats = self._beats()
        if any(self.folder.glob("rank-*.json")):
            self.over()
        storing = 0 in beats and beats[0].phase is Phase.storage  # worth waiting for: others only wait for rank 0
        if self._over_since and not storing and time.monotonic() - self._over_since > _LINGER_SECONDS:
            self.kill()
            return
        for rank, beat in beats.items():
            stopped = _is_stopped(beat.pid)
            limited = stopped or beat.phase is Phase.step
            seconds = self._job.train.collective_timeout if limited else PATIENCE_SECONDS
            if self._same_for(f"rank {rank}", (beat, stopped)) > seconds:
                self.hung = f"rank {rank} made no progress for {seconds:.0f} s ({beat.phase} after step {beat.step})"
        stopped = _is_stopped(self._child.pid)
        if self._same_for("torchrun", stopped) > self._job.train.collective_timeout and stopped:
            self.hung = "torchrun was stopped"
        if self.hung:
            self.kill()

    def kill(self) -> None:
        """End every process of the round at once. Retryable when one cannot be killed: two rounds must not write."""
        deadline = time.monotonic() + _KILL_SECONDS
        while pids := _processes_with(str(self.folder)) | ({self._child.pid} if self.running else set()):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise Retryable(f"{self._job.title}: process {min(pids)} of the last round cannot be killed")
            time.sleep(0.01)
        self._child.wait()
        if os.getpid() == 1:  # orphaned ranks are ours to bury
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass

    @property
    def saved(self) -> bool:
        """Whether a checkpoint was stored in this round."""
        return any(beat.saved >= 0 for beat in self._beats().values())

    @property
    def stopped_together(self) -> bool:
        """Whether the ranks stopped at a common step, as they do on all nodes when one is told to."""
        return any(report["error"] == Interrupted.__name__ for report in self._reports())

    def error(self, signalled: bool, lost: str) -> CaptionlessError | None:
        """Why the round, which has ended, did not end well; None when all its ranks here did.

        signalled: this node was told to stop. lost: what another node said of the round's end.
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
            return Interrupted(f"{title}: stopped between checkpoints; run again to go on from the newest")
        if lost:
            return Retryable(f"{title}: {lost}")
        if self.hung:
            return Retryable(f"{title}: {self.hung}; run again to go on")
        where = "" if self._log is None else f" (details in {self._log})"
        for report in reports:
            if report["error"] == "crash":
                return Retryable(f"{title}: {report['line']}{where}")
        code = self._child.returncode
        return Retryable(f"{title}: a rank was lost, torchrun ended with code {code}; run again to go on{where}")

    def _beats(self) -> dict[int, Beat]:
        first = self._place.rank * self._ranks
        found = {
            rank: heartbeat.read(heartbeat.path_of(self.folder, rank)) for rank in range(first, first + self._ranks)
        }
        return {rank: beat for rank, beat in found.items() if beat is not None}

    def _reports(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("rank-*.json"))]

    def _same_for(self, what: str, seen: object) -> float:
        """Seconds since this began to look as it does."""
        now = time.monotonic()
        if what not in self._watched or self._watched[what][0] != seen:
            self._watched[what] = (seen, now)
        return now - self._watched[what][1]


def _processes_with(word: str) -> set[int]:
    """Processes that run with a text in their command line; dead ones have none."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word.encode() in entry.read_bytes():
                found.add(int(entry.parent.name))
    return found


def _is_stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal (or a debugger)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in ("T", "t")
