"""Where results are printed: a terminal as wide as it is, or else lines of a fixed width, which nobody tears."""

from __future__ import annotations

from rich.console import Console


def results_console(width: int = 120) -> Console:
    """Standard output; `width` characters a line where it is no terminal."""
    found = Console()
    return found if found.is_terminal else Console(width=width)
