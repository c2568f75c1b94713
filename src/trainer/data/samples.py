"""What a step needs of its objects, a view and the points of each: cached in memory if there is room, else read again.

An object is read when it is first used, and cached as long as there is room: a data set that fits is read once, in the
first epoch. Of a larger one the first objects to arrive stay cached, which saves as much as any other choice, since an
epoch uses every object once. Of the others only the required view and the points are read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.store.embeddings import Embeddings

_XYZ = 3


@dataclass(frozen=True)
class SampleRows:
    """Stored rows of n objects: image (n, F), a view of each; points (n, P, 3), xyz. damaged: the damaged objects by
    their index, and why; their rows are undefined."""

    image: NDArray[Any]
    points: NDArray[Any]
    damaged: dict[int, DataError]


class Samples:
    """A data set's objects, for any number of threads; at most `memory` bytes of them are cached.

    DataError if none of the first objects is intact.
    """

    def __init__(self, data: Embeddings, memory: int) -> None:
        views, points = data.views_layout, data.points_layout
        self._data, self._lock = data, Lock()
        self.views, self.features = views.shape
        self.stored_points = points.shape[0]
        self.room = min(len(data), memory // (views.nbytes + points.nbytes * _XYZ // points.shape[1]))
        """How many objects are kept at most."""
        self._kept_views = np.empty((self.room, *views.shape), views.dtype)
        self._kept_points = np.empty((self.room, self.stored_points, _XYZ), points.dtype)
        self._slots = np.full(len(data), -1, np.int64)  # where among the kept ones each object is
        self._used = 0

    def read(self, indices: NDArray[np.int64], view: NDArray[np.int64], tolerant: bool = False) -> SampleRows:
        """View `view[i]` and the points of the i-th object. DataError when one is damaged, unless `tolerant`."""
        n = len(indices)
        image = np.empty((n, self.features), self._kept_views.dtype)
        points = np.empty((n, self.stored_points, _XYZ), self._kept_points.dtype)
        damaged: dict[int, DataError] = {}
        slots = self._slots[indices]
        absent = np.flatnonzero(slots < 0)
        own = self._reserve(len(absent))
        fresh, again = np.split(absent, [own.stop - own.start])
        if len(fresh):
            self._kept_points[own], wrong = self._read(indices[fresh], self._kept_views[own], None, tolerant)
            slots[fresh] = np.arange(own.start, own.stop)
            whole = np.delete(fresh, list(wrong))
            self._slots[indices[whole]] = slots[whole]
            damaged |= {int(fresh[place]): error for place, error in wrong.items()}
        here = slots >= 0
        image[here] = self._kept_views[slots[here], view[here]]
        points[here] = self._kept_points[slots[here]]
        if len(again):
            rows = np.empty((len(again), self.features), image.dtype)
            points[again], wrong = self._read(indices[again], rows, view[again], tolerant)
            image[again] = rows
            damaged |= {int(again[place]): error for place, error in wrong.items()}
        return SampleRows(image, points, damaged)

    def images(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """The first view of some objects, (n, F): of those that are not cached nothing else is read, nor cached.
        DataError when one is damaged."""
        slots = self._slots[indices]
        image = np.empty((len(indices), self.features), self._kept_views.dtype)
        here = slots >= 0
        image[here] = self._kept_views[slots[here], 0]
        rows = np.empty((np.count_nonzero(~here), self.features), image.dtype)
        self._data.read(indices[~here], views=rows, view=np.zeros(len(rows), np.int64))
        image[~here] = rows
        return image

    def _reserve(self, wanted: int) -> slice:
        """Room for some of so many objects."""
        with self._lock:
            start = self._used
            self._used = min(start + wanted, self.room)
            return slice(start, self._used)

    def _read(
        self, indices: NDArray[np.int64], views: NDArray[Any], view: NDArray[np.int64] | None, tolerant: bool
    ) -> tuple[NDArray[Any], dict[int, DataError]]:
        """Fills `views`; returns xyz, and which objects are damaged."""
        layout, wrong = self._data.points_layout, dict[int, DataError]()
        points = np.empty((len(indices), *layout.shape), layout.dtype)
        self._data.read(indices, views, points, view, wrong if tolerant else None)
        return points[..., :_XYZ], wrong
