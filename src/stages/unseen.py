"""The test split of a run as evaluation measures on it: its objects, what they may be taken for, and their views.

The candidates of zero-shot classification are the categories of the whole data set (see `candidates`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.eval import prompts
from captionless.eval.protocol import Ints, Settings, TestSplit
from captionless.runtime.memory import give_back
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import EMBED
from captionless.stages import candidates
from captionless.stages.clip_model import load_clip, same_clip
from captionless.store import objects
from captionless.store.embeddings import Embeddings, open_embeddings

_AT_ONCE = 512  # objects of which a view each is read together: whole objects, 15 MB, when they are first read


@dataclass(frozen=True)
class TrainingSplit:
    """What evaluation says of the training objects: how many, of which categories, and their digest."""

    count: int
    classes: Sequence[str]
    digest: str


def open_unseen(spec: AlignmentSpec) -> Unseen:
    """The unseen objects of a spec's run. DataError when there are none."""
    url = objects.join(spec.root, EMBED)
    data = open_embeddings(url, "test")
    if not len(data):
        raise DataError("the test split is empty: increase data.testFraction or data.source.testObjects")
    training = open_embeddings(url, "train")
    found = TrainingSplit(len(training), training.classes, training.digest)
    del training  # it may be ten times as large
    give_back()
    return Unseen(spec, data, found)


@dataclass(frozen=True)
class EmbeddedTexts:
    """rows: (C, T, D), the T texts of each class. clip: the digest, and the revision if it has one, of their model."""

    rows: NDArray[np.float32]
    clip: dict[str, str]


class Unseen:
    """The unseen objects `data` of a spec's run beside the training objects, and the candidates of both."""

    def __init__(self, spec: AlignmentSpec, data: Embeddings, training: TrainingSplit) -> None:
        self.spec, self.data, self.training = spec, data, training
        self.classes = sorted({*data.classes, *training.classes})

    @property
    def candidates(self) -> str:
        """The digest of what the objects may be taken for."""
        return candidates.digest(self.classes, self.names)

    @property
    def called(self) -> list[str]:
        """What a page calls each class."""
        return candidates.labels(self.classes, self.names)

    @property
    def digest(self) -> str:
        """Of what is measured on: the objects, and what they may be taken for."""
        return objects.digest(self.data.digest, self.candidates)

    @property
    def names(self) -> list[str]:
        """What the prompts call each class."""
        return [self.spec.data.display_name(name) for name in self.classes]

    @cached_property
    def test(self) -> TestSplit:
        """The unseen objects, with one text or several for every candidate."""
        place = {name: code for code, name in enumerate(self.classes)}
        labels = np.array([place[name] for name in self.data.categories.names], np.int64)[self.data.categories.codes]
        settings = Settings(views=self.spec.eval.views, seed=self.spec.eval.seed)
        return TestSplit(
            self.data.keys,
            self.classes,
            labels,
            StoredViews(self.data),
            self.texts.rows,
            settings,
            self.data.digest,
            self.called,
        )

    @cached_property
    def texts(self) -> EmbeddedTexts:
        """The texts of every class; the CLIP model is not kept."""
        texts = prompts.class_texts(self.spec.eval.prompt, self.names)
        flat, about = self._embedded(texts)
        give_back()
        return EmbeddedTexts(flat.reshape(len(texts), len(texts[0]), -1), about)

    def _embedded(self, texts: list[list[str]]) -> tuple[NDArray[np.float32], dict[str, str]]:
        clip = load_clip(self.spec.clip)
        same_clip(self.data.url, f"clip.model {self.spec.clip.model}", clip.digest)
        about = {"digest": clip.digest, **({"revision": clip.revision} if clip.revision else {})}
        candidates.check("eval", self.classes, self.names, self.data.classes, [tuple(clip.read(of)) for of in texts])
        return clip.texts([text for of_class in texts for text in of_class]), about

    def check(self) -> None:
        """Says on stderr which candidates have no test object. DataError if some cannot be told apart."""
        candidates.check("eval", self.classes, self.names, self.data.classes)
        candidates.tell("eval", self.classes, sorted(set(self.classes) - set(self.data.classes)))


class StoredViews:
    """The views of a data set, read when they are asked for; the last selection of one of each is kept."""

    def __init__(self, data: Embeddings) -> None:
        self._data = data
        self._last: tuple[Ints, NDArray[np.float16]] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        views, width = self._data.views_layout.shape
        return len(self._data), views, width

    def read(self, start: int, stop: int) -> NDArray[Any]:
        return self._data.views(range(start, stop))

    def one_of_each(self, view: Ints) -> NDArray[np.float16]:
        if self._last is None or not np.array_equal(self._last[0], view):
            self._last = None  # before there is another: one of them is as much memory as there may be
            count, _, width = self.shape
            found = np.empty((count, width), self._data.views_layout.dtype)
            for start in range(0, count, _AT_ONCE):
                part = slice(start, min(start + _AT_ONCE, count))
                self._data.read(range(part.start, part.stop), views=found[part], view=view[part])
            self._last = view, found
        return self._last[1]
