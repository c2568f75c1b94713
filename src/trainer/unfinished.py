"""Rows that all ranks compute together, stored as they go, so that a run that is killed need not repeat them.

    unfinished/<step>-<digest>/<name>.<first row>.npy

The digest is that of the encoder's weights: after a restart from the checkpoint that was stored before the first row,
they are the same, and so would be the rows.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.store import objects
from captionless.store.arrays import write_array
from captionless.store.shards import decode_array
from captionless.trainer import distributed
from captionless.trainer.distributed import RowBlock
from captionless.trainer.encoders.encoder import Encoder
from captionless.trainer.run_folder import UNFINISHED

_STORED_EVERY = 60.0  # seconds: what is lost at most, and a share of the time that storing takes


class UnfinishedRows:
    """What is being computed with an encoder before a step, in a run's folder; without a folder nothing is stored."""

    def __init__(self, run: str, encoder: Encoder, step: int) -> None:
        self._run = run
        self._folder = objects.join(run, UNFINISHED, f"{step:08d}-{_digest(encoder)}") if run else ""

    def rows(self, name: str, block: RowBlock, count: int, size: int, beat: Callable[[], None]) -> NDArray[Any]:
        """`distributed.by_blocks`; what is stored of it already is not computed again."""
        parts = self._stored(name)
        done = sum(map(len, parts))
        stored, at = done, time.monotonic()
        for rows in distributed.in_waves(block, done, count, size, beat):
            parts.append(rows)
            done += len(rows)
            if self._folder and distributed.rank() == 0 and time.monotonic() - at > _STORED_EVERY and done < count:
                self._store(name, np.concatenate(parts)[stored:], stored)
                stored, at = done, time.monotonic()
        return np.concatenate([block(np.arange(0)), *parts])

    def remove(self) -> None:
        """All of it is done, and what it was for has been made: so is what was left by other searches."""
        if self._folder and distributed.rank() == 0:
            objects.remove(objects.join(self._run, UNFINISHED))

    def _store(self, name: str, rows: NDArray[Any], first: int) -> None:
        write_array(objects.join(self._folder, f"{name}.{first:010d}.npy"), rows)

    def _stored(self, name: str) -> list[NDArray[Any]]:
        """The rows that are stored, as far as there is no gap; the same on every rank."""
        if not self._folder:
            return []
        files = []
        if distributed.rank() == 0:
            files = [file for file in objects.list_names(self._folder) if file.startswith(f"{name}.")]
        found: list[NDArray[Any]] = []
        for file in distributed.from_first(files):
            if int(file.split(".")[1]) != sum(map(len, found)):
                break
            url = objects.join(self._folder, file)
            found.append(decode_array(objects.read_bytes(url), url))
        return found


def _digest(encoder: Encoder) -> str:
    state = encoder.state_dict()
    found = hashlib.sha256()
    for name in sorted(state):
        found.update(state[name].detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
