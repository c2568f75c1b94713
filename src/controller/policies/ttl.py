"""Removing a finished run after its time (`spec.ttlSecondsAfterFinished`). Its outputs stay where they are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from captionless.controller.actions import Remove
from captionless.controller.stage_status import RunStatus
from captionless.kube.observed_state import Alignment, time_of


def due(alignment: Alignment) -> datetime | None:
    """When an Alignment that has finished goes; None when it stays or has not finished."""
    ended, seconds = time_of(alignment.status.get("completionTime")), alignment.spec.get("ttlSecondsAfterFinished")
    if ended is None or not isinstance(seconds, int) or seconds < 0:
        return None
    return ended + timedelta(seconds=seconds)


def ttl(run: RunStatus) -> Iterator[Remove]:
    """The removal, once it is due."""
    at = due(run.alignment)
    if run.finished and at is not None and run.now >= at:
        yield Remove(f"it finished at {run.alignment.status['completionTime']} and its time is over")
