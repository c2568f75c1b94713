"""Rows that all ranks compute together, stored as they go, so that a run that is killed need not repeat them.

    <folder>/<step>-<digest>/<name>-<first row>-<digest>.npy

The folder's digest is that of the encoder's weights: after a restart from the checkpoint that was stored before the
first row, they are the same, and so would be the rows. A file's is that of its bytes: a damaged one, and what follows
it, is computed again.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.store import objects
from captionless.store.shards import decode_array, encode_array
from captionless.trainer import distributed
from captionless.trainer.distributed import RowBlock
from captionless.trainer.encoders.encoder import Encoder

_STORED_EVERY = 60.0  # seconds: what is lost at most, and a share of the time that storing takes


_NAME = re.compile(r"(.+)-(\d{10})-([0-9a-f]{16})\.npy")


class UnfinishedRows:
    """What is being computed with an encoder before a step, below a folder; without one nothing is stored.

    check: called before anything is stored or removed; an exception prevents it.
    """

    def __init__(self, folder: str, encoder: Encoder, step: int, check: Callable[[], None] = lambda: None) -> None:
        self._above, self._check = folder, check
        self._folder = objects.join(folder, f"{step:08d}-{_digest(encoder)}") if folder else ""

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
        """Removes all that is below the folder, once it has served its purpose, with what earlier steps have left."""
        if self._folder and distributed.rank() == 0:
            self._check()
            objects.remove(self._above)

    def _store(self, name: str, rows: NDArray[Any], first: int) -> None:
        data = encode_array(rows)
        self._check()
        objects.write_bytes(objects.join(self._folder, f"{name}-{first:010d}-{_of_bytes(data)}.npy"), data)

    def _stored(self, name: str) -> list[NDArray[Any]]:
        """The rows that are stored, as far as there is no gap and no damage; the same on every rank."""
        if not self._folder:
            return []
        return [decode_array(data, name) for data in distributed.from_first(self._intact(name))]

    def _intact(self, name: str) -> list[bytes]:
        """The files of `_stored`, as rank 0 finds them."""
        found: list[bytes] = []
        if distributed.rank() == 0:
            rows = 0
            for file in objects.list_names(self._folder):
                matched = _NAME.fullmatch(file)
                if matched and matched[1] == name and int(matched[2]) == rows:
                    data = objects.read_bytes(objects.join(self._folder, file))
                    if _of_bytes(data) != matched[3]:
                        break
                    found.append(data)
                    rows += len(decode_array(data, file))
        return found


def _of_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _digest(encoder: Encoder) -> str:
    state = encoder.state_dict()
    found = hashlib.sha256()
    for name in sorted(state):
        found.update(state[name].detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
