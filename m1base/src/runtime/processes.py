"""Other processes of this machine, as /proc describes them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def state(pid: int) -> str:
    """The state letter of a process in /proc/PID/stat, such as R, S, T or Z; "" where it cannot be read."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since the machine did; 0 where it cannot be read. With its id, it names a
    process for as long as the machine runs."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return 0


def is_alive(pid: int) -> bool:
    """Whether a process with this id exists and has not ended; a zombie has ended."""
    if state(pid) in ("Z", "X"):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def with_argument(text: str) -> set[int]:
    """The processes whose command line contains a text; those that have exited have none."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if text.encode() in entry.read_bytes():
                found.add(int(entry.parent.name))
    return found


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal or a debugger."""
    return state(pid) in ("T", "t")
