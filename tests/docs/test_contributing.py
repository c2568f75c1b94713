"""CONTRIBUTING.md: the glossary's terms are the code's, and each extension has its how-to."""

from __future__ import annotations

import pytest

from tests.docs.pages import tables, text
from tests.docs.test_links import defined

PAGE = "CONTRIBUTING.md"
GLOSSARY = tables(PAGE, "Glossary")


def test_each_extension_has_its_how_to() -> None:
    page = text(PAGE)
    for what in ("spec field", "source of objects", "stage", "loss", "metric", "figure of the evaluation", "command"):
        assert f"\n### A {what}\n" in page
    assert "\n### An encoder\n" in page


def test_no_term_is_explained_twice() -> None:
    terms = [term for term, _, _ in GLOSSARY]
    assert len(set(terms)) == len(terms)
    assert all(meaning for _, meaning, _ in GLOSSARY)


@pytest.mark.parametrize("row", GLOSSARY, ids=[row[0] for row in GLOSSARY])
def test_a_term_is_where_the_glossary_says(row: list[str]) -> None:
    _, _, symbol = row
    assert defined(symbol.strip("`").split("."))
