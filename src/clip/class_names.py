"""Names of classes as prompts say them, and as CLIP reads them.

Tokenizers of CLIP models read lower case, and any whitespace as one space. Classes whose names differ in nothing else
have one and the same text: no embedding is nearer to one of them than to the other.
"""

from __future__ import annotations

from collections.abc import Sequence


def spoken(name: str) -> str:
    """A class's name as prompts have it: underscores read as spaces."""
    return name.replace("_", " ")


def as_read(name: str) -> str:
    """What CLIP reads of a class's name: equal for those that it cannot tell apart."""
    return " ".join(spoken(name).lower().split())


def alike(names: Sequence[str]) -> list[tuple[int, int]]:
    """The places of the names that read as an earlier one, each after that of the first such name."""
    first: dict[str, int] = {}
    places = [(first.setdefault(as_read(name), at), at) for at, name in enumerate(names)]
    return [(earlier, at) for earlier, at in places if earlier != at]
