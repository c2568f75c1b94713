"""What is printed where the terminal, or a pipe's reader, expects an encoding that lacks some characters.

What people read is printed with `?` for these. What programs read (JSON, YAML) is escaped instead, so that no name
changes.
"""

from __future__ import annotations

import codecs
import io
import json
import sys
from typing import Any


def replace_unknown() -> None:
    """Lets stdout and stderr print `?` for characters that their encoding lacks, and for bytes of file names that are
    no text."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def stdout_is_unicode() -> bool:
    """Whether stdout's encoding has all characters."""
    try:
        return codecs.lookup(sys.stdout.encoding or "ascii").name.startswith("utf")
    except LookupError:
        return False


def json_text(document: Any, *, sort_keys: bool = False) -> str:
    """A document as JSON for stdout."""
    return json_for_stdout(json.dumps(document, indent=1, sort_keys=sort_keys, ensure_ascii=False))


def json_for_stdout(text: str) -> str:
    """JSON with escapes where stdout does not take all characters: those that are not ASCII are in strings only."""
    if stdout_is_unicode() or text.isascii():
        return text
    return "".join(c if c.isascii() else json.dumps(c)[1:-1] for c in text)
