"""What the pages name exists: the targets of links, files of the code by path, modules and symbols by dotted name."""

from __future__ import annotations

import ast
import functools
import os
import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, anchors, links, pages, text, tracked

SRC = ROOT / "src"
_HISTORY = ("CHANGELOG.md",)  # which may name what is gone

_PACKAGES = "|".join(sorted(p.parent.name for p in SRC.glob("*/__init__.py")))
_PATH = re.compile(r"(?<![\w./-])((?:src/|tests/|hack/|benchmarks/|charts/|examples/|k8s/|docs/)[\w./-]*\w/?)")
_BELOW_SRC = re.compile(rf"(?<![\w./-])((?:{_PACKAGES})/[\w/]+\.py)\b")
_DOTTED = re.compile(r"(?<![\w./-])captionless(?!\.dev\b)((?:\.[A-Za-z_]\w*)+)")  # captionless.dev is the API group


@pytest.mark.parametrize("page", pages())
def test_every_relative_link_leads_somewhere(page: str) -> None:
    lost = []
    for link in links(page):
        target, _, fragment = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        path = os.path.normpath(Path(page).parent / target) if target else page
        if path not in tracked() or (fragment and path.endswith(".md") and fragment not in anchors(path)):
            lost.append(link)
    assert not lost


@pytest.mark.parametrize("page", [p for p in pages() if p not in _HISTORY])
def test_every_path_exists(page: str) -> None:
    found = text(page)
    lost = [path for path in _PATH.findall(found) if path.rstrip("/") not in tracked()]
    lost += [path for path in _BELOW_SRC.findall(found) if f"src/{path}" not in tracked()]
    assert not lost


@pytest.mark.parametrize("page", [p for p in pages() if p not in _HISTORY])
def test_every_dotted_name_is_defined(page: str) -> None:
    lost = [f"captionless{name}" for name in _DOTTED.findall(text(page)) if not defined(name.lstrip(".").split("."))]
    assert not lost


def defined(parts: list[str]) -> bool:
    """Whether `parts` are a module of the package, or a module and what it defines."""
    for depth in range(len(parts), -1, -1):
        at = SRC.joinpath(*parts[:depth])
        for module in (at.with_suffix(".py"), at / "__init__.py"):
            if module.is_file():
                rest = parts[depth:]
                return not rest or ".".join(rest) in symbols(module)
    return False


@functools.cache
def symbols(module: Path) -> frozenset[str]:
    """The names that a module defines or imports, and those in its classes as `Class.name`."""
    return frozenset(_symbols(ast.parse(module.read_text()).body, ""))


def _symbols(body: list[ast.stmt], prefix: str) -> set[str]:
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.ClassDef):
            found |= {prefix + node.name} | _symbols(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(prefix + node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {prefix + (alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {prefix + name.id for t in targets for name in ast.walk(t) if isinstance(name, ast.Name)}
    return found
