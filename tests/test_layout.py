"""The package's layout: modules of readable length, few at its root, and no circle of imports."""

from __future__ import annotations

import graphlib
from pathlib import Path

import grimp

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


def test_no_modules_import_each_other_in_a_circle() -> None:
    """In functions too, but not for type checking alone. import-linter holds the same of packages as wholes."""
    graph = grimp.build_graph("captionless", exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    graphlib.TopologicalSorter(imports).prepare()  # CycleError names the circle
