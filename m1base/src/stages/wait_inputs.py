"""Waits for a stage's inputs: the stages before it, made from what the spec describes.

Without the operator nothing orders the stages: their Jobs are applied together, and each waits for its own inputs. That
there is a manifest is not enough, since it may be an earlier run's: `chain.verify` tells.
"""

from __future__ import annotations

import time

from captionless.errors import Retryable
from captionless.spec.alignment import AlignmentSpec
from captionless.stages import chain
from captionless.store import objects
from captionless.telemetry.progress import duration, say

_POLL_SECONDS = 2.0
_LINE_EVERY_SECONDS = 30.0


def wait(spec: AlignmentSpec, stage: str, patience: float) -> None:
    """Returns when all inputs of `stage` are those of `spec`; logs every 30 s what it is waiting for.

    Retryable, with the input and what is wrong with it, after `patience` seconds; SpecError at once when the storage is
    not accessible.
    """
    if not chain.reads(spec, stage):
        return
    objects.check(spec.root)
    began = time.monotonic()
    logged = -_LINE_EVERY_SECONDS
    while True:
        try:
            chain.verify(spec, stage)
            return
        except chain.NotReady as error:
            reason = str(error)
        waited = time.monotonic() - began
        if waited >= patience:
            raise Retryable(f"{reason} (waited {duration(waited)})")
        if waited - logged >= _LINE_EVERY_SECONDS:
            logged = waited
            say(f"{stage}: waiting: {reason} ({duration(waited)})")
        time.sleep(min(_POLL_SECONDS, patience - waited))
