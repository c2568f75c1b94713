"""The embedded data set: per object its view embeddings and its point cloud, by split.

The embed stage writes shards `<split>/00000.tar` with, per object, `.views.npy`
((R, F) float16, rows L2-normalised), `.points.npy` ((P, 6) float16: xyz in the unit
sphere and colour in [0, 1], in farthest-point order) and `.json` (key, category, ...).
Each part's record lists its objects, so that opening a data set reads no shard.

Objects are listed in the order of their keys, whatever shards they are in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.lifeline import threads
from captionless.store import halves, objects
from captionless.store.ledger import Ledger
from captionless.store.shards import Shard, decode_array

NORM_TOLERANCE = 5e-3
"""How far from 1 a stored row's norm may be: float16 rounding stays well below it."""

_REQUESTS = 8  # for the objects of a shard each; from a local disk 2 of them are as fast and take half the processor
_TOGETHER = 128  # objects of a shard: their bytes are held until they are decoded


@dataclass(frozen=True)
class EmbeddedObject:
    """An object as the embed stage recorded it; `views_digest` changes with its embeddings' bytes."""

    key: str
    category: str
    shard: str
    views_digest: str
    points_digest: str


class Embeddings:
    """One split of an embedded data set. Indices are positions in `keys`."""

    def __init__(self, url: str, split: str, listed: Sequence[EmbeddedObject]):
        self.url, self.split = url, split
        self.objects = sorted(listed, key=lambda o: o.key)
        self.keys = [o.key for o in self.objects]
        self.categories = [o.category for o in self.objects]
        self.digest = objects.digest([[o.key, o.category, o.views_digest, o.points_digest] for o in self.objects])
        self._shard = lru_cache(maxsize=1024)(lambda name: Shard(objects.join(url, name)))

    def __len__(self) -> int:
        return len(self.objects)

    @property
    def classes(self) -> list[str]:
        """The categories, sorted."""
        return sorted(set(self.categories))

    def members(self) -> dict[str, list[int]]:
        """The indices of every category's objects, ascending."""
        found: dict[str, list[int]] = {}
        for index, category in enumerate(self.categories):
            found.setdefault(category, []).append(index)
        return found

    def views(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.float16]:
        """View embeddings, (n, R, F) float16.

        Raises:
            DataError: an object whose rows are not finite unit vectors, or not the ones that were written; named.
        """
        return self._read(indices, "views.npy", lambda item: item.views_digest, check_views)

    def points(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.float16]:
        """Point clouds, (n, P, 6) float16, in farthest-point order. DataError as `views`."""
        return self._read(indices, "points.npy", lambda item: item.points_digest, _check_points)

    def _read(
        self,
        indices: Sequence[int] | NDArray[np.integer[Any]],
        extension: str,
        digest: Callable[[EmbeddedObject], str],
        check: Callable[[NDArray[Any], str, str], None],
    ) -> NDArray[Any]:
        """One member of each object, by ranged reads, stacked."""
        wanted = [self.objects[int(i)] for i in indices]
        places: dict[str, list[int]] = {}
        for place, item in enumerate(wanted):
            places.setdefault(item.shard, []).append(place)
        found = _Stack(len(wanted))

        def read(shard: str, own: Sequence[int]) -> None:
            data = self._shard(shard).read_many([wanted[p].key for p in own], extension)
            for place, raw in zip(own, data, strict=True):
                item = wanted[place]
                array = decode_array(raw, f"{item.key}.{extension}")
                check(array, item.key, self.url)
                if hashlib.sha256(raw).hexdigest() != digest(item):
                    raise DataError(
                        f"{self.url}: {shard}: object {item.key!r}: its .{extension} is not the one that was written "
                        "(sha256 differs); delete the shard and run embed again"
                    )
                if not found.put(place, array):
                    raise DataError(
                        f"{self.url}: object {item.key!r}: its .{extension} has shape {array.shape}, others have "
                        f"{found.shape}; run embed again"
                    )

        parts = [
            (shard, own[i : i + _TOGETHER]) for shard, own in places.items() for i in range(0, len(own), _TOGETHER)
        ]
        with threads(2 if objects.is_local(self.url) else _REQUESTS) as pool:
            list(pool.map(lambda part: read(*part), parts))
        return found.array


class _Stack:
    """n arrays of one shape and type, each put in its place as it comes, from any thread."""

    def __init__(self, n: int) -> None:
        self._n, self._lock = n, Lock()
        self.array: NDArray[Any] = np.zeros((0, 0, 0), np.float16)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape[1:]

    def put(self, place: int, array: NDArray[Any]) -> bool:
        """False when its shape is not that of the others."""
        with self._lock:
            if not len(self.array):
                self.array = np.empty((self._n, *array.shape), array.dtype)
        if array.shape != self.shape:
            return False
        self.array[place] = array
        return True


def _check_points(array: NDArray[Any], key: str, where: str) -> None:
    """DataError unless `array` is (P, 6) and finite."""
    if array.ndim != 2 or array.shape[1] != 6 or not np.isfinite(array).all():
        raise DataError(f"{where}: object {key!r}: its points are {array.shape} or not finite, expected finite (P, 6)")


def check_views(array: NDArray[Any], key: str, where: str) -> None:
    """DataError unless `array` is (R, F) of finite unit rows; names the object and the view."""
    if array.ndim != 2:
        raise DataError(
            f"{where}: object {key!r}: view embeddings have shape {array.shape}, expected (views, features)"
        )
    rows = halves.single(array) if array.dtype == np.float16 else array.astype(np.float32)
    norms = np.sqrt(np.einsum("rf,rf->r", rows, rows))
    wrong = np.flatnonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE))
    if len(wrong):
        view, norm = int(wrong[0]), norms[wrong[0]]
        what = "is not finite (NaN or inf)" if not np.isfinite(norm) else f"has norm {norm:.4f}, expected 1"
        raise DataError(f"{where}: object {key!r}: the embedding of view {view} {what}; run embed again for it")


def open_embeddings(url: str, split: str) -> Embeddings:
    """The embedded data set under `url` (the embed stage's folder). DataError when embed is not finished."""
    manifest = Ledger(url).manifest()
    listed = [
        EmbeddedObject(o["key"], o["category"], facts["shard"], o["views"], o["points"])
        for facts in manifest.facts()
        if facts["split"] == split
        for o in facts["objects"]
    ]
    return Embeddings(url, split, listed)
