"""The input and the result of a check; both are JSON-serialisable, to cross a process boundary."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The verdict of a check."""

    ok = "ok"
    absent = "absent"
    """Not available, and not needed for what was checked."""
    warning = "warning"
    failed = "failed"


@dataclass(frozen=True)
class Finding:
    """What a check found, in one line, and what to do about it. `passing`: a failure that may be transient."""

    state: Verdict
    found: str
    remedy: str = ""
    passing: bool = False


@dataclass(frozen=True)
class Subject:
    """What to check: the fields of a spec that determine what is needed, or their defaults.

    model, pretrained: of CLIP. storage: a URL to write to; empty for none. device: for training. pushgateway: its URL;
    empty for none. context, namespace: of the kubeconfig; empty for its current ones.
    """

    model: str
    pretrained: str = ""
    storage: str = ""
    device: str = "auto"
    pushgateway: str = ""
    context: str = ""
    namespace: str = ""
