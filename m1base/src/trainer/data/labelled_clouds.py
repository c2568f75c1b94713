"""Labelled clouds in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captionless.spec.train import AugmentSpec
from captionless.trainer.data.augment import training_clouds
from captionless.trainer.seeds import generator


@dataclass(frozen=True)
class Labelled:
    """Objects by key, their stored clouds (n, P, 3) float16 (see `infer`), the places of their classes, (n,) int64."""

    keys: Sequence[str]
    clouds: NDArray[np.float16]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, chosen: NDArray[np.bool_]) -> Labelled:
        """The objects for which `chosen`, (n,), is true."""
        keys = [key for key, taken in zip(self.keys, chosen, strict=True) if taken]
        return Labelled(keys, self.clouds[chosen], self.labels[chosen])

    def augmented(
        self, rows: NDArray[np.int64], m: int, spec: AugmentSpec, seed: int, epoch: int
    ) -> NDArray[np.float32]:
        """Fresh samples of the objects `rows`, (n, m, 3) float32, drawn from (seed, epoch, key)."""
        generators = [generator("sample", seed, epoch, self.keys[i]) for i in rows]
        return training_clouds(self.clouds[rows], m, spec, generators)
