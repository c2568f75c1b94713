"""What is measured on, and how: the unseen objects and the settings of the figures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.eval import bootstrap, retrieval

Ints = NDArray[np.int64]

_OBJECTS = 128  # whose views are held at a time: 30 of width 512 are 16 MB in float64


@dataclass(frozen=True)
class Settings:
    """How a test set is measured; `described` puts it into the provenance.

    `views` selects the views that represent an object in retrieval. `"one"`: a single one, drawn
    by a stable hash of `seed` and the object's key (different poses for different objects, the same
    for all runs). `"all"`: each pose in turn, the same for all objects, and the figures are means over
    the poses. `batch` and `batch_seed` are those of the in-batch protocol. `seed` also draws
    the test objects of the intervals' resamples.
    """

    zero_shot_ks: tuple[int, ...] = (1, 5)
    gallery_ks: tuple[int, ...] = (1, 5, 10)
    in_batch_ks: tuple[int, ...] = (1, 5)
    views: Literal["one", "all"] = "one"
    seed: int = 0
    batch: int = retrieval.BATCH
    batch_seed: int = 0

    def described(self) -> dict[str, Any]:
        """Plain JSON for the provenance."""
        return {
            "zero_shot": {"ks": list(self.zero_shot_ks)},
            "gallery": {"ks": list(self.gallery_ks), "views": self.views, "seed": self.seed},
            "in_batch": {"ks": list(self.in_batch_ks), "batch": self.batch, "seed": self.batch_seed},
            "ties": "against the method",
            "intervals": bootstrap.described(self.seed),
        }


class ViewStore(Protocol):
    """The view embeddings (n, R, D) of the unseen objects, of which some are read at a time."""

    @property
    def shape(self) -> tuple[int, int, int]: ...

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """(stop - start, R, D): all views of these objects."""

    def one_of_each(self, view: Ints) -> NDArray[Any]:
        """(n, D): view `view[i]` of the i-th object."""


class HeldViews:
    """Views that are in memory anyway."""

    def __init__(self, views: NDArray[Any]) -> None:
        if views.ndim != 3:
            raise DataError(f"views: expected (objects, views, dimensions), found shape {views.shape}")
        self._views = views

    @property
    def shape(self) -> tuple[int, int, int]:
        objects, views, width = self._views.shape
        return objects, views, width

    def read(self, start: int, stop: int) -> NDArray[Any]:
        return self._views[start:stop]

    def one_of_each(self, view: Ints) -> NDArray[Any]:
        found: NDArray[Any] = self._views[np.arange(len(self._views)), view]
        return found


@dataclass(frozen=True)
class TestSplit:
    """The unseen objects.

    keys: (n) their names. classes: (C) the candidates of zero-shot classification, whether they have objects or not.
    labels: (n,) each object's class. class_texts: (C, D) or (C, T, D) CLIP embeddings. views: (n, R, D), as an array or
    where they are stored. digest: of what they are made from. names: what pages call each class, where it is another.
    """

    __test__ = False  # not a pytest class

    keys: Sequence[str]
    classes: Sequence[str]
    labels: Ints
    views: NDArray[Any] | ViewStore
    class_texts: NDArray[Any]
    settings: Settings = field(default_factory=Settings)
    digest: str = ""
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        objects = self.seen.shape[0]
        for name, found in (("keys", len(self.keys)), ("labels", len(self.labels))):
            if found != objects:
                raise DataError(f"{name}: expected one per object ({objects}), found {found}")
        if len(self.class_texts) != len(self.classes):
            raise DataError(f"class_texts: expected {len(self.classes)} classes, found {len(self.class_texts)}")

    @cached_property
    def seen(self) -> ViewStore:
        """The views, to be read."""
        return HeldViews(self.views) if isinstance(self.views, np.ndarray) else self.views

    @cached_property
    def choices(self) -> list[Ints]:
        """Each (n,): the view that represents each object in retrieval; one choice, or one for each pose."""
        count = self.seen.shape[1]
        if self.settings.views == "all":
            return [np.full(len(self.keys), pose, dtype=np.int64) for pose in range(count)]
        digests = [hashlib.sha256(f"view:{self.settings.seed}:{key}".encode()).digest()[:8] for key in self.keys]
        return [np.array([int.from_bytes(digest) % count for digest in digests], dtype=np.int64)]

    def images(self) -> Iterator[NDArray[Any]]:
        """(n, D) of every choice in turn: the view of each object."""
        for choice in self.choices:
            yield self.seen.one_of_each(choice)

    def blocks(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        """All views of some objects at a time, (b, R, D)."""
        objects = self.seen.shape[0]
        for start in range(0, objects, _OBJECTS):
            part = slice(start, min(start + _OBJECTS, objects))
            yield part, self.seen.read(part.start, part.stop)

    def without_objects(self) -> list[str]:
        """The candidates that no object of the split is of, in order."""
        count = np.bincount(self.labels, minlength=len(self.classes))
        return [name for name, objects in zip(self.classes, count.tolist(), strict=True) if not objects]
