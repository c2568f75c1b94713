"""Alignments, Jobs and pods as a real cluster has them, as far as the commands look."""

from __future__ import annotations

import json
from typing import Any

Object = dict[str, Any]

SPEC: Object = {
    "output": "s3://b/demo",
    "data": {"source": {"kind": "parametric"}},
    "clip": {"model": "captionless-demo"},
}


def alignment(name: str = "demo", spec: Object | None = None, **status: Any) -> Object:
    """An Alignment whose operator has seen its newest generation."""
    metadata = {"name": name, "uid": f"uid-of-{name}", "generation": 1, "creationTimestamp": "2026-11-21T09:00:00Z"}
    seen = {"observedGeneration": 1, **status} if status else {}
    return {"kind": "Alignment", "metadata": metadata, "spec": spec or SPEC, "status": seen}


def condition(kind: str, status: str, reason: str, message: str = "") -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def stage(name: str, state: str, **more: Any) -> Object:
    return {"name": name, "state": state, **({"attempt": 1} if state != "Waiting" else {}), **more}


def labels(stage: str, attempt: int, name: str = "demo") -> dict[str, str]:
    return {
        "captionless.dev/alignment": name, "captionless.dev/stage": stage, "captionless.dev/attempt": str(attempt),
    }  # fmt: skip


def job(stage: str, attempt: int = 1, condition: str = "") -> Object:
    conditions = [{"type": condition, "status": "True"}] if condition else []
    name = f"demo-{stage}-{attempt}"
    return {
        "kind": "Job", "metadata": {"name": name, "labels": labels(stage, attempt)}, "spec": {},
        "status": {"conditions": conditions},
    }  # fmt: skip


def pod(
    stage: str,
    index: int = 0,
    phase: str = "Running",
    attempt: int = 1,
    suffix: str = "a",
    code: int | None = None,
    message: str = "",
    failures: int = 0,
    second: int = 0,
) -> Object:
    """A pod; `code` is its container's exit code, `message` the message its command ended with."""
    state: Object = {"running": {"startedAt": "2026-11-21T10:00:00Z"}} if phase == "Running" else {}
    if phase in ("Succeeded", "Failed"):
        ending = json.dumps({"exitCode": code or 0, "kind": "", "message": message, "figures": {}, "facts": {}})
        state = {"terminated": {"exitCode": code or 0, "reason": "Error" if code else "Completed", "message": ending}}
    if phase == "Pending":
        state = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"demo-{stage}-{attempt}-{index}-{suffix}",
            "labels": {**labels(stage, attempt), "batch.kubernetes.io/job-completion-index": str(index)},
            "annotations": {"batch.kubernetes.io/job-index-failure-count": str(failures)},
            "creationTimestamp": f"2026-11-21T10:00:{second:02d}Z",
        },
        "spec": {"nodeName": "node-1"},
        "status": {"phase": phase, "containerStatuses": [{"name": "worker", "state": state}]},
    }
