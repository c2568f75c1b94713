"""Dying with the parent, so that a `kill -9` of the process that started this one leaves no orphan that writes on."""

from __future__ import annotations

import os
import signal
import sys

from captionless.errors import Interrupted
from captionless.runtime import env
from captionless.runtime.processes import is_alive

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends. Does nothing but on Linux."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_with_parent() -> None:
    """Makes this process end with its parent and with the process that PARENT names; exits if that has already ended.

    PARENT need not be the direct parent: torchrun is between a rank and its supervisor. Does nothing without it.
    """
    named = os.environ.pop(env.PARENT, "")
    if named:
        die_with_parent()
        if not is_alive(int(named)):
            os._exit(Interrupted.exit_code)
