"""Suspending a run: `spec.suspend` deletes the running Jobs; the stages resume from storage when it is unset.

Succeeded and failed Jobs stay, for their logs. A Job that a queue suspends (`spec.queue`) is not affected. A spec that
this operator does not understand suspends, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from captionless.controller.actions import Delete
from captionless.controller.stage_status import RunStatus


def suspension(run: RunStatus) -> Iterator[Delete]:
    """The live Jobs, when the run is suspended."""
    if run.suspended:
        yield from (Delete(w, "the run is suspended") for w in run.live_workloads)
