"""Which training objects are held out for validation, to select among weights."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from captionless.trainer.seeds import number


def held_out(keys: Sequence[str], classes: Sequence[Hashable], share: float, seed: int = 0) -> NDArray[np.bool_]:
    """Which objects validate, (n,) bool: of each class the `share`, rounded, that a hash of (seed, key) puts first.

    At least one object of a class validates where there are two, and at least one trains; none does when `share` is 0.
    Whether an object does depends on no other class.
    """
    found, own = np.zeros(len(keys), dtype=bool), dict[Hashable, list[int]]()
    if share <= 0:
        return found
    for place, name in enumerate(classes):
        own.setdefault(name, []).append(place)
    for places in own.values():
        places.sort(key=lambda i: number("validation", seed, keys[i]))
        found[places[: min(max(round(share * len(places)), 1), len(places) - 1)]] = True
    return found
