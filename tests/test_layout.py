"""The package's layout: modules of readable length, few at its root, and no circle of imports."""

from __future__ import annotations

import graphlib
from pathlib import Path

import grimp
import pytest

SRC = Path(__file__).parent.parent / "src"

MOST_LINES = 400
REASON = "Longer than 400 lines because"
"""What begins a line of the docstring of a module that has a reason to be longer."""

MOST_AT_THE_ROOT = 6


def test_no_module_is_longer_than_it_says_why() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in SRC.rglob("*.py")}
    long = [path for path, lines in sizes.items() if lines > MOST_LINES]
    assert [str(path.relative_to(SRC)) for path in long if REASON not in path.read_text()] == []


def test_few_modules_are_loose_at_the_root() -> None:
    assert len(list(SRC.glob("*.py"))) <= MOST_AT_THE_ROOT


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """The modules that each module imports, in functions too, and not for type checking alone."""
    graph = grimp.build_graph("captionless", exclude_type_checking_imports=True, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def test_no_modules_import_each_other_in_a_circle(imports: dict[str, set[str]]) -> None:
    assert _circle(imports) == []


def test_no_packages_import_each_other_in_a_circle(imports: dict[str, set[str]]) -> None:
    """In each package, its modules and sub-packages taken as wholes."""
    found = {}
    for package in {module.rpartition(".")[0] for module in imports} - {""}:
        children = {m for m in imports if m.rpartition(".")[0] == package}
        below = {m: next((c for c in children if f"{m}.".startswith(f"{c}.")), "") for m in imports}
        wholes: dict[str, set[str]] = {child: set() for child in children}
        for module, imported in imports.items():
            if child := below[module]:
                wholes[child] |= {below[m] for m in imported} - {child, ""}
        if circle := _circle(wholes):
            found[package] = circle
    assert found == {}


def _circle(imports: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []
