"""A child that does not outlive its parent: killed with it, so that no orphan goes on writing (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

SUPERVISOR = "CAPTIONLESS_SUPERVISOR"
"""Environment variable with the process id of a rank's supervisor, torchrun's parent."""

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends. Does nothing but on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Whether there is a process with this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
