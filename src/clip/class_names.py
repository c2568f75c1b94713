"""Names of classes as prompts say them, and as CLIP reads them.

CLIP's tokenizer mends the text's encoding, reads lower case, and sees words, single digits and runs of other marks,
whatever is between them. Classes whose names differ in nothing else have one and the same text: no embedding is nearer
to one of them than to the other. Where a model is at hand, its own tokens say it for certain (`stages.candidates`).
"""

from __future__ import annotations

import functools
import html
from collections.abc import Hashable, Sequence
from typing import Any


def spoken(name: str) -> str:
    """A class's name as prompts have it: underscores read as spaces."""
    return name.replace("_", " ")


def as_read(name: str) -> str:
    """What CLIP reads of a class's name: equal for those that it cannot tell apart."""
    text = spoken(name)
    if not text.isascii() or not text.isprintable() or "&" in text:
        import ftfy  # as the tokenizers of open_clip do

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(_words().findall(text.lower()))


def alike(names: Sequence[str]) -> list[tuple[int, int]]:
    """The places of the names that read as an earlier one, each after that of the first such name."""
    return repeated([as_read(name) for name in names])


def repeated(values: Sequence[Hashable]) -> list[tuple[int, int]]:
    """The places of the values that equal an earlier one, each after that of the first such value."""
    first: dict[Hashable, int] = {}
    places = [(first.setdefault(value, at), at) for at, value in enumerate(values)]
    return [(earlier, at) for earlier, at in places if earlier != at]


@functools.cache
def _words() -> Any:
    import regex

    return regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+")
