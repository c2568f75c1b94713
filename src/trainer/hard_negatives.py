"""The search behind hard-negative batches: the nearest neighbours of every training object in the embedding space.

It is repeated every `train.batches.every` epochs, by all ranks together, and stored in checkpoints, since a run that
resumes between two searches could not reproduce it. Before the first search batches are random. With
`train.batches.from` there is none: the neighbours are read, before the first step, from where they are stored.

A search encodes all training objects, and compares each with all others, a block of them at a time (see
`nearest_neighbours`). Both may take hours. So ranks report each block that is done, and what all have done is stored as
they go (`unfinished`): a run that is killed on the way resumes from the checkpoint of before the search, and goes on
with what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from captionless.nearest_neighbours import NearestNeighbours, scales
from captionless.trainer import nearest_on_device
from captionless.trainer.data.stored_neighbours import stored_neighbours
from captionless.trainer.data.training_data import TrainingData
from captionless.trainer.distributed import RowBlock
from captionless.trainer.encoders.encoder import Encoder
from captionless.trainer.infer import ENCODED_TOGETHER, encoding
from captionless.trainer.unfinished import UnfinishedRows

_COMPARED_TOGETHER = 1024  # objects, with all others: a few seconds a million and core


class HardNegatives:
    """Gives a run's data the nearest neighbours that its batches are made of, if `train.batches` requires them.

    folder: where a search that is under way is stored, see `unfinished`; so is check.
    """

    def __init__(self, data: TrainingData, folder: str = "", check: Callable[[], None] = lambda: None) -> None:
        self._data, self._spec, self._folder, self._check = data, data.spec.batches, folder, check
        self._epoch = 0  # at whose beginning the last search was
        if self._spec.from_:
            data.nearest = stored_neighbours(self._spec, data.keys.taken(data.training), data.digest)

    def due(self, step: int) -> bool:
        """Whether a search has to come before this step (from 0)."""
        every = self._spec.every
        return self._searches and self._data.epoch(step) // every > self._epoch // every

    def search(self, encoder: Encoder, step: int, beat: Callable[[], None] = lambda: None) -> None:
        """Find the neighbours for the batches of this step and later ones; `beat` is called as it goes."""
        data, k = self._data, self._spec.candidates
        count = len(data.training)
        unfinished = UnfinishedRows(self._folder, encoder, step, self._check)
        encode = encoding(encoder, data, data.training)
        embeddings = unfinished.rows("embeddings", encode, count, ENCODED_TOGETHER, beat)
        compare = comparing(embeddings, k, data.keys.taken(data.training), next(encoder.parameters()).device)
        data.nearest = unfinished.rows("nearest", compare, count, _COMPARED_TOGETHER, beat)
        unfinished.remove()
        self._epoch = data.epoch(step)

    def state_dict(self) -> dict[str, Any]:
        """The last search, for a checkpoint."""
        found = self._data.nearest if self._searches else None
        return {"epoch": self._epoch, "nearest": None if found is None else torch.from_numpy(found)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._epoch = state["epoch"]
        if self._searches:
            self._data.nearest = None if state["nearest"] is None else state["nearest"].numpy()

    @property
    def _searches(self) -> bool:
        return self._spec.kind == "neighbours" and not self._spec.from_


def comparing(
    embeddings: NDArray[np.float32], k: int, keys: Sequence[str], device: torch.device = torch.device("cpu")
) -> RowBlock:
    """What finds the places of some objects' k nearest by cosine, (n, k) int32, nearest first; equal ones in order of
    place.

    embeddings: (N, D), of all objects, the same on every rank. ValueError unless 1 <= k < N.
    """
    if not 1 <= k < len(embeddings):
        raise ValueError(f"cannot find {k} neighbours among {len(embeddings)} objects")
    scale = scales(embeddings, 0, keys)
    if device.type != "cpu":
        every, scale_there = torch.from_numpy(embeddings).to(device), torch.from_numpy(scale).to(device)

    def block(places: NDArray[np.int64]) -> NDArray[np.int32]:
        if not len(places):
            return np.empty((0, k), np.int32)
        if device.type != "cpu":
            return nearest_on_device.nearest(every, scale_there, places, k, keys)
        found = NearestNeighbours(embeddings[places], int(places[0]), k, keys)
        found.add(embeddings, 0, scale)
        return found.result()[0]

    return block
