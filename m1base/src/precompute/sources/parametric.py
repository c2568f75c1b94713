"""The embedded demo world as a source: any number of objects, each with its structure in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from captionless import demo_world
from captionless.precompute.sources.base import Loaded, ObjectRef, Selection, Split, by_key
from captionless.spec.data import DataSpec
from captionless.store import objects
from captionless.store.file_index import FileIndex


class ParametricSource:
    """Objects spread evenly over the categories; no training object has an attribute combination of the test split."""

    numbering: Sequence[str] = ()

    def __init__(self, data: DataSpec) -> None:
        self._spec = data.source

    def refs(self) -> list[ObjectRef]:
        return by_key(self.stream(FileIndex()))

    def stream(self, files: FileIndex) -> Iterator[ObjectRef]:
        selection = Selection(self._spec.categories)
        categories = [c for c in demo_world.CLASSES if selection.takes(c)]
        selection.check()
        totals: tuple[tuple[Split, int], ...] = (("train", self._spec.objects), ("test", self._spec.test_objects))
        for split, total in totals:
            for place, category in enumerate(categories):
                for index in range(total // len(categories) + (place < total % len(categories))):
                    yield self._ref(category, split, index)

    def digest(self, ref: ObjectRef) -> str:
        return objects.digest(demo_world.VERSION, ref.key, ref.category, ref.attributes, self._spec.seed)

    def load(self, ref: ObjectRef) -> Loaded:
        return Loaded(mesh=demo_world.build(ref.key, ref.category, dict(ref.attributes or {}), self._spec.seed).mesh)

    def _ref(self, category: str, split: Split, index: int) -> ObjectRef:
        attributes = demo_world.draw(category, index, self._spec.seed, held_out=split == "test")
        return ObjectRef(
            key=f"{category}-{split}-{index:04d}",
            category=category,
            split=split,
            source="captionless demo world",
            licence="Apache-2.0",
            text=demo_world.describe(category, attributes, 2),
            attributes=attributes,
        )
