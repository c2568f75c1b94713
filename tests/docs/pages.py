"""The Markdown pages of the repository, and what they name."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!\\)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)


@functools.cache
def tracked() -> frozenset[str]:
    """The files of the repository, and their folders, from its root."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    files = {name for name in listed if (ROOT / name).exists()}
    return frozenset(files | {str(parent) for name in files for parent in Path(name).parents})


def pages() -> list[str]:
    """All Markdown files, from the root."""
    return sorted(name for name in tracked() if name.endswith(".md"))


def text(page: str) -> str:
    return (ROOT / page).read_text()


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text(page))


def links(page: str) -> list[str]:
    """The targets of a page's links."""
    return _LINK.findall(prose(page))


def anchors(page: str) -> set[str]:
    """The fragments by which GitHub links to a page's headings."""
    found: set[str] = set()
    for heading in _HEADING.findall(prose(page)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        count = sum(1 for known in found if re.fullmatch(rf"{re.escape(slug)}(-\d+)?", known))
        found.add(f"{slug}-{count}" if slug in found else slug)
    return found


def tables(page: str, heading: str) -> list[list[str]]:
    """The cells of the rows of the first table below a heading, without its head."""
    section = re.split(rf"^#+ +{re.escape(heading)} *$", text(page), maxsplit=1, flags=re.MULTILINE)[1]
    lines = [line.strip() for line in re.split(r"^#+ ", section, maxsplit=1, flags=re.MULTILINE)[0].splitlines()]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[2:]
