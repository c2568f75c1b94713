"""Whole shards on the node's disk before the steps that need them, for a windowed shuffle.

Each step opens few new shards, and each of these serves many steps: so it pays to read it whole, in few large requests,
where objects that are anywhere can only be read one by one. Ranks of a node share the copies, and a shard that several
want is read once.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from captionless.store.embeddings import Embeddings
from captionless.telemetry.progress import say

WITHOUT_DISK = (
    "train.batches.shuffle: windowed reads whole shards only onto a disk, and resources.dataDisk is not set: objects "
    "are read one by one; set it to what the node's disk can spare"
)
"""What is said where a windowed shuffle saves no requests."""

_REQUESTS = 8  # shards at a time; each is a request for every 8 MB


class ShardsAhead:
    """Copies the shards of coming steps, for any number of threads.

    wanted: the epoch of a step, and the objects that this rank reads from storage for it, (n,). end: the number of
    steps. batch_size: of all ranks. window: objects over which the shuffle mixes.
    """

    def __init__(
        self,
        data: Embeddings,
        wanted: Callable[[int], tuple[int, NDArray[np.int64]]],
        end: int,
        batch_size: int,
        window: int,
    ) -> None:
        self._data, self._wanted, self._end = data, wanted, end
        in_shard = max(1.0, len(data) / max(1, len(data.extents)))
        self._ahead = 2 + int(_REQUESTS * in_shard / batch_size)  # steps in which so many shards are begun
        self.needed = int((window / in_shard + _REQUESTS + 2) * data.extents.max(initial=0))
        """Bytes of the shards that are in use at a time."""
        self._pool = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="shard")
        self._lock = Lock()
        self._begun: dict[tuple[int, int], Future[bool]] = {}  # by epoch and shard
        self._of_step: dict[int, list[Future[bool]]] = {}

    def close(self) -> None:
        """Begins nothing more; does not wait for a storage that is away."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def ready(self, step: int) -> None:
        """Until the shards of a step are on the disk, or turn out not to be readable, which the step's reader reports;
        those of the next steps are begun."""
        with self._lock:
            coming = range(step, min(step + self._ahead, self._end))
            self._of_step = {each: held for each, held in self._of_step.items() if each in coming}
            for each in coming:
                if each not in self._of_step:
                    self._of_step[each] = self._begin(each)
            own = self._of_step.get(step, [])
        wait(own)

    def _begin(self, step: int) -> list[Future[bool]]:
        epoch, chosen = self._wanted(step)
        if not any(of == epoch for of, _ in self._begun):
            self._begun = {place: copied for place, copied in self._begun.items() if place[0] == epoch - 1}
        found = []
        for code in np.unique(self._data.shards.codes[chosen]).tolist():
            if (epoch, code) not in self._begun:
                self._begun[epoch, code] = self._pool.submit(self._data.fetch, code)
            found.append(self._begun[epoch, code])
        return found


def has_room(needed: int, limit: int) -> bool:
    """Whether the shards that a windowed shuffle uses at a time fit on the disk; says so where they don't."""
    if needed > limit:
        say(
            f"train.batches.window: its shards take {needed:,} bytes, resources.dataDisk has {limit:,}: objects are "
            "read one by one; lower the one or raise the other"
        )
    return needed <= limit
