"""Long-lived processes by name: started apart from the calling shell, found again, ended.

A pid file holds the process's number and the moment it began (field 22 of /proc/PID/stat, in clock
ticks since boot), so that a number given to another process since is never taken for ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hack.cluster import layout
from hack.cluster.steps import Failed, tail

_PIDS = layout.RUN / "pids"


def log(name: str) -> Path:
    return layout.LOGS / f"{name}.log"


def began(pid: int) -> int | None:
    """When the process began, in ticks since boot; None when there is none, or only its zombie."""
    try:
        # The second field is the command's name in parentheses and may contain anything. Not `captionless.runtime`:
        # this runs on the system's Python, without the package.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def running(name: str) -> int | None:
    """The pid of the named process while it lives."""
    try:
        noted = json.loads((_PIDS / name).read_text())
    except (OSError, ValueError):
        return None
    now = began(noted["pid"])
    return int(noted["pid"]) if now is not None and now == noted["began"] else None


def noted() -> list[str]:
    """The names of all that was started, the latest first."""
    files = _PIDS.iterdir() if _PIDS.exists() else ()
    return [f.name for f in sorted(files, key=lambda f: f.stat().st_mtime, reverse=True)]


_NICENESS = -10
"""What the node is made of goes before the load beside it: a control plane that waits for a processor loses Leases and
fails probes, which looks like a fault of what is tested."""
_PARENT_OF_PODS = "containerd"
"""Pods inherit its niceness: what is tested competes with the load as it would anywhere."""


def start(name: str, command: Sequence[str | Path], environment: Mapping[str, str]) -> bool:
    """Starts the process unless it lives; whether it was started."""
    if running(name) is not None:
        return False
    _PIDS.mkdir(parents=True, exist_ok=True)
    layout.LOGS.mkdir(parents=True, exist_ok=True)
    niceness = 0 if name == _PARENT_OF_PODS else _NICENESS
    adjusted = ("nice", "-n", str(niceness - os.nice(0)))  # it only warns where that is not allowed
    with log(name).open("ab") as file:
        child = subprocess.Popen(
            [*adjusted, *(str(c) for c in command)], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            start_new_session=True, cwd="/", env={**os.environ, **environment},
        )  # fmt: skip
    (_PIDS / name).write_text(json.dumps({"pid": child.pid, "began": began(child.pid)}))
    return True


def wait_for(what: str, ready: Callable[[], bool], seconds: float, process: str = "") -> None:
    """Waits until `ready`; Failed with the process's log if it exits first or the time limit is reached."""
    deadline = time.monotonic() + seconds
    while not ready():
        dead = bool(process) and running(process) is None
        if dead or time.monotonic() > deadline:
            why = f"{process} has exited" if dead else f"not ready after {seconds:.0f} s"
            shown = f"; the end of {log(process)}:\n{tail(log(process))}" if process else ""
            raise Failed(f"{what}: {why}{shown}")
        time.sleep(0.1)


def stop(names: Sequence[str], patience: float = 5.0) -> None:
    """Ends the processes with SIGTERM all at once, with SIGKILL what has not ended within `patience` seconds."""
    pids = {name: pid for name in names if (pid := running(name)) is not None}
    for pid in pids.values():
        send(pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while any(running(n) for n in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    for name, pid in pids.items():
        if running(name):
            send(pid, signal.SIGKILL)
    for name in pids:
        while running(name):
            time.sleep(0.02)
    for name in names:
        (_PIDS / name).unlink(missing_ok=True)


def send(pid: int, number: int) -> None:
    """Signals the process, if there still is one."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
