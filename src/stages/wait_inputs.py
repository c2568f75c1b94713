"""Waiting for what a stage reads: for the manifests of the stages before it.

Without a controller nobody keeps the stages' order: their Jobs are applied together, and each waits for its own
inputs. A manifest appears when a stage is whole (see `store.ledger`), so that it is there is all there is to wait for.
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
    """The manifests that a stage reads, in the plan's order; `stage` as in the plan, or the first words of several."""
    stages = plan(spec)
    named = [s for s in stages if f"{s.name}-".startswith(f"{stage}-")]
    named = named or [s for s in stages if s.command[0] == stage.partition("-")[0]]
    read = {name for s in named for name in s.after}
    return [objects.join(spec.root, s.output, MANIFEST) for s in stages if s.name in read]


def wait(spec: AlignmentSpec, stage: str, patience: float) -> None:
    """Returns when everything that `stage` reads is there, telling every half minute what it waits for.

    Retryable names what is not there after `patience` seconds; SpecError at once when the storage cannot be used.
    """
    missing = input_manifests(spec, stage)
    if not missing:
        return
    objects.check(spec.root)
    began = time.monotonic()
    told = -_LINE_EVERY_SECONDS
    while missing := [url for url in missing if not objects.exists(url)]:
        waited = time.monotonic() - began
        if waited >= patience:
            raise Retryable(
                f"{missing[0]}: still not there after {duration(waited)}; the stage that makes it is not finished: "
                "see how it fares, then run again"
            )
        if waited - told >= _LINE_EVERY_SECONDS:
            told = waited
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            say(f"{stage}: waiting for {missing[0]}{more} ({duration(waited)})")
        time.sleep(min(_POLL_SECONDS, patience - waited))
