"""How a command ended, as a small JSON document for whoever started it.

The local runner reads it from a file of its own. In a pod the file is /dev/termination-log, which the kubelet
copies into the pod's status, the only thing that a worker without an API token can tell the controller. Hence the
limit of 4096 bytes, beyond which the kubelet would cut the JSON in the middle, and the writing in place: that file
is a bind mount and cannot be renamed onto.

    {"exitCode": 65, "kind": "DataError", "message": "...", "figures": {}, "facts": {}}
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from captionless.runtime import env
from captionless.runtime.redaction import redacted

LIMIT = 4096
"""Bytes that a pod's termination message may have (Kubernetes API, Container.terminationMessagePath)."""

_MESSAGE = 1024
"""Bytes of a message that are kept in any case, before figures are left out."""


@dataclass(frozen=True)
class CommandResult:
    """What a command leaves for its ending: `figures` by name, the most telling first, and other `facts`."""

    figures: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TerminationMessage:
    """A command's end.

    kind: the class of `errors`, `UsageError` for a wrong command line, `crash` for a bug, empty when it ended well.
    message: what it told on stderr, in lines. figures, facts: what the command left (`Told`).
    """

    exit_code: int
    kind: str = ""
    message: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def tell(ending: TerminationMessage) -> None:
    """Writes the ending where the environment asks for it. That it cannot be written is no failure of the command."""
    path = os.environ.get(env.ENDING)
    if not path:
        return
    try:
        with open(path, "wb") as file:
            file.write(encode(ending))
    except OSError:
        pass  # the line is on stderr as well


def encode(ending: TerminationMessage) -> bytes:
    """The document in at most `LIMIT` bytes and without secrets.

    Too long, it loses the end of its message down to a kilobyte, then the last figures, then the facts.
    """
    import json

    message, figures, facts = redacted(ending.message), dict(ending.figures), dict(ending.facts)
    while True:
        document = {
            "exitCode": ending.exit_code, "kind": ending.kind, "message": message, "figures": figures, "facts": facts,
        }  # fmt: skip
        data = json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str).encode(errors="replace")
        excess = len(data) - LIMIT
        if excess <= 0:
            return data
        if (room := len(message.encode(errors="replace"))) > _MESSAGE or not (figures or facts):
            message = _cut(message, max(room - excess, min(_MESSAGE, room - 8)))
        elif figures:
            figures.popitem()
        else:
            facts.popitem()


def read(path: str) -> TerminationMessage | None:
    """The ending that a process left in a file; None when it left none."""
    try:
        with open(path, "rb") as file:
            return parse(file.read().decode(errors="replace"))
    except OSError:
        return None


def parse(text: str) -> TerminationMessage | None:
    """The ending in a termination message; None when it is something else, such as the tail of a log."""
    import json

    try:
        found = json.loads(text)
        return TerminationMessage(
            int(found["exitCode"]),
            str(found["kind"]),
            str(found["message"]),
            {str(name): float(value) for name, value in found["figures"].items()},
            dict(found["facts"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _cut(text: str, size: int) -> str:
    """The beginning of a text that has more than `size` bytes, with an ellipsis."""
    return text.encode(errors="replace")[: max(size - 3, 0)].decode(errors="ignore") + "…"
