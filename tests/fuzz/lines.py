"""Which lines of a package's functions a call reaches."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

Lines = dict[str, set[int]]
"""By module."""


def modules_of(packages: Sequence[str]) -> dict[str, str]:
    """The modules or packages of these names and what is below them: the file of each."""
    names = list(packages)
    for package in packages:
        top = importlib.import_module(package)
        if hasattr(top, "__path__"):
            names += [found.name for found in pkgutil.walk_packages(top.__path__, package + ".")]
    return {name: inspect.getsourcefile(importlib.import_module(name)) or "" for name in names}


def of_functions(packages: Sequence[str]) -> Lines:
    """The lines with code in the functions of the packages, those that compilers of functions compile included."""
    found: Lines = {}
    for name, file in modules_of(packages).items():
        with open(file, encoding="utf-8") as source:
            found[name] = set(_of_code(compile(source.read(), file, "exec")))
    return found


def _of_code(code: CodeType) -> Iterator[int]:
    if code.co_flags & inspect.CO_OPTIMIZED:  # a function's, and not a module's or a class's, which run when imported
        yield from {line for _, _, line in code.co_lines() if line is not None} - {code.co_firstlineno}
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _of_code(inner)


@contextmanager
def reached(packages: Sequence[str]) -> Iterator[Lines]:
    """Collects the lines that are reached meanwhile."""
    names = {file: name for name, file in modules_of(packages).items()}
    found: Lines = {name: set() for name in names.values()}

    def enter(frame: FrameType, event: str, value: Any) -> Any:
        name = names.get(frame.f_code.co_filename)
        if name is None:
            return None
        lines = found[name]

        def step(frame: FrameType, event: str, value: Any) -> Any:
            lines.add(frame.f_lineno)
            return step

        return step

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield found
    finally:
        sys.settrace(before)
