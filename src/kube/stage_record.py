"""The record of a stage in an Alignment's status: one item of `status.stages`.

Most of it repeats what can be observed in the cluster and is there for people. The controller itself needs
only that a stage succeeded or failed (its Job may be gone), the number of its newest attempt, and
the count of disruptions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from pydantic.alias_generators import to_camel


class StageState(StrEnum):
    waiting = "Waiting"
    running = "Running"
    suspended = "Suspended"
    succeeded = "Succeeded"
    failed = "Failed"


@dataclass(frozen=True)
class StageRecord:
    """A stage in the status.

    done, total: in `unit`s, over all its pods. failures: pods of this attempt that failed and were counted.
    disruptions: pods that were disrupted, over all attempts. disruptions_without_progress: events that disrupted any
    since the stage last made progress beyond `reached` (for a training: the step of the newest known checkpoint) or
    `completed` pods. disrupted_at: when the last of these events began.
    reason: why it failed, in one word. message: why it failed or is waiting, in one line.
    """

    name: str
    state: StageState = StageState.waiting
    attempt: int = 0
    job: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    failures: int = 0
    disruptions: int = 0
    disruptions_without_progress: int = 0
    disrupted_at: str = ""
    reached: int = 0
    completed: int = 0
    start_time: str = ""
    completion_time: str = ""
    reason: str = ""
    message: str = ""

    def to_status(self) -> dict[str, Any]:
        """As an item of the status, without empty fields."""
        values = {to_camel(f.name): getattr(self, f.name) for f in fields(self)}
        return {k: str(v) if isinstance(v, StageState) else v for k, v in values.items() if v or k == "name"}


def read(status: Mapping[str, Any], stages: Iterable[str]) -> dict[str, StageRecord]:
    """The records of the given stages; a stage without a record is waiting."""
    known = {str(r.get("name")): r for r in status.get("stages") or ()}
    return {name: _record(name, known.get(name, {})) for name in stages}


def _record(name: str, found: Mapping[str, Any]) -> StageRecord:
    values = {f.name: found[to_camel(f.name)] for f in fields(StageRecord) if to_camel(f.name) in found}
    return StageRecord(**{**values, "name": name, "state": StageState(found.get("state") or StageState.waiting)})
