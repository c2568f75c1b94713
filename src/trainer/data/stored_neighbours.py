"""The neighbours of hard-negative batches, from a stored table (`train.batches.from`) instead of the run's own search.

OpenShape trains to near convergence, mines once with that encoder, and trains on. The table is what `captionless
neighbours` stores: the nearest of each object of the training split, by any encoder, in its category or among all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError, SpecError
from captionless.spec.train import BatchesSpec
from captionless.store.columns import Strings
from captionless.store.neighbour_store import open_neighbours

_AT_ONCE = 1 << 16  # objects


def stored_neighbours(spec: BatchesSpec, keys: Strings, data: str) -> NDArray[np.int32]:
    """The places among some objects, which a run trains on, of each one's neighbours, nearest first: (n, candidates).

    The table also has objects that are held out for validation. These are passed over, so that no batch has them, and
    those after them move up; the last places of an object with fewer neighbours are -1. keys: of the objects. data:
    digest of the embeddings of the whole training split.

    Raises:
        DataError: no table, a damaged one, one without an object, or one of other embeddings.
        SpecError: it has fewer neighbours of an object than candidates.
    """
    url, candidates = spec.from_, spec.candidates
    store = open_neighbours(url)
    store.places(keys)
    if store.data != data:
        found = "other embeddings than this run's" if store.data else "embeddings that it does not name"
        raise DataError(
            f"{url}: made from {found} (digest {store.data[:12] or 'missing'}, expected {data[:12]}); run neighbours "
            "on this dataset"
        )
    if store.k < candidates:
        raise SpecError(
            f"train.batches.candidates: {candidates}, but {url} has the {store.k} nearest of each object; lower it, or "
            f"run neighbours with --k {candidates}"
        )
    nearest = np.empty((len(keys), candidates), np.int32)
    every = store.nearest(keys)
    for at in range(0, len(keys), _AT_ONCE):
        rows = every[at : at + _AT_ONCE]
        order = np.argsort(rows < 0, axis=1, kind="stable")[:, :candidates]
        nearest[at : at + _AT_ONCE] = np.take_along_axis(rows, order, 1)
    return nearest
