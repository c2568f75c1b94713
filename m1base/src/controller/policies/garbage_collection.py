"""Deleting Jobs that are no longer needed.

A stage that failed at its disruption limit still has its Job: the failure is
written to the status first, then the Job is deleted, so that a controller that dies in between does not lose it.
A Job that is still queued when another stage fails is no longer needed.
"""

from __future__ import annotations

from collections.abc import Iterator

from captionless.controller.actions import Delete
from captionless.controller.stage_status import RunStatus
from captionless.kube.stage_record import StageState


def garbage_collection(run: RunStatus) -> Iterator[Delete]:
    """Live Jobs of stages whose failure is recorded in the status, of all but a stage's newest attempt, and queued
    ones of a run that failed."""
    for s in run.stages:
        for w in s.workloads:
            if w.finished or w.deleting:
                continue
            if s.state is StageState.failed and s.record.state is StageState.failed:
                yield Delete(w, f"the stage failed: {s.message}")
            elif w.attempt < s.attempt:
                yield Delete(w, f"attempt {s.attempt} replaced it")
            elif run.failed and w.suspended:
                yield Delete(w, "another stage failed")
