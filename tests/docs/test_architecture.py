"""docs/architecture.md: the picture of the layers is import-linter's, and the table of modules is the code's."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, tables, text
from tests.docs.test_links import symbols

PAGE = "docs/architecture.md"
WHERE = tables(PAGE, "Where is ...?")


def _linted() -> list[set[str]]:
    """The layers of the package, the highest first, as import-linter holds them."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (c["layers"] for c in linter["contracts"] if "captionless.cli" in c.get("layers", ()))
    return [{name.strip().removeprefix("captionless.") for name in layer.split("|")} for layer in layers]


def _drawn() -> tuple[dict[str, set[str]], list[tuple[str, str]]]:
    """The picture's layers by their name, with the packages in them, and the arrows between layers."""
    (picture,) = re.findall(r"^```mermaid\n(.*?)^```", text(PAGE), re.MULTILINE | re.DOTALL)
    layers: dict[str, set[str]] = {}
    arrows: list[tuple[str, str]] = []
    name = ""
    for line in (line.strip() for line in picture.splitlines()):
        if begun := re.fullmatch(r'subgraph (\w+)\[".*"\]', line):
            name = begun[1]
            layers[name] = set()
        elif line == "end":
            name = ""
        elif package := re.fullmatch(r'(\w+)\["(\w+)"\]', line):
            assert package[1] == package[2], line
            layers[name].add(package[2])
        elif "-->" in line:
            chain = [end.strip() for end in line.split("-->")]
            arrows += itertools.pairwise(chain)
        else:
            assert line == "flowchart TB", line
    return layers, arrows


def test_the_picture_shows_the_layers_that_import_linter_holds() -> None:
    layers, arrows = _drawn()
    assert list(layers.values()) == _linted()
    names = list(layers)
    assert arrows == list(itertools.pairwise(names))


def test_every_package_is_in_a_layer() -> None:
    packages = {p.parent.name for p in (ROOT / "src").glob("*/__init__.py")}
    modules = {p.stem for p in (ROOT / "src").glob("*.py")} - {"__init__"}
    assert set().union(*_linted()) == packages | modules


def test_the_table_answers_enough_questions() -> None:
    assert len(WHERE) >= 20
    assert len({row[0] for row in WHERE}) == len(WHERE)


@pytest.mark.parametrize("row", WHERE, ids=[row[0] for row in WHERE])
def test_behaviour_is_where_the_table_says(row: list[str]) -> None:
    _, module, symbol = (cell.strip("`") for cell in row)
    path = ROOT / module
    assert path.suffix == ".py"
    assert path.is_file()
    assert path.is_relative_to(ROOT / "src")
    assert symbol in symbols(Path(path))
