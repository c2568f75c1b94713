"""A contact sheet: captioned pictures and what is said of them, as HTML (`page`) or PNG (`picture`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Sheet:
    """title, about: what it shows. pictures: tiles with their captions. facts: names and values in words. warnings:
    what is lost or doubtful, in words; None where there is nothing to be lost. note: how to read the pictures."""

    title: str
    about: str
    pictures: Sequence[tuple[str, Image.Image]]
    facts: Sequence[tuple[str, str]]
    warnings: Sequence[str] | None
    note: str
