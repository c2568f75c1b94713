"""Every state of a run, and what tools that go by kstatus are to make of it.

They wait until a run is accepted, and are told when it is given up; what it needs days for, or a person, is no reason
to roll it back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from captionless.controller.stage_status import RunStatus, run_status
from captionless.controller.status import status
from captionless.kube.crd import crd
from captionless.kube.observed_state import Failed, ObservedState, Problem
from captionless.kube.stage_record import StageState
from tests.controller.kstatus import CURRENT, FAILED, IN_PROGRESS, TERMINATING
from tests.controller.seen import NOW, ago, alignment, done, ended, pod, reading, record, run, workload

Object = dict[str, Any]

ALL = ("pack", "embed", "landmarks", "similarity-i2i", "similarity-i2l", "train-avg-seed0", "eval")
_ENDED = Failed("PodFailurePolicy", "")
_PROBLEM = Problem("Forbidden", "exceeded quota: jobs.batch")


def _new(problem: Problem | None = None, **changed: Any) -> RunStatus:
    """A run of which nothing was made yet."""
    return run_status(ObservedState(alignment(**changed), problem=problem), NOW)


def _pending(**changed: Any) -> RunStatus:
    return run(workload(), pods=[pod(phase="Pending", started=None, node="", **changed)])


def _still() -> RunStatus:
    """A training that hangs."""
    name = "train-avg-seed0"
    node = pod(name)
    progress = {node.uid: reading(5, 100, 3600, "step")}
    return run(workload(name), pods=[node], readings=progress, status=done(*ALL[:5]))


_ACCEPTED = {"stages": [record("list", "Running")]}
_GIVEN_UP = {"stages": [record("pack", "Failed", message="no bucket")]}

RUNS: dict[str, tuple[RunStatus, str]] = {
    "new": (_new(), IN_PROGRESS),
    "first-job-refused": (_new(_PROBLEM), IN_PROGRESS),
    "new-in-queue": (_new(queue="team-a"), IN_PROGRESS),
    "new-and-suspended": (_new(suspend=True), CURRENT),
    "invalid": (_new(output="/home/me"), FAILED),
    "accepted": (run_status(ObservedState(alignment(_ACCEPTED), (workload("list"),)), NOW), CURRENT),
    "running": (run(workload(), pods=[pod()]), CURRENT),
    "between-stages": (run(status=done("pack")), CURRENT),
    "later-job-refused": (replace(run(status=done("pack")), problem=_PROBLEM), CURRENT),
    "unschedulable": (_pending(unschedulable="0/3 nodes are available"), CURRENT),
    "no-image": (_pending(waiting=("ErrImagePull", "x")), CURRENT),
    "no-secret": (_pending(waiting=("CreateContainerConfigError", "x")), CURRENT),
    "pods-forbidden": (run(workload(began=ago(60))), CURRENT),
    "retrying": (run(workload(failures=1), pods=[pod(**ended(1, "connection lost"))]), CURRENT),
    "shard-failed": (run(workload(failed_indexes=frozenset({0})), pods=[pod(**ended(65, "bad mesh"))]), CURRENT),
    "disrupted": (run(workload(), pods=[pod(disruption="EvictionByEvictionAPI", **ended(75))]), CURRENT),
    "no-progress": (_still(), CURRENT),
    "node-lost": (run(workload(), pods=[pod(deleting=ago(3600))]), CURRENT),
    "queued": (run(workload(suspended=True), queue="team-a"), CURRENT),
    "preempted": (run(workload(suspended=True), pods=[pod(deleting=NOW)], queue="team-a"), CURRENT),
    "suspending": (run(workload(deleting=True), pods=[pod(deleting=NOW)], suspend=True), CURRENT),
    "suspended": (run(status={"stages": [record("pack", "Suspended")]}, suspend=True), CURRENT),
    "resumed": (run(status={"stages": [record("pack", "Suspended")]}), CURRENT),
    "new-of-tomorrow": (_new(train={"fieldOfTomorrow": 1}), IN_PROGRESS),
    "of-tomorrow": (run(workload(), train={"fieldOfTomorrow": 1}), CURRENT),
    "of-tomorrow-idle": (run(status=done("pack"), train={"fieldOfTomorrow": 1}), CURRENT),
    "not-understood": (run(workload(), output="/home/me"), CURRENT),
    "failing": (run(workload(failed=_ENDED, ended=ago(5)), pods=[pod(**ended(64, "no bucket"))]), FAILED),
    "failed": (run(status=_GIVEN_UP), FAILED),
    "failed-while-others-run": (run(workload("landmarks"), status=_GIVEN_UP), FAILED),
    "retry-asked": (run(status=_GIVEN_UP, retry="again"), CURRENT),
    "succeeded": (run(status=done(*ALL)), CURRENT),
    "succeeded-and-suspended": (run(status=done(*ALL), suspend=True), CURRENT),
}
"""By name: a run, and what it is to kstatus once its status is written."""


def _object(found: RunStatus | None, **metadata: Any) -> Object:
    default = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["default"]
    return {
        "apiVersion": "captionless.dev/v1alpha1",
        "kind": "Alignment",
        "metadata": {"name": "shapes", "namespace": "lab", "generation": 1, **metadata},
        "spec": {},
        "status": status(found) if found is not None else default,
    }


def states() -> dict[str, tuple[Object, str]]:
    """By name: an Alignment as the API server returns it, and what it is to kstatus."""
    running, _ = RUNS["running"]
    return {
        "unseen": (_object(None), IN_PROGRESS),
        "edited": (_object(running, generation=2), IN_PROGRESS),
        "deleted": (_object(running, deletionTimestamp="2026-01-01T00:00:00Z"), TERMINATING),
        **{name: (_object(found), expected) for name, (found, expected) in RUNS.items()},
    }


def stage_states() -> set[StageState]:
    """Those that occur in the runs."""
    return {s.state for found, _ in RUNS.values() for s in found.stages}
