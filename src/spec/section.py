"""The base class of the spec's sections."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Section(BaseModel):
    """Base of all sections: camelCase or snake_case names, no unknown fields, immutable.

    The docstring under a field is its description in docs/spec.md, the CRD and the chart's values; `make generate`
    fails on a field without one.
    """

    model_config = ConfigDict(
        extra="forbid", alias_generator=to_camel, populate_by_name=True, frozen=True, use_attribute_docstrings=True
    )

    LATER: ClassVar[frozenset[str]] = frozenset()
    """Fields that came when output without them was stored already, and whose defaults say what was done before: with
    its default such a field is no part of what `determining` says, so that the output stays what it is."""

    def determining(self, omit: Set[str] = frozenset(), by_alias: bool = False) -> dict[str, Any]:
        """The section as plain values, for what records or compares the settings of stored output: without the fields
        `omit`, and without those of `LATER`, here and in sections below, that have their defaults."""
        return self.model_dump(mode="json", by_alias=by_alias, exclude={**self._unsaid(), **dict.fromkeys(omit, True)})

    def _unsaid(self) -> dict[str, Any]:
        """The fields of `LATER` that have their defaults, as `model_dump` excludes them."""
        found: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name in self.LATER and value == field.get_default(call_default_factory=True):
                found[name] = True
            elif isinstance(value, Section) and (below := value._unsaid()):
                found[name] = below
        return found


def flat(name: str, tree: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a dumped section and of those below it, by their dotted names in a spec."""
    if isinstance(tree, dict):
        for key, below in tree.items():
            yield from flat(f"{name}.{key}", below)
    else:
        yield name, tree
