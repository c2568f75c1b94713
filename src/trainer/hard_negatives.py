"""The search behind hard-negative batches: the nearest neighbours of every training object in the embedding space.

It is repeated every `train.batches.every` epochs, by all ranks together, and stored in checkpoints, since a run that
resumes between two searches could not reproduce it. Before the first search batches are random.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from captionless.trainer.data.training_data import TrainingData
from captionless.trainer.distributed import by_blocks
from captionless.trainer.encoders.encoder import Encoder
from captionless.trainer.infer import encode_all

_BLOCK = 64


class HardNegatives:
    """Gives a run's data the nearest neighbours that its batches are made of, if `train.batches` requires them."""

    def __init__(self, data: TrainingData) -> None:
        self._data, self._spec = data, data.spec.batches
        self._epoch = 0  # at whose beginning the last search was

    def due(self, step: int) -> bool:
        """Whether a search has to come before this step (from 0)."""
        every = self._spec.every
        return self._spec.kind == "neighbours" and self._data.epoch(step) // every > self._epoch // every

    def search(self, encoder: Encoder, step: int) -> None:
        """Find the neighbours for the batches of this step and later ones."""
        embeddings = encode_all(encoder, self._data, self._data.training)
        self._data.nearest = nearest(embeddings, self._spec.candidates)
        self._epoch = self._data.epoch(step)

    def state_dict(self) -> dict[str, Any]:
        """The last search, for a checkpoint."""
        found = self._data.nearest
        return {"epoch": self._epoch, "nearest": None if found is None else torch.from_numpy(found)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._epoch = state["epoch"]
        self._data.nearest = None if state["nearest"] is None else state["nearest"].numpy()


def nearest(embeddings: NDArray[np.float32], k: int) -> NDArray[np.int32]:
    """The places of every object's k nearest by cosine, (n, k) int32, nearest first; equal ones in order of place.

    embeddings: (n, D), L2-normalised, the same on every rank. ValueError unless 1 <= k < n.
    """
    if not 1 <= k < len(embeddings):
        raise ValueError(f"cannot find {k} neighbours among {len(embeddings)} objects")
    every = torch.from_numpy(embeddings)

    def block(places: NDArray[np.int64]) -> NDArray[np.int32]:
        products = every[places] @ every.t()
        products[torch.arange(len(places)), torch.from_numpy(places)] = -torch.inf
        return products.sort(dim=1, descending=True, stable=True).indices[:, :k].numpy().astype(np.int32)

    return by_blocks(block, len(embeddings), _BLOCK)
