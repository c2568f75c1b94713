"""Waits for a stage's inputs: the manifests of the stages before it.

Without the operator nothing orders the stages: their Jobs are applied together, and each waits for its own inputs. A
manifest is written when a stage is complete (see `store.ledger`), so its existence is all there is to wait for.
"""

from __future__ import annotations

import time

from captionless.errors import Retryable
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import plan
from captionless.store import objects
from captionless.store.ledger import MANIFEST
from captionless.telemetry.progress import duration, say

_POLL_SECONDS = 2.0
_LINE_EVERY_SECONDS = 30.0


def input_manifests(spec: AlignmentSpec, stage: str) -> list[str]:
    """The manifests that a stage reads, in plan order; `stage` as in the plan, or a prefix of several."""
    stages = plan(spec)
    named = [s for s in stages if f"{s.name}-".startswith(f"{stage}-")]
    named = named or [s for s in stages if s.command[0] == stage.partition("-")[0]]
    read = {name for s in named for name in s.after}
    return [objects.join(spec.root, s.output, MANIFEST) for s in stages if s.name in read]


def wait(spec: AlignmentSpec, stage: str, patience: float) -> None:
    """Returns when all inputs of `stage` exist; logs every 30 s what it is waiting for.

    Retryable, with the missing input, after `patience` seconds; SpecError at once when the storage is not accessible.
    """
    missing = input_manifests(spec, stage)
    if not missing:
        return
    objects.check(spec.root)
    began = time.monotonic()
    logged = -_LINE_EVERY_SECONDS
    while missing := [url for url in missing if not objects.exists(url)]:
        waited = time.monotonic() - began
        if waited >= patience:
            raise Retryable(
                f"{missing[0]}: still missing after {duration(waited)}: the stage that writes it has not finished; "
                "check that stage, then rerun"
            )
        if waited - logged >= _LINE_EVERY_SECONDS:
            logged = waited
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            say(f"{stage}: waiting for {missing[0]}{more} ({duration(waited)})")
        time.sleep(min(_POLL_SECONDS, patience - waited))
