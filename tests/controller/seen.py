"""Small values to look at: pods, Jobs and runs, each with what a test changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from captionless.controller.stage_status import RunStatus, run_status
from captionless.kube.observed_state import Alignment, End, ObservedState, Pod, Reading, Workload
from captionless.runtime.termination_message import TerminationMessage
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import Stage, plan
from tests.controller.world import SPEC

LIST, PACK, EMBED, LANDMARKS = range(4)
"""The places of the first stages among those of a run."""

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def spec(**changed: Any) -> AlignmentSpec:
    return load.build_spec({"name": "shapes", **SPEC, **changed})


def stage(name: str) -> Stage:
    return next(s for s in plan(spec()) if s.name == name)


def alignment(status: Mapping[str, Any] | None = None, retry: str = "", **changed: Any) -> Alignment:
    return Alignment(
        "lab", "shapes", "uid-a", 1, "1", ago(3600), False, {**SPEC, **changed}, status or {}, retry
    )  # fmt: skip


def workload(name: str = "pack", **changed: Any) -> Workload:
    values: dict[str, Any] = {
        "kind": "Job", "namespace": "lab", "name": f"shapes-{name}-1", "uid": f"job-{name}-{changed.get('attempt', 1)}",
        "owner": "uid-a", "stage": name, "attempt": 1, "created": ago(600), "suspended": False, "deleting": False,
        "complete": False, "failed": None, "began": ago(10), "ended": None,
    }  # fmt: skip
    return Workload(**{**values, **changed})


def pod(name: str = "pack", index: int = 0, **changed: Any) -> Pod:
    attempt = changed.get("attempt", 1)
    values: dict[str, Any] = {
        "namespace": "lab", "name": f"shapes-{name}-{attempt}-{index}-x", "uid": f"pod-{name}-{attempt}-{index}",
        "owner": f"job-{name}-{attempt}", "stage": name, "attempt": 1, "index": index, "node": "node-1",
        "phase": "Running", "created": ago(600), "started": ago(590),
    }  # fmt: skip
    return Pod(**{**values, **changed})


def ended(
    code: int, message: str = "", reason: str = "", kind: str = "", done: int = 0, **figures: float
) -> dict[str, Any]:
    """A pod's fields when its container ended."""
    ending = TerminationMessage(code, kind, message, figures, {}, done)
    return {"phase": "Failed" if code else "Succeeded", "started": None, "end": End(code, reason, ago(5), ending)}


def reading(done: int, total: int, advanced: float, unit: str = "object") -> Reading:
    """Progress that last advanced so many seconds ago."""
    return Reading(done, total, unit, ago(advanced), NOW)


def run(
    *workloads: Workload,
    pods: Iterable[Pod] = (),
    readings: Mapping[str, Reading] | None = None,
    status: Mapping[str, Any] | None = None,
    retry: str = "",
    **changed: Any,
) -> RunStatus:
    """The status of a run whose objects were listed before, unless `status` says otherwise of that stage."""
    stages = (status or {}).get("stages") or []
    if all(s["name"] != "list" for s in stages):
        stages = [record("list", "Succeeded"), *stages]
    status = {**(status or {}), "stages": stages}
    seen = ObservedState(alignment(status, retry, **changed), workloads, tuple(pods), readings or {})
    return run_status(seen, NOW)


def record(name: str, state: str, **changed: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "attempt": 1, **changed}


def done(*names: str) -> dict[str, Any]:
    """A status in which these stages succeeded."""
    return {"stages": [record(n, "Succeeded") for n in names]}
