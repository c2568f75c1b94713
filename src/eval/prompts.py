"""Prompts of zero-shot classification, by name or as a template.

The article is literally "a", also before a vowel ("a point cloud of a airplane"): so the
papers do it, and figures are comparable only over the same texts. `ensemble` is this
project's own list; its texts are embedded one by one and averaged (see `zero_shot`).
"""

from __future__ import annotations

from collections.abc import Sequence

from captionless.clip.class_names import spoken
from captionless.errors import SpecError, did_you_mean

TEMPLATES: dict[str, tuple[str, ...]] = {
    "paper": ("a point cloud of a {}",),
    "released": ("a point cloud model of a {}",),
    "ensemble": (
        "a {}",
        "one {}",
        "a {} seen from the side",
        "a {} seen from the front",
        "a {} seen from above",
        "a photo of a {}",
        "a photo of one {}",
        "a picture of a {} on a white background",
        "a drawing of a {}",
        "a rendering of a {}",
        "a 3D model of a {}",
        "a 3D rendering of a {}",
        "a computer graphics image of a {}",
        "a point cloud of a {}",
        "a point cloud model of a {}",
        "the shape of a {}",
    ),
}


def templates(prompt: str) -> tuple[str, ...]:
    """The templates called `prompt`, or `prompt` itself where it holds exactly one "{}"."""
    if prompt in TEMPLATES:
        return TEMPLATES[prompt]
    if prompt.count("{}") == 1 and not {"{", "}"} & set(prompt.replace("{}", "")):
        return (prompt,)
    raise SpecError(
        f'prompt "{prompt}": expected one of {", ".join(TEMPLATES)}, or a template with one "{{}}" for the class'
        + did_you_mean(prompt, TEMPLATES)
    )


def class_texts(prompt: str, classes: Sequence[str]) -> list[list[str]]:
    """C lists of T texts: every template of `prompt` filled with each class (underscores read as spaces)."""
    chosen = templates(prompt)
    return [[template.format(spoken(name)) for template in chosen] for name in classes]
