"""Deleting a finished run after its time to live (`spec.ttlSecondsAfterFinished`). Its outputs are kept.

The time counts from when the last Job had ended, and nothing is deleted while a pod is at work.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from captionless.controller.actions import Remove
from captionless.controller.stage_status import RunStatus
from captionless.kube.observed_state import Alignment, parse_time


def due(alignment: Alignment) -> datetime | None:
    """When a finished Alignment is to be deleted; None when it is kept or not finished."""
    ended, seconds = parse_time(alignment.status.get("completionTime")), alignment.spec.get("ttlSecondsAfterFinished")
    if ended is None or not isinstance(seconds, int) or seconds < 0:
        return None
    return ended + timedelta(seconds=seconds)


def ttl(run: RunStatus) -> Iterator[Remove]:
    """The deletion, once it is due."""
    at = due(run.alignment)
    if run.finished and not run.occupied and at is not None and run.now >= at:
        yield Remove(f"it finished at {run.alignment.status['completionTime']} and its time to live has elapsed")
