"""What a rank reports to its supervisor while it works, so that a hang is detected.

A rank that is stopped, or waits for one that is, neither fails nor exits; it just makes no progress. So each rank
overwrites its own small file after every step, and its supervisor measures how long the file has not changed. The limit
depends on the phase. A step has the spec's `train.collectiveTimeout`. Storage has longer: requests to an unavailable
server are retried for two minutes, and other ranks wait for the one that reads or writes. So has everything before the
first step: libraries are imported, the batch is read, kernels are compiled.
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
"""How long the start or an access to storage may take: 8 GB at 10 MB/s take a quarter of an hour."""


class Phase(StrEnum):
    """What a rank is doing."""

    start = "start"
    step = "step"
    storage = "storage"


@dataclass(frozen=True)
class RankStatus:
    """pid: the rank's process. phase: what it is doing. step: steps done. saved: the step after which it last saw that
    a checkpoint is stored, -1 before the first. beats: parts that are done of what takes long between two steps."""

    pid: int
    phase: Phase = Phase.start
    step: int = 0
    saved: int = -1
    beats: int = 0


class Heartbeat:
    """The rank's own side; without a path nothing is reported."""

    def __init__(self, path: Path | None = None) -> None:
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        self._status = RankStatus(os.getpid())
        self._write()

    def step(self, done: int) -> None:
        """`done` steps are done."""
        self._write(phase=Phase.step, step=done)

    @contextlib.contextmanager
    def storage(self) -> Iterator[None]:
        """Around what reads or writes storage, and around waiting for a rank that does."""
        before = self._status.phase
        self._write(phase=Phase.storage)
        yield
        self._write(phase=before)

    def beat(self) -> None:
        """A part is done of what takes long: a search, a validation."""
        self._write(beats=self._status.beats + 1)

    def saved(self) -> None:
        """A checkpoint of a step up to this one is stored."""
        self._write(saved=self._status.step)

    def _write(self, **changes: object) -> None:
        self._status = replace(self._status, **changes)  # type: ignore[arg-type]
        if self._file is not None:
            os.pwrite(self._file, (json.dumps(asdict(self._status)) + "\n").ljust(128).encode(), 0)


def status_file(folder: Path, rank: int) -> Path:
    """The file of a rank's heartbeat."""
    return folder / f"rank-{rank}.beat"


def read_status(path: Path) -> RankStatus | None:
    """A rank's last status; None before the first, and while one is being written."""
    try:
        found = json.loads(path.read_text())
        numbers = (int(found[name]) for name in ("step", "saved", "beats"))
        return RankStatus(int(found["pid"]), Phase(found["phase"]), *numbers)
    except (OSError, ValueError, KeyError, TypeError):
        return None
