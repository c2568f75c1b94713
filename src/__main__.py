"""The console script, also `python -m captionless`: a process's life around its command.

Signals are handled before anything else is imported (see `lifeline`). Every end is an exit code of `errors`; a failure
that a person can act on is told in lines on stderr without a traceback, which means a bug; and whoever started the
process gets the same by `ending`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from captionless import kernels, lifeline

if TYPE_CHECKING:
    from captionless.ending import Ending


def main() -> NoReturn:
    """Runs the command line and ends the process."""
    lifeline.end_with_parent()
    lifeline.stop_on_signals()
    kernels.provide()
    try:
        _end(_call())
    except lifeline.Stopped as stopped:
        _end(_failure(stopped))


def _call() -> Ending:
    """The command's end, told on stderr where it went wrong."""
    import logging

    from captionless import ending, redaction

    handler = logging.StreamHandler()
    handler.setFormatter(redaction.Formatter("captionless: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    try:
        from captionless.cli import app

        found = app(standalone_mode=False)  # what the command returned, or the code of an early exit as --version's
    except SystemExit as end:
        if not end.code:  # so a shell's question for completions ends
            return ending.Ending(0)
        # and so typer ends where the reader of our output (head, say) has gone
        return ending.Ending(1, "Retryable", "the reader of the output has gone")
    except Exception as error:
        return _failure(error)
    if isinstance(found, ending.Told):
        return ending.Ending(0, figures=found.figures, facts=found.facts)
    return ending.Ending(found if isinstance(found, int) else 0)


def _failure(error: BaseException) -> Ending:
    """The end by an exception, told on stderr."""
    from captionless import ending
    from captionless.errors import CaptionlessError, Interrupted, one_line
    from captionless.redaction import redacted

    lifeline.ignore_signals()
    if hasattr(error, "show") and hasattr(error, "format_message"):  # typer keeps the base class of these to itself
        error.show()
        return ending.Ending(2, "UsageError", error.format_message())
    if isinstance(error, lifeline.Stopped):
        error = Interrupted(str(error))
    if isinstance(error, MemoryError):
        error = CaptionlessError("out of memory; lower the batch size, or use a larger machine")
    if not isinstance(error, CaptionlessError):
        import traceback

        print(redacted("".join(traceback.format_exception(error))), file=sys.stderr, end="")
        return ending.Ending(1, "crash", f"{type(error).__name__}: {one_line(error)}")
    for line in redacted(str(error)).splitlines():
        print(f"captionless: {line}", file=sys.stderr)
    return ending.Ending(error.exit_code, type(error).__name__, str(error))


def _end(ending: Ending) -> NoReturn:
    from captionless.ending import tell

    lifeline.ignore_signals()
    tell(ending)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        os._exit(ending.exit_code or 1)
    if ending.exit_code == 0:
        sys.exit(0)
    os._exit(ending.exit_code)  # threads that wait for a storage or a server are not waited for


if __name__ == "__main__":
    main()
