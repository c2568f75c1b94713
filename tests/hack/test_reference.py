"""The reference of the spec has a description of every field and section, or it is not generated."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import Field

from captionless.spec.alignment import AlignmentSpec
from captionless.spec.classification import ClassifySpec
from captionless.spec.section import Section

HACK = Path(__file__).parents[2] / "hack"


@pytest.fixture
def sections(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Section], str], Iterator[str]]:
    """`sections` of hack/generators/reference.py, which is imported as `make generate` does."""
    monkeypatch.syspath_prepend(str(HACK))
    for name in [n for n in sys.modules if n == "generators" or n.startswith("generators.")]:
        monkeypatch.delitem(sys.modules, name)
    from generators import reference

    found: Callable[[type[Section], str], Iterator[str]] = reference.sections
    return found


class Described(Section):
    """A section."""

    first_field: int = Field(1, ge=0)
    """What the first field is."""


class MissingField(Section):
    """A section."""

    first_field: int = 1
    """What the first field is."""
    second_field: int = 2


class MissingSection(Section):
    first_field: int = 1
    """What the first field is."""


class MissingBelow(Section):
    """A section with another below it."""

    below: MissingField = MissingField()


class MissingItem(Section):
    """A section with a list of sections."""

    items: tuple[MissingField, ...] = ()
    """Some items."""


def test_a_described_field_gets_its_line(sections: Callable[[type[Section], str], Iterator[str]]) -> None:
    text = "\n".join(sections(Described, "here"))
    assert "## `here`" in text
    assert "| `firstField` | integer, ≥ 0 | `1` | What the first field is. |" in text


@pytest.mark.parametrize(
    ("model", "symbol", "path"),
    [
        pytest.param(MissingField, "MissingField.second_field", "here.secondField", id="field"),
        pytest.param(MissingSection, "MissingSection", "here", id="section"),
        pytest.param(MissingBelow, "MissingField.second_field", "here.below.secondField", id="field-below"),
        pytest.param(MissingItem, "MissingField.second_field", "here.items[].secondField", id="field-of-an-item"),
    ],
)
def test_generating_fails_on_what_has_no_description_and_names_it(
    sections: Callable[[type[Section], str], Iterator[str]], model: type[Section], symbol: str, path: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        list(sections(model, "here"))
    assert isinstance(ended.value.code, str)  # a message: exit code 1
    assert symbol in ended.value.code
    assert f"`{path}`" in ended.value.code


@pytest.mark.parametrize(
    ("model", "path"), [(AlignmentSpec, ""), (ClassifySpec, "classify")], ids=["run", "classifier"]
)
def test_the_page_has_every_section_of_the_specs(
    sections: Callable[[type[Section], str], Iterator[str]], model: type[Section], path: str
) -> None:
    page = (HACK.parent / "docs" / "spec.md").read_text()
    expected = list(sections(model, path))
    assert len(expected) > 3
    for section in expected:
        assert section in page, section.splitlines()[0]
