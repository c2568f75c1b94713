"""Labelled clouds in memory: what validates, and the batches of the rest, each a pure function of (seed, step)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captionless.spec import AugmentSpec
from captionless.trainer.augment import training_clouds
from captionless.trainer.seeds import generator, number


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


def batch_of(step: int, objects: int, size: int, seed: int) -> tuple[int, NDArray[np.int64]]:
    """The epoch of a step (from 0) and the places among so many objects of its batch, (size,) int64.

    An epoch is a permutation drawn from (seed, epoch); the incomplete last batch is dropped. size: at most `objects`.
    """
    epoch, place = divmod(step, objects // size)
    order = generator("order", seed, epoch).permutation(objects)
    return epoch, order[place * size : (place + 1) * size]


def validates(keys: Sequence[str], labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """Which objects validate, (n,) bool: of each class the `share`, rounded, that a hash of (seed, key) puts first.

    At least one object of a class validates where there are two, and at least one trains. Whether an object does
    depends on no other class.
    """
    chosen = np.zeros(len(keys), dtype=bool)
    for label in np.unique(labels):
        own = sorted(np.flatnonzero(labels == label).tolist(), key=lambda i: number("validation", seed, keys[i]))
        chosen[own[: min(max(round(share * len(own)), 1), len(own) - 1)]] = True
    return chosen
