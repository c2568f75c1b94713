"""The console script, also `python -m captionless`: signals, errors and exit codes around a command.

Signals are handled before anything else is imported (`runtime.signals`). Every exit code is one of `errors`. A failure
that the user can act on is printed to stderr without a traceback; a traceback means a bug. The same error is written to
the termination message (`runtime.termination_message`) for the process's parent.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from captionless.runtime import numba_cache, parent_death, signals

if TYPE_CHECKING:
    from captionless.errors import CaptionlessError
    from captionless.runtime.termination_message import TerminationMessage


def main() -> NoReturn:
    """Runs the command line and exits."""
    parent_death.end_with_parent()
    signals.stop_on_signals()
    numba_cache.provide()
    try:
        _end(_call())
    except signals.Stopped as stopped:
        _end(_failure(stopped))


def _call() -> TerminationMessage:
    """Runs the command; prints its error, if any, to stderr."""
    import logging

    from captionless.errors import Retryable
    from captionless.runtime import redaction, termination_message
    from captionless.runtime.encoding import replace_unknown

    replace_unknown()
    handler = logging.StreamHandler()
    handler.setFormatter(redaction.Formatter("captionless: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    gc.disable()  # until a command begins (`cli.app`): imports and help leave nothing worth collecting
    try:
        from captionless.cli.app import app

        found = app(standalone_mode=False)  # the command's result, or the code of an early exit such as --version's
    except SystemExit as end:
        if not end.code:  # shell completion exits this way
            return termination_message.TerminationMessage(0)
        # typer exits this way if the reader of the output, such as head, has closed the pipe
        return _failed(Retryable("the output pipe was closed by its reader"))
    except Exception as error:
        return _failure(error)
    if isinstance(found, termination_message.CommandResult):
        return termination_message.TerminationMessage(0, figures=found.figures, facts=found.facts)
    return termination_message.TerminationMessage(found if isinstance(found, int) else 0)


def _failure(error: BaseException) -> TerminationMessage:
    """Prints an exception to stderr."""
    from captionless.errors import CRASH, CaptionlessError, Interrupted, UsageError, one_line
    from captionless.runtime import termination_message
    from captionless.runtime.redaction import redacted

    signals.ignore_signals()
    if hasattr(error, "show") and hasattr(error, "format_message"):  # typer keeps the base class of these to itself
        shown = io.StringIO()  # it repeats arguments, which may be signed URLs
        error.show(shown)
        print(redacted(shown.getvalue()), file=sys.stderr, end="")
        return termination_message.TerminationMessage(UsageError.exit_code, UsageError.__name__, error.format_message())
    if isinstance(error, signals.Stopped):
        error = Interrupted(str(error))
    if isinstance(error, MemoryError):
        error = CaptionlessError("out of memory; lower the batch size, or use a larger machine")
    if not isinstance(error, CaptionlessError):
        import traceback

        print(redacted("".join(traceback.format_exception(error))), file=sys.stderr, end="")
        return termination_message.TerminationMessage(
            CaptionlessError.exit_code, CRASH, f"{type(error).__name__}: {one_line(error)}"
        )
    for line in redacted(str(error)).splitlines():
        print(f"captionless: {line}", file=sys.stderr)
    return _failed(error)


def _failed(error: CaptionlessError) -> TerminationMessage:
    from captionless.errors import kind_of
    from captionless.runtime.termination_message import TerminationMessage

    return TerminationMessage(error.exit_code, kind_of(error), str(error))


def _end(message: TerminationMessage) -> NoReturn:
    from captionless.errors import Retryable
    from captionless.runtime import termination_message

    signals.ignore_signals()
    termination_message.write(_with_progress(message))
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        os._exit(message.exit_code or Retryable.exit_code)
    if message.exit_code == 0:
        sys.exit(0)
    os._exit(message.exit_code)  # threads that wait for a storage or a server are not waited for


def _with_progress(message: TerminationMessage) -> TerminationMessage:
    """The message with the units that were done: who is not allowed to read a pod's metrics learns it at its end."""
    from captionless.runtime import env

    path = os.environ.get(env.PROGRESS)
    if not path:
        return message
    from dataclasses import replace

    from captionless.telemetry import progress

    state = progress.read(path)
    return message if state is None else replace(message, done=state.done)


if __name__ == "__main__":
    main()
