"""Who a process is, for others that find its name where they want to work, perhaps on another host.

Where two processes run on one machine and in one namespace of process ids, one knows whether the other is alive. A pod
knows that its predecessor of the same Job and index is gone. Of any other process nothing is known but what it writes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from captionless.runtime import env, processes
from captionless.runtime.redaction import redacted

Standing = Literal["gone", "stopped", "running", "unknown"]

_COMMAND = 200
"""Characters of a command that are kept."""


@dataclass(frozen=True)
class Identity:
    """A process.

    machine: names the running system and its namespace of process ids, "" where it has no such names. started: as
    `processes.start_time`. pod, job, index: in a pod of a Job its name, the Job's uid and the index, else empty.
    command: as typed, without secrets. since: when this was asked, ISO 8601 in UTC.
    """

    host: str
    machine: str
    pid: int
    started: int
    pod: str
    job: str
    index: str
    command: str
    since: str

    @classmethod
    def read(cls, document: Any) -> Identity | None:
        """The identity that `document` made; None for anything else."""
        try:
            return cls(**{field.name: document[field.name] for field in fields(cls)})
        except (TypeError, KeyError):
            return None

    def document(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def standing(self) -> Standing:
        """Whether the process still exists, as far as this one can know."""
        here = this_process()
        if self.machine and self.machine == here.machine:
            if not processes.is_alive(self.pid) or processes.start_time(self.pid) != self.started:
                return "gone"
            return "stopped" if processes.is_stopped(self.pid) else "running"
        return "gone" if self.job and (self.job, self.index) == (here.job, here.index) else "unknown"

    def __str__(self) -> str:
        where = f"pod {self.pod}" if self.pod else f"host {self.host}"
        return f"`{self.command}` ({where}, process {self.pid}, since {self.since})"


def this_process() -> Identity:
    """The identity of this process."""
    program = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"
    if program == "__main__.py":
        program = "captionless"
    return Identity(
        socket.gethostname(),
        _machine(),
        os.getpid(),
        processes.start_time(os.getpid()),
        os.environ.get(env.POD, ""),
        os.environ.get(env.JOB_UID, ""),
        os.environ.get(env.INDEX, ""),
        redacted(" ".join([program, *sys.argv[1:]]))[:_COMMAND],
        datetime.now(UTC).isoformat(" ", "seconds").removesuffix("+00:00") + " UTC",
    )


def _machine() -> str:
    with contextlib.suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{os.readlink('/proc/self/ns/pid')}"
    return ""
