"""The termination message: how a command ended, as a small JSON document for the process that started it.

The local runner reads it from a file. In a pod the file is /dev/termination-log, which the kubelet copies into the
pod's status: the only way for a worker without an API token to report to the controller. Hence the limit of 4096 bytes,
beyond which the kubelet would truncate the JSON, and the writing in place: that file is a bind mount and cannot be
replaced by a rename.

    {"exitCode": 65, "kind": "DataError", "message": "...", "figures": {}, "facts": {}, "done": 12}
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

_MOST = 2**53
"""Units that are believed to be done: a number that JSON keeps exactly, and Kubernetes stores."""
_MESSAGE = 1024
"""Bytes of a message that are always kept, before figures are dropped."""


@dataclass(frozen=True)
class CommandResult:
    """What a command returns for its termination message: `figures` by name, the most important first, and `facts`."""

    figures: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TerminationMessage:
    """How a command ended.

    kind: the class of `errors`, `UsageError` for a wrong command line, `crash` for a bug, empty on success.
    message: its lines on stderr. figures, facts: those of its `CommandResult`. done: the units of its stage that were
    done, as its metrics say; 0 if unknown.
    """

    exit_code: int
    kind: str = ""
    message: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    done: int = 0


def write(message: TerminationMessage) -> None:
    """Writes the message to the file that the environment names, if any; a failure to write is ignored."""
    path = os.environ.get(env.TERMINATION_MESSAGE)
    if not path:
        return
    try:
        with open(path, "wb") as file:
            file.write(encode(message))
    except OSError:
        pass  # its lines are on stderr as well


def encode(message: TerminationMessage) -> bytes:
    """The document in at most `LIMIT` bytes and without secrets.

    If it is too long, the text is truncated to no less than a kilobyte, then the last figures are dropped, then facts.
    """
    import json

    text, figures, facts = redacted(message.message), dict(message.figures), dict(message.facts)
    while True:
        document = {
            "exitCode": message.exit_code, "kind": message.kind, "message": text, "figures": figures, "facts": facts,
            "done": message.done,
        }  # fmt: skip
        data = json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str).encode(errors="replace")
        excess = len(data) - LIMIT
        if excess <= 0:
            return data
        if (room := len(text.encode(errors="replace"))) > _MESSAGE or not (figures or facts):
            text = _truncated(text, max(room - excess, min(_MESSAGE, room - 8)))
        elif figures:
            figures.popitem()
        else:
            facts.popitem()


def read(path: str) -> TerminationMessage | None:
    """The message that a process wrote to a file; None when there is none."""
    try:
        with open(path, "rb") as file:
            return parse(file.read().decode(errors="replace"))
    except OSError:
        return None


def parse(text: str) -> TerminationMessage | None:
    """Parses a termination message; None when the text is something else, such as the tail of a log.

    The text is a pod's own: whatever it is, nothing is raised, since a controller reads those of all runs.
    """
    import json

    try:
        found = json.loads(text)
        return TerminationMessage(
            int(found["exitCode"]),
            str(found["kind"]),
            str(found["message"]),
            {str(name): float(value) for name, value in found["figures"].items()},
            dict(found["facts"]),
            min(max(0, int(found.get("done") or 0)), _MOST),
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def _truncated(text: str, size: int) -> str:
    """The beginning of a text that has more than `size` bytes, with an ellipsis."""
    return text.encode(errors="replace")[: max(size - 3, 0)].decode(errors="ignore") + "…"
