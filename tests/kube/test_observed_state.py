"""Reading API objects, also those that lack what one would expect."""

from __future__ import annotations

from typing import Any

import pytest

from captionless.kube import observed_state
from captionless.kube.observed_state import Workload, joined
from tests.controller.seen import workload

METADATA: dict[str, Any] = {"name": "x", "namespace": "lab", "uid": "u", "labels": {"captionless.dev/attempt": "2"}}


def test_nothing_is_needed_but_a_name() -> None:
    assert observed_state.pod({"metadata": {"name": "x"}}).phase == "Pending"
    assert not observed_state.workload({"kind": "Job", "metadata": {"name": "x"}}).finished
    assert observed_state.alignment({"metadata": {"name": "x"}}).spec == {}
    odd = {**METADATA, "labels": {"captionless.dev/attempt": "two"}, "creationTimestamp": "yesterday"}
    assert observed_state.workload({"kind": "Job", "metadata": odd}).attempt == 0


def test_conditions_of_a_job() -> None:
    def job(**condition: str) -> Workload:
        return observed_state.workload({"kind": "Job", "metadata": METADATA, "status": {"conditions": [condition]}})

    assert job(type="Complete", status="True", lastTransitionTime="2026-01-01T00:00:00Z").complete
    assert not job(type="SuccessCriteriaMet", status="True").finished
    assert not job(type="Complete", status="False").finished
    assert not job(type="FailureTarget", status="True").finished, "its pods are still there"
    failed = job(type="Failed", status="True", reason="PodFailurePolicy", message="m").failed
    assert failed is not None
    assert failed.reason == "PodFailurePolicy"


@pytest.mark.parametrize(
    ("text", "indexes"),
    [("0,2-4,9", {0, 2, 3, 4, 9}), ("", set()), (None, set()), ("a-b,1-", {1}), ("3", {3})],
    ids=["ranges", "empty", "absent", "malformed", "one"],
)
def test_lists_of_indexes(text: str | None, indexes: set[int]) -> None:
    job = {"kind": "Job", "metadata": METADATA, "status": {"completedIndexes": text}}
    assert observed_state.workload(job).completed == indexes


def test_a_pods_container_is_the_workers() -> None:
    statuses = [
        {"name": "proxy", "state": {"terminated": {"exitCode": 7}}},
        {"name": "worker", "state": {"terminated": {"exitCode": 64, "message": "not ours", "reason": "Error"}}},
    ]
    found = observed_state.pod({"metadata": METADATA, "status": {"phase": "Failed", "containerStatuses": statuses}})
    assert found.end is not None
    assert (found.end.exit_code, found.end.termination) == (64, None)
    assert found.attempt == 2


def test_a_disrupted_pod() -> None:
    target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    assert observed_state.pod({"metadata": METADATA, "status": {"phase": "Failed", "conditions": [target]}}).disrupted
    assert not observed_state.pod(
        {"metadata": METADATA, "status": {"phase": "Running", "conditions": [target]}}
    ).disrupted


def test_a_jobset_has_the_counts_of_the_job_in_it() -> None:
    outer = workload("train-avg-seed0", kind="JobSet", uid="set")
    inner = workload("train-avg-seed0", uid="inner", owner="set", failures=3, completed=frozenset({1}))
    stranger = workload("pack", owner="uid-other")
    found = joined([outer, inner, stranger], "uid-a")
    assert [(w.kind, w.failures, w.completed) for w in found] == [("JobSet", 3, frozenset({1}))]
