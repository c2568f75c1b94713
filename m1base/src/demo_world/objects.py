"""From a category, an index and a seed to an object with its structure in words.

What a combination of attributes is called, whether the test split holds it out and in
which order objects take combinations up depend on hashes of their names alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from captionless.demo_world.airplane import AIRPLANE
from captionless.demo_world.appearance import Finish
from captionless.demo_world.door import DOOR
from captionless.demo_world.furniture import FURNITURE
from captionless.demo_world.grammar import Attributes, Category, Draw, stable_hash
from captionless.demo_world.lamp import LAMP
from captionless.demo_world.seating import SEATING
from captionless.demo_world.shapes import Solid, join
from captionless.demo_world.vessels import VESSELS
from captionless.errors import SpecError, did_you_mean
from captionless.mesh import Mesh

VERSION = 1
"""Raised whenever the same arguments make another mesh or another text."""

_CATEGORIES: dict[str, Category] = {c.name: c for c in (*SEATING, *FURNITURE, LAMP, DOOR, *VESSELS, AIRPLANE)}
CLASSES: tuple[str, ...] = tuple(_CATEGORIES)

_HELD_OUT_SHARE = 0.25


@dataclass(frozen=True)
class WorldObject:
    """A parametric object: y up, standing on y = 0, facing +z, about a unit in size.

    text tells all of its structure, and nothing of its colours and textures.
    """

    key: str
    category: str
    attributes: Attributes
    text: str
    mesh: Mesh


def _category(name: str) -> Category:
    if name not in _CATEGORIES:
        raise SpecError(
            f'category "{name}" is not in the demo world (it has {", ".join(CLASSES)}){did_you_mean(name, CLASSES)}'
        )
    return _CATEGORIES[name]


def _checked(category: str, attributes: Attributes) -> Category:
    """The category, once `attributes` is known to be one of its combinations."""
    kind = _category(category)
    for attribute in kind.attributes:
        value = attributes.get(attribute.name)
        if value not in attribute.values:
            raise SpecError(
                f'{category}: attribute "{attribute.name}" is {value!r}, not one of {", ".join(attribute.values)}'
            )
    unknown = attributes.keys() - {a.name for a in kind.attributes}
    if unknown:
        raise SpecError(
            f'{category} has no attribute "{min(unknown)}" (it has {", ".join(a.name for a in kind.attributes)})'
        )
    if not kind.valid(attributes):
        raise SpecError(f"{category}: invalid combination of attributes: {attributes}; see combinations()")
    return kind


def attributes(category: str) -> dict[str, tuple[str, ...]]:
    """The names of a category's attributes and their values, in order."""
    return {a.name: a.values for a in _category(category).attributes}


def combinations(category: str) -> list[Attributes]:
    """All combinations of values that a category can have, in a stable order."""
    return [dict(c) for c in _category(category).combinations]


def is_held_out(category: str, attributes: Attributes) -> bool:
    """Whether the combination belongs to the test split: about a quarter do, by a hash of its names."""
    named = sorted(attributes.items())
    return stable_hash("held out", category, named) < _HELD_OUT_SHARE * 2**64


def attribute_distance(a: Attributes, b: Attributes) -> int:
    """The number of attributes in which two objects of one category differ."""
    return sum(a[name] != b[name] for name in a)


@cache
def _siblings(category: str) -> tuple[tuple[Attributes, ...], ...]:
    """The held-out combinations in pairs that differ in one attribute; at the end, those left without."""
    held = [c for c in _category(category).combinations if is_held_out(category, c)]
    near = {i: {j for j, d in enumerate(held) if attribute_distance(c, d) == 1} for i, c in enumerate(held)}
    rank = [stable_hash("sibling", category, sorted(c.items())) for c in held]
    pairs: list[tuple[Attributes, ...]] = []
    single: list[tuple[Attributes, ...]] = []
    while near:
        # Whoever has the fewest possible partners left chooses first, and takes the one
        # with the fewest: that leaves hardly anyone alone.
        first = min(near, key=lambda i: (len(near[i]), rank[i]))
        second = min(near[first], key=lambda i: (len(near[i]), rank[i]), default=None)
        group = (first,) if second is None else (first, second)
        (single if second is None else pairs).append(tuple(held[i] for i in group))
        for i in group:
            del near[i]
        for others in near.values():
            others.difference_update(group)
    return (*pairs, *single)


@cache
def _turn(category: str, seed: int, held_out: bool, number: int) -> tuple[Attributes, ...]:
    """Every combination of a split once, in the order of one turn."""
    if held_out:
        groups: tuple[tuple[Attributes, ...], ...] = _siblings(category)
    else:
        groups = tuple((c,) for c in _category(category).combinations if not is_held_out(category, c))
    order = np.random.default_rng(stable_hash("deal", category, seed, held_out, number)).permutation(len(groups))
    # Pairs first, so that an even index always begins one.
    shuffled = sorted((groups[i] for i in order), key=lambda group: -len(group))
    return tuple(c for group in shuffled for c in group)


def draw(category: str, index: int, seed: int, held_out: bool) -> Attributes:
    """The combination of the `index`-th object of a split: each once before any comes again.

    With `held_out`, objects 2k and 2k + 1 are siblings, which differ in exactly one
    attribute, until the first turn has no more such pairs (at least ten a category).
    """
    size = len(_turn(category, seed, held_out, 0))
    return dict(_turn(category, seed, held_out, index // size)[index % size])


def describe(category: str, attributes: Attributes, detail: int, variant: int = 0) -> str:
    """A combination in words, structure only.

    detail 0: "a chair"; 1: with two or three of its attributes; 2: with all of them that
    the others do not already decide. Another `variant` chooses and orders words anew.
    """
    if detail not in (0, 1, 2):
        raise SpecError(f"detail: expected 0, 1 or 2, found {detail}")
    return _checked(category, attributes).describe(attributes, detail, variant)


def sentences(category: str, count: int = 128, seed: int = 0) -> list[str]:
    """`count` different texts, each of one hypothetical object: the landmarks of a category.

    Combinations come in an order drawn by `seed`, each once before any is reworded.
    """
    kind = _category(category)
    order = sorted(kind.combinations, key=lambda c: stable_hash("landmark", category, seed, sorted(c.items())))
    texts = dict.fromkeys(kind.describe(c, 2, variant) for variant in range(4) for c in order)
    if len(texts) < count:
        raise SpecError(f"{category} has {len(texts)} different sentences, fewer than the {count} requested")
    return list(texts)[:count]


def build(key: str, category: str, attributes: Attributes, seed: int, appearance: int = 0) -> WorldObject:
    """The object `key` with the given structure.

    Its proportions depend on (seed, key), its colours and textures on (seed, key,
    appearance): another `appearance` is the same geometry, vertex by vertex, in other
    colours. Raises SpecError where the combination is not one of `combinations(category)`.
    """
    kind = _checked(category, attributes)
    groups: dict[str, list[Solid]] = {}
    for finish, solid in kind.build(attributes, Draw(stable_hash("proportions", seed, key))):
        groups.setdefault(finish, []).append(solid)
    solids = {finish: join(group) for finish, group in groups.items()}
    floor = min(float(s.vertices[:, 1].min()) for s in solids.values())
    parts = tuple(
        Finish.drawn(stable_hash("finish", seed, key, appearance, finish)).on(solid.moved(y=-floor))
        for finish, solid in solids.items()
    )
    return WorldObject(key, category, dict(attributes), kind.describe(attributes, 2), Mesh(parts))
