"""What a category is: attributes with words for their values, a rule, and a builder.

A text is put together from the phrases of the values: adjectives before the noun, what
the object has after it, what it lacks last. An attribute that the others leave only one
value (no crossbars without legs) is left unsaid. Wording and order vary by a hash of the
combination, never by chance, so that a text is a function of the structure alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from captionless.demo_world.shapes import Solid

Attributes = dict[str, str]
Parts = list[tuple[str, Solid]]
"""Solids by the name of their finish: those of one name look alike."""


def stable_hash(*parts: object) -> int:
    """64 bits that depend only on the text of `parts`, on every machine and in every process."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


class Draw:
    """Uniform draws for an object's proportions: `draw(low, high)`.

    A builder makes all its draws whatever its attributes are, in one order: then a key's
    proportions stay the same when one attribute changes.
    """

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def __call__(self, low: float, high: float) -> float:
        return float(low + (high - low) * self._random.random())


@dataclass(frozen=True)
class Attribute:
    """A named choice. phrases: value -> words. An adjective goes before the noun, else after "with"."""

    name: str
    phrases: dict[str, str]
    adjective: bool = False

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(self.phrases)


@dataclass(frozen=True)
class Category:
    """A kind of object: `build` makes its solids from a valid combination and draws of its proportions."""

    name: str
    attributes: tuple[Attribute, ...]
    build: Callable[[Attributes, Draw], Parts]
    valid: Callable[[Attributes], bool] = lambda _: True

    @cached_property
    def combinations(self) -> tuple[Attributes, ...]:
        """Every valid combination, the last attribute turning fastest."""
        names = [a.name for a in self.attributes]
        every = (dict(zip(names, values, strict=True)) for values in product(*(a.values for a in self.attributes)))
        return tuple(c for c in every if self.valid(c))

    def free(self, attributes: Attributes) -> list[Attribute]:
        """The attributes that could have another value beside the others' values."""
        return [
            a
            for a in self.attributes
            if any(self.valid({**attributes, a.name: v}) for v in a.values if v != attributes[a.name])
        ]

    def describe(self, attributes: Attributes, detail: int, variant: int = 0) -> str:
        """The text of a combination; see `captionless.demo_world.describe`."""
        told = self.free(attributes) if detail else []
        dice = stable_hash("words", self.name, sorted(attributes.items()), detail, variant)
        if detail == 1:
            count = 2 + dice % 2
            order = sorted(told, key=lambda a: stable_hash("choice", dice, a.name))
            told = [a for a in told if a in order[:count]]
        words = [(a.phrases[attributes[a.name]], a.adjective) for a in told]
        adjectives = [text for text, adjective in words if adjective]
        has = [text for text, adjective in words if not adjective and not text.startswith("no ")]
        lacks = [text for text, adjective in words if not adjective and text.startswith("no ")]
        if has and detail == 2:
            turn = (dice >> 8) % len(has)
            has = has[turn:] + has[:turn]
        noun = " ".join([*adjectives, self.name])
        text = f"{'an' if noun.startswith(_VOWEL_SOUNDS) else 'a'} {noun}"
        if has or lacks:
            text += f" {('with', 'that has', 'featuring')[(dice >> 16) % 3]} {_listed(has or lacks)}"
        if has and lacks:
            text += f", {('but', 'and')[(dice >> 24) % 2]} {_listed(lacks)}"
        return text


_VOWEL_SOUNDS = ("a", "e", "i", "o", "u", "L-")


def _listed(phrases: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
