"""Suspension, garbage collection, time to live, retry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from captionless.controller.actions import Create, Delete
from captionless.controller.conditions import conditions
from captionless.controller.decide import decide
from captionless.controller.policies.garbage_collection import garbage_collection
from captionless.controller.policies.suspension import suspension
from captionless.controller.policies.terminating_namespace import suspected
from captionless.controller.policies.ttl import due, ttl
from captionless.controller.stage_status import run_status
from captionless.controller.status import status
from captionless.kube.observed_state import Failed, ObservedState, Workload, format_time
from captionless.kube.stage_record import StageState
from tests.controller.seen import LANDMARKS, NOW, PACK, ago, alignment, done, pod, record, run, workload
from tests.controller.world import SPEC

FAILED = Failed("PodFailurePolicy", "words")


@pytest.mark.parametrize(
    ("found", "goes"),
    [
        (workload(), True),
        (workload(suspended=True), True),
        (workload(deleting=True), False),
        (workload(complete=True), False),
        (workload(failed=FAILED), False),
    ],
    ids=["running", "suspended", "deleting", "complete", "failed"],
)
def test_suspension_removes_what_is_at_work_and_keeps_what_has_ended(found: Workload, goes: bool) -> None:
    assert bool(list(suspension(run(found, suspend=True)))) is goes
    assert not list(suspension(run(found)))


def test_a_failed_stages_job_goes_only_after_the_failure_was_written_down() -> None:
    unwritten = {"stages": [record("pack", "Running", disruptionsWithoutProgress=20)]}
    assert run(workload(), status=unwritten).stages[PACK].state is StageState.failed
    assert not list(garbage_collection(run(workload(), status=unwritten)))
    assert list(garbage_collection(run(workload(), status={"stages": [record("pack", "Failed")]})))


def test_a_queued_job_of_a_failed_run_goes_and_one_at_work_ends_its_work() -> None:
    status = {"stages": [record("pack", "Failed")]}
    assert list(garbage_collection(run(workload("landmarks", suspended=True), status=status)))
    assert not list(garbage_collection(run(workload("landmarks"), status=status)))


def test_only_the_newest_attempt_of_a_stage_stays() -> None:
    old, new = workload(), workload(attempt=2)
    assert [d.workload for d in garbage_collection(run(old, new))] == [old]


@pytest.mark.parametrize(("after", "job_goes", "asked"), [(9, False, False), (11, False, True), (11, True, False)])
def test_a_namespace_is_suspected_to_end_when_a_pod_stays_that_should_have_gone(
    after: float, job_goes: bool, asked: bool
) -> None:
    found = pod(deleting=ago(after), owner=workload().uid)
    seen = ObservedState(alignment(), (workload(deleting=job_goes),), (found,))
    assert suspected(seen, NOW) is asked


def test_in_a_namespace_that_ends_jobs_at_work_go_and_nothing_begins() -> None:
    given = run(workload("pack"), workload("landmarks", complete=True))
    found = decide(replace(given, namespace_terminating=True))
    assert [a.workload.name for a in found if isinstance(a, Delete)] == [workload("pack").name]
    assert len(found) == 1


def test_a_job_is_removed_once_however_many_reasons_there_are() -> None:
    found = decide(run(workload(), status={"stages": [record("pack", "Failed")]}, suspend=True))
    assert len([a for a in found if isinstance(a, Delete)]) == 1


@pytest.mark.parametrize(
    ("seconds", "age", "goes"), [(-1, 1e6, False), (0, 0, True), (60, 59, False), (60, 60, True), (None, 1e6, False)]
)
def test_time_to_live(seconds: int | None, age: float, goes: bool) -> None:
    changed: dict[str, Any] = {} if seconds is None else {"ttlSecondsAfterFinished": seconds}
    status = {"stages": [record("pack", "Failed")], "completionTime": format_time(ago(age))}
    assert bool(list(ttl(run(status=status, **changed)))) is goes


def test_a_run_that_goes_on_has_no_time_to_live() -> None:
    assert due(alignment(done("pack"), ttlSecondsAfterFinished=0)) is None


def test_retry_begins_a_failed_stage_anew_and_no_other() -> None:
    status = {"stages": [record("pack", "Failed", message="why"), record("landmarks", "Succeeded")], "retry": "1"}
    for asked, state in (("", StageState.failed), ("1", StageState.failed), ("2", StageState.waiting)):
        stages = run(workload(failed=FAILED), status=status, retry=asked).stages
        assert stages[PACK].state is state
        assert stages[LANDMARKS].state is StageState.succeeded


def test_a_retry_that_must_wait_is_not_forgotten_once_it_is_written_down() -> None:
    """The failed Job is still there, the annotation was taken note of, and the attempt has not begun."""
    status = {"stages": [record("pack", "Waiting")], "retry": "2"}
    assert run(workload(failed=FAILED, ended=NOW), status=status, retry="2").stages[PACK].state is StageState.waiting


def test_a_retry_whose_attempt_failed_before_it_was_written_down_is_over() -> None:
    status = {"stages": [record("pack", "Failed")]}
    second = workload(attempt=2, failed=FAILED, ended=ago(60))
    assert run(workload(failed=FAILED), second, status=status, retry="2").stages[PACK].state is StageState.failed


NEWER: dict[str, Any] = {"train": {**SPEC["train"], "fieldOfTomorrow": 1}}
WRONG: dict[str, Any] = {"train": {"weights": ["of tomorrow"]}}


def test_a_run_whose_spec_this_operator_does_not_understand_goes_on() -> None:
    """It is of a newer operator, or of a newer CRD: what runs is neither ended nor taken for finished."""
    ended = {"completionTime": format_time(ago(1000))}  # as an earlier release wrote
    for changed in (NEWER, WRONG):
        found = run(workload(), status=ended, ttlSecondsAfterFinished=10, **changed)
        assert not found.finished
        assert decide(found) == []
        assert "completionTime" not in status(found)
        assert [d.workload for d in suspension(run(workload(), suspend=True, **changed))] == [workload()]
        assert not run(workload(complete=True), **changed).finished  # the stages after it have not been made


def test_of_a_spec_of_tomorrow_what_is_known_goes_on() -> None:
    found = run(workload(complete=True, ended=ago(60)), status={"stages": [record("landmarks", "Failed")]}, **NEWER)
    assert found.unknown == ("train.fieldOfTomorrow",)
    assert found.stages[PACK].state is StageState.succeeded
    assert found.failed
    assert not run(workload(complete=True, ended=ago(60)), **WRONG).stages


def test_fields_that_may_change_results_keep_stages_from_starting() -> None:
    found = run(status=done("pack"), **NEWER)
    assert decide(found) == []
    assert found.held is not None
    assert "train.fieldOfTomorrow" in found.held.message


def test_resources_of_tomorrow_are_told_and_keep_nothing_from_starting() -> None:
    found = run(status=done("pack"), resources={"workers": 2, "fieldOfTomorrow": 1})
    assert found.held is None
    assert [a.stage.name for a in decide(found) if isinstance(a, Create)] == ["embed", "landmarks"]
    told = next(c for c in conditions(found) if c["type"] == "Pinned")
    assert (told["status"], told["reason"]) == ("False", "UnknownFields")
    assert "resources.fieldOfTomorrow" in told["message"]


def test_a_new_run_of_tomorrow_waits_for_a_newer_operator() -> None:
    """The CRD comes before the operator; what is submitted between them is neither begun nor ended."""
    for changed in (NEWER, {"resources": {"fieldOfTomorrow": 1}}):
        found = run_status(ObservedState(alignment(ttlSecondsAfterFinished=0, **changed)), NOW)
        assert not found.failed
        assert decide(found) == []
        assert "completionTime" not in status(found)


@pytest.mark.parametrize("verdict", ["True", "False"])
def test_how_a_run_ended_stays_though_its_spec_is_not_understood_any_more(verdict: str) -> None:
    succeeded = verdict == "True"
    before = done(*(s.stage.name for s in run().stages)) if succeeded else {"stages": [record("pack", "Failed")]}
    written = status(run(status=before))
    again = run(status=written, **WRONG)
    assert next(c for c in status(again)["conditions"] if c["type"] == "Succeeded")["status"] == verdict
    assert status(again)["completionTime"] == written["completionTime"]


def test_stages_that_only_the_status_tells_of_are_kept_and_waited_for() -> None:
    """A newer operator made them."""
    names = [s.stage.name for s in run().stages]
    foreign = record("distil", "Running", job="shapes-distil-1")
    found = run(status={"stages": [*done(*names)["stages"], foreign]})
    assert not found.succeeded
    assert status(found)["stages"][-1] == foreign
    assert run(status=done(*names, "distil")).succeeded


def test_nothing_expires_while_a_pod_runs() -> None:
    ended = {"completionTime": format_time(ago(1000)), **done(*(s.stage.name for s in run().stages))}
    assert list(ttl(run(status=ended, ttlSecondsAfterFinished=10)))
    left = pod(owner=workload(complete=True).uid)
    assert not list(ttl(run(workload(complete=True), pods=[left], status=ended, ttlSecondsAfterFinished=10)))
    assert not list(ttl(run(workload(), status=ended, ttlSecondsAfterFinished=10)))


def test_time_to_live_counts_from_the_end_of_the_last_job() -> None:
    """The completion that an earlier release wrote while a Job was at work counts for nothing."""
    ended = {"completionTime": format_time(ago(1000)), "stages": [record("pack", "Failed")]}
    assert "completionTime" not in status(run(workload("landmarks"), status=ended))
    assert status(run(workload("landmarks", complete=True), status={"stages": ended["stages"]}))[
        "completionTime"
    ] == format_time(NOW)
