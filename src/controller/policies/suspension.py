"""A run on hold: `spec.suspend` removes the Jobs at work; the stages go on from storage when it is lifted.

Succeeded and failed Jobs stay, for their logs. A Job that a queue holds (`spec.queue`) is none of this.
"""

from __future__ import annotations

from collections.abc import Iterator

from captionless.controller.actions import Delete
from captionless.controller.stage_status import RunStatus


def suspension(run: RunStatus) -> Iterator[Delete]:
    """The Jobs at work, when the run is to be held."""
    if run.spec is not None and run.spec.suspend:
        yield from (Delete(w, "the run is suspended") for w in run.at_work)
