"""The embedded demo world as a source: any number of objects, each with its structure in words."""

from __future__ import annotations

from collections.abc import Sequence

from captionless import demo_world
from captionless.precompute.sources.base import Loaded, ObjectRef, Split, by_key, chosen
from captionless.spec.data import DataSpec
from captionless.store import objects


class ParametricSource:
    """Objects spread evenly over the categories; no training object has an attribute combination of the test split."""

    numbering: Sequence[str] = ()

    def __init__(self, data: DataSpec) -> None:
        self._spec = data.source

    def refs(self) -> list[ObjectRef]:
        taken = chosen(self._spec.categories, demo_world.CLASSES)
        categories = [c for c in demo_world.CLASSES if c in taken]
        totals: tuple[tuple[Split, int], ...] = (("train", self._spec.objects), ("test", self._spec.test_objects))
        return by_key(
            self._ref(category, split, index)
            for split, total in totals
            for place, category in enumerate(categories)
            for index in range(total // len(categories) + (place < total % len(categories)))
        )

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
