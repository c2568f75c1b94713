"""What a check is given and what it finds; both are plain enough to be JSON between two processes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How it stands with a thing."""

    ok = "ok"
    absent = "absent"
    """Not there, and nothing that was asked about needs it."""
    warning = "warning"
    failed = "failed"


@dataclass(frozen=True)
class Finding:
    """What a check found, in a line, and what to do about it. `passing`: a failure that may be gone the next time."""

    state: Verdict
    found: str
    remedy: str = ""
    passing: bool = False


@dataclass(frozen=True)
class Subject:
    """What is looked at: the fields of a spec that say what must be there, or what holds without one.

    model, pretrained: of CLIP. storage: a URL that is written to; empty: none. device: of the training. pushgateway:
    its URL; empty: none. context, namespace: of the kubeconfig; empty: its own.
    """

    model: str
    pretrained: str = ""
    storage: str = ""
    device: str = "auto"
    pushgateway: str = ""
    context: str = ""
    namespace: str = ""
