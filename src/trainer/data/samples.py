"""What a step needs of its objects, a view and the points of each: cached in memory if there is room, else read again.

An object is read when it is first used, and cached as long as there is room: a data set that fits is read once, in the
first epoch. Of a larger one the first objects to arrive stay cached, which saves as much as any other choice, since an
epoch uses every object once. Of the others only the required view and the points are read again. The ranks of a node
cache objects together, since an epoch deals an object to any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.store.embeddings import Embeddings
from captionless.trainer.data.kept_rows import KeptRows
from captionless.trainer.data.node_cache import NodeCache

_XYZ = 3


@dataclass(frozen=True)
class SampleRows:
    """Stored rows of n objects: image (n, F), a view of each, or (n, V, F), several; points (n, P, 3), xyz. damaged:
    the damaged objects by their index, and why; their rows are undefined."""

    image: NDArray[Any]
    points: NDArray[Any]
    damaged: dict[int, DataError]


class Samples:
    """A data set's objects, for any number of threads; at most `memory` bytes of them are cached, or as much for each
    of the node's ranks by all of them together.

    DataError if none of the first objects is intact.
    """

    def __init__(self, data: Embeddings, memory: int, node: NodeCache = NodeCache()) -> None:
        views, points = data.views_layout, data.points_layout
        self._data = data
        self.views, self.features = views.shape
        self.stored_points = points.shape[0]
        self.each = views.nbytes + points.nbytes * _XYZ // points.shape[1]
        """Bytes that an object takes."""
        self.room = min(len(data), memory * (node.ranks if node.memory else 1) // self.each)
        """How many objects are kept at most."""
        layouts = [(views.shape, views.dtype), ((self.stored_points, _XYZ), points.dtype)]
        identity = bytes.fromhex(data.digest) if node.memory else bytes(32)
        self._kept = KeptRows(len(data), self.room, layouts, identity, node.memory)
        self._kept_views, self._kept_points = self._kept.arrays

    @property
    def held(self) -> int:
        """Bytes of the objects that are cached."""
        return self._kept.used * self.each

    def read(self, indices: NDArray[np.int64], view: NDArray[np.int64], tolerant: bool = False) -> SampleRows:
        """View `view[i]`, or the views of (n, V), and the points of the i-th object. DataError when one is damaged,
        unless `tolerant`."""
        n = len(indices)
        image = np.empty((*view.shape, self.features), self._kept_views.dtype)
        points = np.empty((n, self.stored_points, _XYZ), self._kept_points.dtype)
        damaged: dict[int, DataError] = {}
        places = self._kept.places[indices].astype(np.int64) - 1
        here, absent = places >= 0, np.flatnonzero(places < 0)
        image[here] = _some(self._kept_views, places[here], view[here])
        points[here] = self._kept_points[places[here]]
        own = self._kept.take(len(absent))
        fresh, again = np.split(absent, [len(own)])
        if len(fresh):
            damaged |= self._read_and_keep(indices, view, fresh, own, image, points, tolerant)
        if len(again):
            single = view.ndim == 1  # of several all are read: together they are less than the points
            rows = np.empty((len(again), *(() if single else (self.views,)), self.features), image.dtype)
            points[again], wrong = self._read(indices[again], rows, view[again] if single else None, tolerant)
            image[again] = rows if single else _some(rows, np.arange(len(again)), view[again])
            damaged |= {int(again[place]): error for place, error in wrong.items()}
        return SampleRows(image, points, damaged)

    def holds(self, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,): which objects are cached."""
        found: NDArray[np.bool_] = self._kept.places[indices] > 0
        return found

    def images(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """The first view of some objects, (n, F): of those that are not cached nothing else is read, nor cached.
        DataError when one is damaged."""
        places = self._kept.places[indices].astype(np.int64) - 1
        image = np.empty((len(indices), self.features), self._kept_views.dtype)
        here = places >= 0
        image[here] = self._kept_views[places[here], 0]
        rows = np.empty((np.count_nonzero(~here), self.features), image.dtype)
        self._data.read(indices[~here], views=rows, view=np.zeros(len(rows), np.int64))
        image[~here] = rows
        return image

    def _read_and_keep(
        self,
        indices: NDArray[np.int64],
        view: NDArray[np.int64],
        fresh: NDArray[np.int64],
        places: NDArray[np.int64],
        image: NDArray[Any],
        points: NDArray[Any],
        tolerant: bool,
    ) -> dict[int, DataError]:
        """Reads the objects `fresh` of a batch, and keeps the intact ones at these places; which are damaged."""
        rows = np.empty((len(fresh), *self._kept_views.shape[1:]), image.dtype)
        whole = np.ones(len(fresh), bool)
        try:
            points[fresh], wrong = self._read(indices[fresh], rows, None, tolerant)
            whole[list(wrong)] = False
        except BaseException:
            whole[:] = False
            raise
        finally:
            self._kept_views[places[whole]] = rows[whole]
            self._kept_points[places[whole]] = points[fresh[whole]]
            self._kept.keep(indices[fresh[whole]], places[whole])
            self._kept.give_back(places[~whole])
        image[fresh] = _some(rows, np.arange(len(fresh)), view[fresh])
        return {int(fresh[place]): error for place, error in wrong.items()}

    def _read(
        self, indices: NDArray[np.int64], views: NDArray[Any], view: NDArray[np.int64] | None, tolerant: bool
    ) -> tuple[NDArray[Any], dict[int, DataError]]:
        """Fills `views`; returns xyz, and which objects are damaged."""
        layout, wrong = self._data.points_layout, dict[int, DataError]()
        points = np.empty((len(indices), *layout.shape), layout.dtype)
        self._data.read(indices, views, points, view, wrong if tolerant else None)
        return points[..., :_XYZ], wrong


def _some(views: NDArray[Any], rows: NDArray[np.int64], view: NDArray[np.int64]) -> NDArray[Any]:
    """Of the objects `rows`, (n,), of (N, R, F) the view of each, (n,) -> (n, F), or its views, (n, V) -> (n, V, F)."""
    found: NDArray[Any] = views[rows.reshape(-1, *[1] * (view.ndim - 1)), view]
    return found
