"""Suspension, garbage collection, time to live, retry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from captionless.controller.actions import Delete
from captionless.controller.decide import decide
from captionless.controller.policies.garbage_collection import garbage_collection
from captionless.controller.policies.suspension import suspension
from captionless.controller.policies.terminating_namespace import suspected
from captionless.controller.policies.ttl import due, ttl
from captionless.kube.observed_state import Failed, ObservedState, Workload, format_time
from captionless.kube.stage_record import StageState
from tests.controller.seen import LANDMARKS, NOW, PACK, ago, alignment, done, pod, record, run, workload

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


NEWER: dict[str, Any] = {"train": {"fieldOfTomorrow": 1}}


def test_a_run_whose_spec_this_operator_does_not_understand_goes_on() -> None:
    """It is of a newer operator, or of a newer CRD: what runs is neither ended nor taken for finished."""
    ended = {"completionTime": format_time(ago(1000))}  # as an earlier release wrote
    found = run(workload(), status=ended, ttlSecondsAfterFinished=10, **NEWER)
    assert "fieldOfTomorrow" in found.invalid
    assert not found.finished
    assert decide(found) == []
    assert [d.workload for d in suspension(run(workload(), suspend=True, **NEWER))] == [workload()]
    assert not run(workload(complete=True), **NEWER).finished  # the stages after it have not been made


def test_nothing_expires_while_a_pod_runs() -> None:
    ended = {"completionTime": format_time(ago(1000)), **done(*(s.stage.name for s in run().stages))}
    assert list(ttl(run(status=ended, ttlSecondsAfterFinished=10)))
    left = pod(owner=workload(complete=True).uid)
    assert not list(ttl(run(workload(complete=True), pods=[left], status=ended, ttlSecondsAfterFinished=10)))
