"""Objects whose stored bytes are corrupt are skipped: named, counted, and the same ones on every rank.

A rank reads only its own part of a batch, and the loss is over all of it. So once a step's batch is read the ranks
exchange which of its objects are corrupt, and each rebuilds its part from the others. What the batch then holds does
not depend on the number of ranks, and it is split as evenly as any.
"""

from __future__ import annotations

import sys
from typing import Any

import torch

from captionless.errors import DataError
from captionless.telemetry import catalog, registry
from captionless.trainer import distributed
from captionless.trainer.data.training_data import Batch

_NAMED = 5


class Skipped:
    """The objects that a run skips, at most `limit` (`train.maxSkipped`); with 0 the ranks exchange nothing.

    micro_batches: that a batch is cut into on every rank.
    """

    def __init__(self, title: str, limit: int, micro_batches: int = 1) -> None:
        self._title, self._limit, self._micro_batches = title, limit, micro_batches
        self.keys: list[str] = []
        """The objects so far, in the order in which they were found."""
        self._count()

    def of(self, batch: Batch) -> set[str]:
        """The keys of a global batch that are damaged, the same on every rank. DataError when there are too many
        objects by now, or too few left in the batch."""
        if not self._limit:
            return set()
        own = torch.zeros(batch.sizes[distributed.rank()])
        own[list(batch.damaged)] = 1
        rows = distributed.gather(own, batch.sizes).nonzero().flatten().tolist()
        found = list(dict.fromkeys(batch.keys[row] for row in rows))
        first = sum(batch.sizes[: distributed.rank()])
        for place, error in batch.damaged.items():
            if batch.keys[first + place] not in self.keys:
                print(f"{self._title}: skipped: {error}", file=sys.stderr, flush=True)
        self.keys += [key for key in found if key not in self.keys]
        self._count()
        if len(self.keys) > self._limit:
            named = ", ".join(self.keys[:_NAMED]) + (", ..." if len(self.keys) > _NAMED else "")
            raise DataError(
                f"{self._title}: {len(self.keys)} corrupt objects exceed train.maxSkipped ({self._limit}): {named}"
            )
        left = sum(key not in found for key in batch.keys)
        if found and left < max(2, distributed.world_size() * self._micro_batches):
            named = ", ".join(found[:_NAMED])
            raise DataError(
                f"{self._title}: only {left} of the {len(batch.keys)} objects of a batch are left; corrupt: {named}"
            )
        return set(found)

    def state_dict(self) -> dict[str, Any]:
        """The objects so far, for a checkpoint."""
        return {"keys": self.keys}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.keys = list(state["keys"])
        self._count()

    def _count(self) -> None:
        registry.set_value(catalog.STAGE_SKIPPED_OBJECTS, len(self.keys), cause="damaged")
