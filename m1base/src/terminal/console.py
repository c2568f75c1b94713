"""The console that results are printed on: as wide as the terminal, or of a fixed width elsewhere."""

from __future__ import annotations

from rich.console import Console


def results_console(width: int = 120) -> Console:
    """A console on standard output; `width` characters wide if that is not a terminal."""
    found = Console()
    return found if found.is_terminal else Console(width=width)
