"""Errors that a user can act on, each with the exit code of the command. No other module defines an exit code.

Every command maps an exception of this module to one line on stderr and to the
exit code of its class; anything else is a bug and keeps its traceback. What a
Kubernetes Job does with a pod that ends with the code (its `podFailurePolicy`), and how
the controller and `captionless k8s` read the codes, follow from `pod_failure_action`:

====  =========================================================  ================
code  meaning                                                    what a Job does
====  =========================================================  ================
0     done
1     failed, retrying may help (network, disk, memory)          counts a failure
2     wrong command line                                         fails the Job
64    wrong spec, credentials or bucket: retrying is useless     fails the Job
65    this shard's data is bad; other shards are not affected    fails the index
75    interrupted (SIGTERM, SIGINT), nothing is wrong            ignores it
====  =========================================================  ================
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from itertools import islice

_MOST_CHOICES = 20_000


class PodFailureAction(StrEnum):
    """What a Job does when a pod ends with an exit code. Except for `counted`, values are those of podFailurePolicy."""

    counted = "Count"
    """Counts it against the index's back-off limit and retries."""
    fail_job = "FailJob"
    fail_index = "FailIndex"
    ignore = "Ignore"
    """Replaces the pod without counting it."""


class CaptionlessError(Exception):
    """A failure reported in one line; `exit_code` is what the command returns."""

    exit_code = 1
    pod_failure_action = PodFailureAction.counted


class Retryable(CaptionlessError):
    """Something outside failed (network, disk full): the same call may succeed later."""

    exit_code = 1


class UsageError(CaptionlessError):
    """The command line is wrong. Typer raises an exception of its own, which is reported as this one."""

    exit_code = 2
    pod_failure_action = PodFailureAction.fail_job


class SpecError(CaptionlessError):
    """The description, the credentials or the bucket are wrong; retrying cannot help."""

    exit_code = 64
    pod_failure_action = PodFailureAction.fail_job


class LossNotFinite(SpecError):
    """A training's loss or gradient became NaN or infinite: its settings do not fit the data."""


class DataError(CaptionlessError):
    """An object, shard, embedding or matrix is invalid or damaged; the line names it."""

    exit_code = 65
    pod_failure_action = PodFailureAction.fail_index


class Interrupted(CaptionlessError):
    """Stopped by SIGTERM or SIGINT; finished work is kept, rerun to resume."""

    exit_code = 75
    pod_failure_action = PodFailureAction.ignore


KINDS: tuple[type[CaptionlessError], ...] = (LossNotFinite, SpecError, DataError, Interrupted, Retryable)
"""How a command can end without success; if several parts ended differently, the first of these applies."""

FINAL = {kind.__name__: kind for kind in KINDS if issubclass(kind, SpecError | DataError)}
"""Those of them that a retry cannot fix, by name."""


def kind_of(error: CaptionlessError) -> str:
    """The name of the kind that an error is of: of its class, or the one that this refines."""
    return next((kind.__name__ for kind in KINDS if isinstance(error, kind)), type(error).__name__)


CRASH = "crash"
"""What is reported in place of a class's name when a command ends by another exception, which is a bug."""


def exit_codes(*actions: PodFailureAction) -> tuple[int, ...]:
    """The exit codes for which a Job takes one of these actions, in order."""
    kinds: tuple[type[CaptionlessError], ...] = (*KINDS, UsageError)
    return tuple(sorted({kind.exit_code for kind in kinds if kind.pod_failure_action in actions}))


def one_line(error: BaseException, limit: int = 240) -> str:
    """An exception's text on one line of readable length; the name of its class if it has no text."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`'; did you mean "chair"?'` for the nearest of `choices`, or an empty string. Of very many the first are looked
    at, since comparing a million would take a minute."""
    import difflib

    close = difflib.get_close_matches(str(word), [str(c) for c in islice(choices, _MOST_CHOICES)], n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""
