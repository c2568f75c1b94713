"""Which names of classes are one and the same to CLIP."""

from __future__ import annotations

import open_clip
import pytest

from captionless.clip.class_names import alike, as_read, spoken


def test_names_that_read_alike_have_one_text_to_clip() -> None:
    names = ["night_stand", "Night Stand", "night  stand ", "nightstand", "night-stand"]
    tokens = open_clip.get_tokenizer("ViT-B-32")([f"a point cloud of a {spoken(name)}" for name in names])
    same = (tokens[:, None] == tokens[None]).all(dim=2)
    assert same.tolist() == [[as_read(a) == as_read(b) for b in names] for a in names]
    assert alike(names) == [(0, 1), (0, 2)]
    assert alike(["a", "b"]) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("men\u2019s shoe", "men's shoe"),
        ("cafe\u0301", "caf\u00e9"),
        ("a&amp;b", "a&b"),
        ("a&amp;amp;b", "a&b"),
        ("\ufb01sh", "fish"),
        ("\uff54\uff48\uff49\uff4e\uff47", "thing"),
        ("sch\u00c3\u00b6n", "sch\u00f6n"),
        ("lamp\x07", "lamp"),
        ("5' pole", "5 ' pole"),
        ("type 12", "type 1 2"),
        ("men's", "men 's"),
        ("ab", "a b"),
        ("c++", "c+ +"),
        ("x'y", "x y"),
        ("\u0130", "i"),
        ("stra\u00dfe", "strasse"),
        ("\u00b2", "2"),
    ],
)
def test_marks_encodings_and_blanks_are_read_as_the_tokenizer_does(one: str, other: str) -> None:
    tokens = open_clip.get_tokenizer("ViT-B-32")([f"a point cloud of a {spoken(name)}" for name in (one, other)])
    assert (as_read(one) == as_read(other)) == bool((tokens[0] == tokens[1]).all())
