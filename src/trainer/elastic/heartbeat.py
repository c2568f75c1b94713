"""What a rank tells its supervisor while it works, so that one that stands still is noticed.

A rank that is stopped, or waits for one that is, neither fails nor ends: all that can be seen of it is that nothing
changes any more. So each rank overwrites a small file of its own after every step, and its supervisor measures how
long the file has been the same. How long it may be depends on what the rank is at. A step has the spec's
`train.collectiveTimeout`. Storage has more: a server that is gone is tried again for two minutes, and other ranks
wait for the one that reads or writes. So has the way to the first step: libraries are imported, its batch is read,
kernels are compiled.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

PATIENCE_SECONDS = 900.0
"""How long a start or an access to storage may take: 8 GB at 10 MB/s are a quarter of an hour."""


class Phase(StrEnum):
    """What a rank is at."""

    start = "start"
    step = "step"
    storage = "storage"


@dataclass(frozen=True)
class Beat:
    """pid: the rank's process. phase: what it is at. step: how many steps are done. saved: after which step it last
    saw that a checkpoint is stored, -1 while it saw none."""

    pid: int
    phase: Phase = Phase.start
    step: int = 0
    saved: int = -1


class Heartbeat:
    """A rank's own side; without a path nobody listens."""

    def __init__(self, path: Path | None = None) -> None:
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        self._beat = Beat(os.getpid())
        self._tell()

    def step(self, done: int) -> None:
        """`done` steps are done."""
        self._tell(phase=Phase.step, step=done)

    @contextlib.contextmanager
    def storage(self) -> Iterator[None]:
        """Around what reads or writes storage, and around waiting for a rank that does."""
        before = self._beat.phase
        self._tell(phase=Phase.storage)
        yield
        self._tell(phase=before)

    def saved(self) -> None:
        """A checkpoint of a step up to this one is stored."""
        self._tell(saved=self._beat.step)

    def _tell(self, **changes: object) -> None:
        self._beat = replace(self._beat, **changes)  # type: ignore[arg-type]
        if self._file is not None:
            os.pwrite(self._file, (json.dumps(asdict(self._beat)) + "\n").ljust(96).encode(), 0)


def path_of(folder: Path, rank: int) -> Path:
    """The file of a rank's heartbeat."""
    return folder / f"rank-{rank}.beat"


def read(path: Path) -> Beat | None:
    """A rank's last beat; None while there is none, or one just being written."""
    try:
        found = json.loads(path.read_text())
        return Beat(int(found["pid"]), Phase(found["phase"]), int(found["step"]), int(found["saved"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
