"""How well an encoder finds the objects held out of training: the score that selects a run's result.

The score is retrieval among these objects: each is a query by its image and by its shape, and 1 / rank of the right
answer is averaged over both. Unlike the loss it depends neither on the temperature nor on the weights, so that runs of
different losses select by the same measure; unlike the accuracy it has few ties.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from captionless.telemetry import catalog, registry
from captionless.trainer.data.training_data import TrainingData
from captionless.trainer.distributed import by_blocks
from captionless.trainer.encoders.encoder import Encoder
from captionless.trainer.infer import encode_all

_BLOCK = 1024


class Validation:
    """The scores of a run so far, and its best weights.

    best: `step`, `score`, `encoder` (a state dict) and `log_scale` of the best so far; empty before the first.
    curve: `step` and `mean_reciprocal_rank` of every validation.
    """

    def __init__(self, data: TrainingData) -> None:
        self._data, self._spec, self._steps = data, data.spec.validation, data.spec.steps
        self._image: NDArray[np.float32] | None = None  # of the held-out objects: read once, by all ranks together
        self.best: dict[str, Any] = {}
        self.curve: dict[str, list[float]] = {"step": [], "mean_reciprocal_rank": []}

    def due(self, done: int) -> bool:
        """Whether the weights after so many steps are to be scored."""
        return self._spec.share > 0 and (done % self._spec.every == 0 or done == self._steps)

    def score(self, encoder: Encoder, log_scale: Tensor, done: int, beat: Callable[[], None] = lambda: None) -> None:
        """Score the weights after so many steps, and keep them when they are the best; every rank does. `beat` is
        called as it goes."""
        data, objects = self._data, self._data.validation
        if self._image is None:
            self._image = by_blocks(lambda at: data.images(objects[at]), len(objects), _BLOCK, beat)
            registry.set_value(catalog.TRAIN_DATA_MEMORY, self._image.nbytes, holds="validation")
        score = mean_reciprocal_rank(self._image, encode_all(encoder, data, objects, beat), beat)
        registry.set_value(catalog.TRAIN_VALIDATION, score)
        self.curve["step"].append(done)
        self.curve["mean_reciprocal_rank"].append(score)
        if not self.best or score > self.best["score"]:
            weights = {name: value.detach().clone() for name, value in encoder.state_dict().items()}
            self.best = {"step": done, "score": score, "encoder": weights, "log_scale": log_scale.detach().clone()}

    def state_dict(self) -> dict[str, Any]:
        """The curve and the best, for a checkpoint."""
        return {"best": self.best, "curve": self.curve}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.best, self.curve = state["best"], state["curve"]


def mean_reciprocal_rank(
    image: NDArray[np.float32], shape: NDArray[np.float32], beat: Callable[[], None] = lambda: None
) -> float:
    """The mean of 1 / rank of row i of one among the rows of the other by their products, over both directions; by all
    ranks together.

    image, shape: (n, D), L2-normalised, row i of both is object i. Of equal products the right one is the last.
    """

    def ranks(at: NDArray[np.int64]) -> NDArray[np.int64]:
        found = np.empty((len(at), 2), np.int64)
        for direction, (one, other) in enumerate(((image, shape), (shape, image))):
            products = one[at] @ other.T
            own = np.einsum("id,id->i", one[at], other[at])
            products[np.arange(len(at)), at] = own
            found[:, direction] = (products >= own[:, None]).sum(1)
        return found

    return float((1 / by_blocks(ranks, len(image), _BLOCK, beat)).mean())
