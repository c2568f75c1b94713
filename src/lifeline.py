"""A child that does not outlive its parent: killed with it, so that no orphan goes on writing (Linux)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

from captionless import environment
from captionless.errors import Interrupted

SUPERVISOR = environment.PARENT
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends. Does nothing but on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_with_parent() -> None:
    """Bind this process's life to its parent's and to the process that PARENT names; ends it if that one is gone.

    PARENT need not be the direct parent: torchrun stands between a rank and its supervisor. Does nothing without it.
    """
    named = os.environ.pop(environment.PARENT, "")
    if named:
        die_with_parent()
        if not is_alive(int(named)):
            os._exit(Interrupted.exit_code)


def is_alive(pid: int) -> bool:
    """Whether there is a process with this id that has not ended; one that nobody has reaped yet has ended."""
    with contextlib.suppress(OSError, IndexError):
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
