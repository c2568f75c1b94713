"""The words that a landmark must not use, and the phrases in which they are innocent."""

from __future__ import annotations

import pytest

from captionless.precompute.landmark_filter import COLOURS, MATERIALS, TEXTURES, named_words

NAMED = [
    ("A red chair with four legs.", [("colour", "red")]),
    ("A WOODEN stool.", [("material", "wooden")]),
    ("A glass-topped table.", [("material", "glass")]),
    ("A table with a stained glass lamp.", [("texture", "stained"), ("material", "glass")]),
    ("A pole of stainless steel", [("material", "stainless"), ("material", "steel")]),
    ("A wrought-iron gate", [("material", "wrought"), ("material", "iron")]),
    ("A golden frame", [("colour", "golden")]),
    ("A multi-coloured kite", [("colour", "coloured")]),
    ("A bed with a black and white headboard", [("colour", "black"), ("colour", "white")]),
    ("A carbon-fibre, matte body; metallic trim", [("texture", "matte"), ("material", "metallic")]),
    ("A paper lampshade", [("material", "paper")]),
    ("A wine glass of blue glass", [("colour", "blue"), ("material", "glass")]),
    ("A floral, plaid cushion", [("texture", "floral"), ("texture", "plaid")]),
]

CLEAN = [
    "A chair with four splayed legs and a curved back.",
    "A wardrobe whose covered rails stand on whitewater rafts.",  # words inside words
    "A blackboard on a stand beside a greenhouse with a goldfish bowl.",
    "A wine glass with a long stem.",
    "A magnifying glass on an hourglass-shaped foot, and a pair of glasses.",
    "A facade divided by the golden ratio.",
    "A printer with a paper tray below and a paper feed above.",
    "A waffle iron with two hinged plates.",
    "A cake tin with a loose bottom.",
    "A wood-burning stove with a flue.",
    "A steel drum on three legs.",
    "A remote control with an infra-red window.",
    "A cement mixer with a tilted drum.",
    "A vase with a narrow neck for floral arrangements.",
    "A rack for red and white wine, six bottles wide.",
    "A corkscrew with two levers.",
    "A display with a liquid-crystal panel on a tilting foot.",
    "",
]


@pytest.mark.parametrize(("text", "named"), NAMED)
def test_named(text: str, named: list[tuple[str, str]]) -> None:
    assert [tuple(found) for found in named_words(text)] == named


@pytest.mark.parametrize("text", CLEAN)
def test_clean(text: str) -> None:
    assert named_words(text) == ()


def test_lists_are_whole_lower_case_words_each_of_one_kind() -> None:
    for words in (COLOURS, MATERIALS, TEXTURES):
        assert all(word.isalpha() and word == word.lower() for word in words)
    assert not COLOURS & MATERIALS
    assert not COLOURS & TEXTURES
    assert not MATERIALS & TEXTURES
    for word in COLOURS | MATERIALS | TEXTURES:
        assert [found.word for found in named_words(f"a {word} thing")] == [word]
