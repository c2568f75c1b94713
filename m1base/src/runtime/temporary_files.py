"""Names of temporary files and folders, by which those of killed processes are found and removed.

    $TMPDIR/captionless-<namespace of process ids>-<process id>-...

A folder of temporary files may be shared by containers, in which a process id means something else: only those of this
process's namespace are judged.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from captionless.runtime.processes import is_alive

_NAME = re.compile(r"captionless-(\d+)-(\d+)-.*")


def prefix() -> str:
    """What the names of this process's temporary files and folders begin with."""
    return f"captionless-{_namespace()}-{os.getpid()}-"


def sweep() -> int:
    """Removes what killed processes have left; how many files and folders that were."""
    removed = 0
    for path in _left():
        with contextlib.suppress(OSError):  # another user's
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            removed += 1
    return removed


def _left() -> Iterator[Path]:
    for path in Path(tempfile.gettempdir()).glob("captionless-*"):
        found = _NAME.fullmatch(path.name)
        if found is not None and found[1] == _namespace() and not is_alive(int(found[2])):
            yield path


def _namespace() -> str:
    with contextlib.suppress(OSError):
        return re.sub(r"\D", "", os.readlink("/proc/self/ns/pid"))
    return "0"
