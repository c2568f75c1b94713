"""Executes another program that dies with its parent: `python -m captionless.trainer.elastic.launch PROGRAM ...`.

torchrun has no such option, and setting it between fork and exec is not safe in a process with threads; the kernel
keeps it across exec. The ranks, which torchrun starts, are given its process id as the parent that they must not
outlive (`runtime.parent_death`).
"""

from __future__ import annotations

import os
import sys

from captionless.runtime import env
from captionless.runtime.parent_death import end_with_parent

if __name__ == "__main__":
    end_with_parent()
    os.environ[env.PARENT] = str(os.getpid())
    os.execv(sys.argv[1], sys.argv[1:])
