"""The base class of the spec's sections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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


def flat(name: str, tree: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a dumped section and of those below it, by their dotted names in a spec."""
    if isinstance(tree, dict):
        for key, below in tree.items():
            yield from flat(f"{name}.{key}", below)
    else:
        yield name, tree
