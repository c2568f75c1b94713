"""The memory that this process may use, and what it gives back of it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from pathlib import Path

_OF_A_CONTAINER = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def available() -> int:
    """Bytes that the container may use, or those of the machine."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _OF_A_CONTAINER:
        with contextlib.suppress(OSError, ValueError):  # "max"
            found.append(int(Path(path).read_text()))
    return min(found)


def give_back() -> None:
    """After something large was dropped: give back what the C library keeps of it for later.

    A model's weights are many pieces of a few megabytes. They are kept when freed, and cannot serve what is needed in
    one piece of hundreds. Does nothing with another C library than glibc.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
