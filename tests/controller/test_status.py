"""Conditions, columns and stages of the status, as a person sees them."""

from __future__ import annotations

from typing import Any

import pytest

from captionless.controller.conditions import conditions
from captionless.controller.pin import Pin
from captionless.controller.stage_status import RunStatus, run_status
from captionless.controller.status import changes, status
from captionless.kube.crd import crd
from captionless.kube.jobs import Operator
from captionless.kube.observed_state import Failed, ObservedState, Problem, Workload, format_time
from tests.controller.seen import NOW, PACK, ago, alignment, done, ended, pod, reading, record, run, spec, workload
from tests.controller.world import SPEC

ALL = ("pack", "embed", "landmarks", "similarity-i2i", "similarity-i2l", "train-avg-seed0", "eval")


def condition(found: RunStatus, kind: str) -> dict[str, Any]:
    return next(c for c in conditions(found) if c["type"] == kind)


@pytest.mark.parametrize(
    ("found", "value", "reason"),
    [
        (run(), "Unknown", "Waiting"),
        (run(workload()), "Unknown", "Running"),
        (run(workload(suspended=True)), "Unknown", "Queued"),
        (run(workload(), workload("landmarks", suspended=True)), "Unknown", "Running"),
        (run(suspend=True), "Unknown", "Suspended"),
        (run(status={"stages": [record("pack", "Failed", message="why")]}), "False", "StageFailed"),
        (run(output="/home/me"), "Unknown", "SpecInvalid"),
        (run_status(ObservedState(alignment(output="/home/me")), NOW), "False", "SpecInvalid"),
        (run(status=done(*ALL)), "True", "Completed"),
    ],
    ids=["waiting", "running", "queued", "one-queued", "suspended", "failed", "not-understood", "invalid", "completed"],
)
def test_the_summary(found: RunStatus, value: str, reason: str) -> None:
    assert (condition(found, "Succeeded")["status"], condition(found, "Succeeded")["reason"]) == (value, reason)


@pytest.mark.parametrize(
    ("found", "value", "reason"),
    [
        (run(workload()), "False", "NotSuspended"),
        (run(workload(suspended=True), queue="team-a"), "True", "Queued"),
        (run(suspend=True), "True", "Suspended"),
        (run(workload(deleting=True), pods=[pod(deleting=NOW)], suspend=True), "False", "Suspending"),
        (run(workload(), suspend=True), "False", "Suspending"),
        (run(workload(deleting=True), pods=[pod(**ended(75))], suspend=True), "True", "Suspended"),
        (run(workload(suspended=True), pods=[pod(deleting=NOW)], queue="team-a"), "False", "Suspending"),
        (run(status=done(*ALL), suspend=True), "False", "NotSuspended"),
    ],
    ids=["running", "queued", "suspended", "pod-stores", "job-lives", "pod-ended", "preempted", "completed"],
)
def test_suspended(found: RunStatus, value: str, reason: str) -> None:
    assert (condition(found, "Suspended")["status"], condition(found, "Suspended")["reason"]) == (value, reason)


def test_what_hinders_progress_names_stage_and_cause() -> None:
    found = condition(
        run(workload(), pods=[pod(phase="Pending", started=None, waiting=("ErrImagePull", "x"))]), "Progressing"
    )
    assert (found["status"], found["reason"]) == ("False", "ImagePullFailed")
    assert found["message"].startswith("pack: pod shapes-pack-1-0-x: ErrImagePull")


def test_a_refusal_of_the_api_server_comes_first() -> None:
    seen = run()
    refused = RunStatus(seen.alignment, seen.spec, "", seen.stages, Problem("Forbidden", "quota"), NOW)
    assert condition(refused, "Progressing")["message"] == "quota"


def test_the_time_moves_only_with_the_status() -> None:
    before = conditions(run(workload(suspended=True)))
    for c in before:
        c["lastTransitionTime"] = format_time(ago(500))
    after = {c["type"]: c for c in conditions(run(workload(), status={"conditions": before}))}
    assert after["Succeeded"]["lastTransitionTime"] == format_time(ago(500)), "Unknown before and after"
    assert after["Succeeded"]["reason"] == "Running"
    assert after["Suspended"]["lastTransitionTime"] == format_time(NOW)


def test_progress_of_a_training_is_node_zeros() -> None:
    name = "train-avg-seed0"
    pods = [pod(name, i) for i in range(2)]
    reported = {pods[0].uid: reading(630, 1000, 1, "step"), pods[1].uid: reading(0, 5, 1)}
    found = status(run(workload(name), pods=pods, readings=reported, status=done(*ALL[:5])))
    assert (found["stage"], found["progress"]) == (name, "63%")
    stage = next(s for s in found["stages"] if s["name"] == name)
    assert (stage["done"], stage["total"], stage["unit"], stage["reached"]) == (630, 1000, "step", 600)


@pytest.mark.parametrize(
    ("readings", "completed", "expected"),
    [
        ({0: (3, 10), 1: (5, 10)}, (), (8, 20)),
        ({0: (3, 10)}, (), (3, 20)),  # the other has not reported yet: as much work as this one
        ({0: (3, 10)}, (1,), (13, 20)),  # the other has ended while nobody looked
        ({0: (3, 10), 1: (9, 10)}, (1,), (13, 20)),  # it last reported before it ended
        ({}, (1,), (4, 9)),  # as the status had it
    ],
    ids=["both", "one-unread", "one-ended-unread", "one-ended", "none-read"],
)
def test_progress_of_shards_is_their_sum(
    readings: dict[int, tuple[int, int]], completed: tuple[int, ...], expected: tuple[int, int]
) -> None:
    pods = [pod(index=i) for i in range(2)]
    reported = {pods[i].uid: reading(*r, 1) for i, r in readings.items()}
    before = {"stages": [record("pack", "Running", done=4, total=9, unit="object")]}
    found = status(run(workload(completed=frozenset(completed)), pods=pods, readings=reported, status=before))
    assert (found["stages"][PACK]["done"], found["stages"][PACK]["total"]) == expected


def test_results_come_from_the_evaluations_last_word() -> None:
    figures = {"uniform-seed0/zero_shot/top1": 80.25, "avg-seed0/zero_shot/top1": 93.3333333}
    job = workload("eval", complete=True, ended=NOW)
    last = pod("eval", **ended(0, **figures))
    found = status(run(job, pods=[last], status=done(*ALL[:6]), train={"weights": ["avg", "uniform"]}))
    assert found["top1"] == "93.3333", "the spec's first training"
    assert [r["run"] for r in found["results"]] == ["uniform-seed0", "avg-seed0"]


def test_results_outlive_their_pod() -> None:
    results = [{"run": "avg-seed0", "figures": [{"name": "zero_shot/top1", "value": "93.3"}]}]
    found = status(run(status={**done(*ALL), "results": results}))
    assert (found["results"], found["top1"]) == (results, "93.3")


@pytest.mark.parametrize(
    ("job", "seconds", "state"),
    [
        (workload("eval", complete=True, ended=ago(1)), 1, "Running"),
        (workload("eval", complete=True, ended=ago(11)), 11, "Succeeded"),
        (workload("eval", failed=Failed("r", "m"), ended=ago(1)), 1, "Running"),
        (workload("eval", failed=Failed("r", "m"), ended=ago(11)), 11, "Failed"),
    ],
    ids=["complete", "complete-settled", "failed", "failed-settled"],
)
def test_a_jobs_end_waits_a_little_for_its_pods_last_word(job: Workload, seconds: int, state: str) -> None:
    assert status(run(job, status=done(*ALL[:6])))["stages"][-1]["state"] == state


def test_a_failure_without_a_word_is_reported_in_kubernetes_words() -> None:
    job = workload(failed=Failed("DeadlineExceeded", "Job was active longer"), ended=ago(60))
    assert status(run(job))["stages"][PACK]["message"] == "DeadlineExceeded: Job was active longer"


def test_the_patch_is_the_difference() -> None:
    before = {"a": 1, "b": [1], "c": "x"}
    assert changes(before, {"a": 1, "b": [2], "d": "y"}) == {"b": [2], "d": "y", "c": None}
    assert changes(before, before) == {}
    seen = run(workload())
    again = run(workload(), status=status(seen))
    assert changes(again.alignment.status, status(again)) == {}, "looking twice changes nothing"


def test_completion_time_goes_when_the_run_goes_on() -> None:
    failed = status(run(status={"stages": [record("pack", "Failed")]}))
    assert failed["completionTime"] == format_time(NOW)
    assert "completionTime" not in status(run(workload(attempt=2), status=failed, retry="x"))


def test_every_field_is_in_the_crd() -> None:
    """The API server would prune, or refuse, what its schema does not know."""
    version = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    figures = {"avg-seed0/zero_shot/top1": 93.3}
    pods = [pod("eval", **ended(0, **figures)), pod(index=0, ignored=3), pod(index=1)]
    reported = {p.uid: reading(5, 9, 1) for p in pods[1:]}
    found = status(
        run(
            workload(),
            workload("eval", complete=True, ended=NOW),
            pods=pods,
            readings=reported,
            retry="x",
            suspend=True,
        ),
        Pin.of({"name": "shapes", **SPEC}, spec(), ["pack"], Operator("i")),
    )
    found["pinned"]["images"] = [{"image": "i", "imageID": "sha256:1"}]

    def check(value: Any, schema: dict[str, Any], path: str) -> None:
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            return
        if "additionalProperties" in schema:
            for inner in value.values():
                check(inner, schema["additionalProperties"], path)
        elif isinstance(value, dict):
            for key, inner in value.items():
                assert key in schema["properties"], f"{path}.{key}"
                check(inner, schema["properties"][key], f"{path}.{key}")
        elif isinstance(value, list):
            for inner in value:
                check(inner, schema["items"], path)
        else:
            assert {"string": str, "integer": int}[schema["type"]] is type(value), path

    check(found, version, "status")
    assert {"results", "retry", "stages", "startTime", "pinned"} <= set(found)
