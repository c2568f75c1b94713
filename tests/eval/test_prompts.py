from __future__ import annotations

import pytest

from captionless.errors import SpecError
from captionless.eval import prompts


def test_named_and_literal_templates() -> None:
    assert prompts.class_texts("paper", ["airplane"]) == [["a point cloud of a airplane"]]
    assert prompts.class_texts("released", ["night_stand"]) == [["a point cloud model of a night stand"]]
    assert prompts.class_texts("the {} of a king", ["bed"]) == [["the bed of a king"]]


def test_ensemble_is_a_list_of_distinct_texts() -> None:
    texts = prompts.class_texts("ensemble", ["mug", "chair"])
    assert len(texts) == 2
    assert len(set(texts[0])) == len(texts[0]) == len(prompts.TEMPLATES["ensemble"]) > 8
    assert all("mug" in text and "{" not in text for text in texts[0])


@pytest.mark.parametrize(
    "prompt",
    ["papr", "a {} on a {}", "a {0}", "a {} {x}", ""],
    ids=["misspelt", "two-places", "numbered", "named", "empty"],
)
def test_anything_else_is_refused(prompt: str) -> None:
    with pytest.raises(SpecError, match="paper, released, ensemble"):
        prompts.templates(prompt)


def test_a_typo_is_helped() -> None:
    with pytest.raises(SpecError, match=r'"ensembel".*"ensemble"'):
        prompts.templates("ensembel")
