"""Embeddings of point clouds by a trained encoder, the same on every call.

Clouds are stored ones: (n, P, 3 or more), xyz first, y up, in the unit sphere, in farthest-point order, so that the
first points are a farthest point sample. The model is put into evaluation mode and stays on its device. ValueError if P
is less than the requested number of points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from captionless.trainer.data.augment import evaluation_clouds, with_channels
from captionless.trainer.data.training_data import TrainingData
from captionless.trainer.distributed import RowBlock, by_blocks
from captionless.trainer.encoders.encoder import Encoder

ENCODED_TOGETHER = 64
"""Clouds that are encoded at once."""


def encode_points(
    model: Encoder, points: NDArray[Any], n_points: int, batch_size: int = ENCODED_TOGETHER
) -> NDArray[np.float32]:
    """L2-normalised embeddings, (n, embed_dim) float32, of the first `n_points` points of each cloud."""
    return _rows(model, (functional.normalize(e, dim=-1) for e in _embedded(model, points, n_points, batch_size)))


def embed_points(
    model: Encoder, points: NDArray[Any], n_points: int, batch_size: int = ENCODED_TOGETHER
) -> NDArray[np.float32]:
    """The same as the encoder gives them, not normalised."""
    return _rows(model, _embedded(model, points, n_points, batch_size))


def _embedded(model: Encoder, points: NDArray[Any], n_points: int, batch_size: int) -> Iterator[Tensor]:
    model.eval()
    like = next(model.parameters())
    for start in range(0, len(points), batch_size):
        clouds = evaluation_clouds(points[start : start + batch_size], n_points)
        batch = torch.from_numpy(with_channels(clouds, model.in_channels)).to(like)
        with torch.no_grad():
            embedded = model(batch).float()
        yield embedded


def _rows(model: Encoder, batches: Iterator[Tensor]) -> NDArray[np.float32]:
    return np.concatenate([np.zeros((0, model.embed_dim), np.float32), *(batch.cpu().numpy() for batch in batches)])


def encode_all(
    model: Encoder, data: TrainingData, objects: NDArray[np.int64], beat: Callable[[], None] = lambda: None
) -> NDArray[np.float32]:
    """`encode_points` of some objects of the training data, by all ranks together and on every rank; `beat` is called
    after each few of them. DataError when one is damaged."""
    return by_blocks(encoding(model, data, objects, strict=True), len(objects), ENCODED_TOGETHER, beat)


def encoding(model: Encoder, data: TrainingData, objects: NDArray[np.int64], strict: bool = False) -> RowBlock:
    """What encodes some of these objects, by their places among them. strict: see `TrainingData.clouds`."""

    def block(at: NDArray[np.int64]) -> NDArray[np.float32]:
        return encode_points(model, data.clouds(objects[at], strict), data.spec.points)

    return block
