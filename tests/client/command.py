"""A command as it is typed, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from typer.testing import CliRunner

from captionless.cli.app import app
from captionless.errors import CaptionlessError


@dataclass(frozen=True)
class Ended:
    """What a command printed on stdout and stderr, and its exit code; `error` is the line that `main` would tell."""

    out: str
    err: str
    code: int
    error: str


def k8s(*arguments: str, answer: str = "") -> Ended:
    """Runs `captionless k8s ...`."""
    result = CliRunner().invoke(app, ["k8s", *arguments], input=answer)
    error = result.exception
    if isinstance(error, CaptionlessError):
        return Ended(result.stdout, result.stderr, error.exit_code, str(error))
    if error is not None and not isinstance(error, SystemExit):
        raise error
    return Ended(result.stdout, result.stderr, result.exit_code, "")


def in_background(command: Callable[[], Ended]) -> tuple[threading.Thread, list[Ended]]:
    """Runs a command while the test goes on; one at a time, since it takes stdout for itself."""
    found: list[Ended] = []
    thread = threading.Thread(target=lambda: found.append(command()), daemon=True)
    thread.start()
    return thread, found
