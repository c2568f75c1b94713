from __future__ import annotations

from typing import Any

import pytest

from captionless.controller.policies.next_stages import next_stages
from captionless.kube.observed_state import Failed, Workload
from tests.controller.seen import ago, done, pod, record, run, workload

PRECOMPUTE = ("pack", "embed", "landmarks", "similarity-i2i", "similarity-i2l")


@pytest.mark.parametrize(
    ("finished", "next_"),
    [
        ((), {"pack", "landmarks"}),
        (("pack",), {"embed", "landmarks"}),
        (("pack", "embed"), {"landmarks", "similarity-i2i"}),
        (("pack", "embed", "landmarks"), {"similarity-i2i", "similarity-i2l"}),
        (PRECOMPUTE, {"train-avg-seed0"}),
        ((*PRECOMPUTE, "train-avg-seed0"), {"eval"}),
        ((*PRECOMPUTE, "train-avg-seed0", "eval"), set()),
    ],
    ids=["start", "pack", "embed", "landmarks", "similarity", "train", "eval"],
)
def test_a_stage_begins_when_what_it_reads_is_finished(finished: tuple[str, ...], next_: set[str]) -> None:
    assert {c.stage.name for c in next_stages(run(status=done(*finished)))} == next_


@pytest.mark.parametrize(
    ("listing", "next_"),
    [
        (record("list", "Waiting", attempt=0), {"list"}),
        (record("list", "Running"), {"list"}),
        (record("list", "Failed"), set()),
    ],
    ids=["waiting", "job-gone", "failed"],
)
def test_nothing_else_begins_before_the_objects_are_listed(listing: dict[str, Any], next_: set[str]) -> None:
    assert {c.stage.name for c in next_stages(run(status={"stages": [listing]}))} == next_


def test_independent_trainings_begin_together() -> None:
    found = next_stages(run(status=done(*PRECOMPUTE), train={"weights": ["avg", "uniform"], "seeds": [0, 1]}))
    assert len([c for c in found if c.stage.gang]) == 4


@pytest.mark.parametrize(
    ("workloads", "status"),
    [
        ([workload()], {}),
        ([workload(suspended=True)], {}),
        ([workload(deleting=True)], {}),
        ([workload(failed=Failed("PodFailurePolicy", ""), ended=ago(60))], {}),
        ([], {"stages": [record("pack", "Failed")]}),
        ([workload(complete=True, ended=ago(60))], {}),
    ],
    ids=["running", "suspended", "deleting", "failed-job", "failed-stage", "complete"],
)
def test_a_stage_that_is_at_work_or_over_does_not_begin_again(
    workloads: list[Workload], status: dict[str, Any]
) -> None:
    assert "pack" not in {c.stage.name for c in next_stages(run(*workloads, status=status))}


def test_nothing_begins_after_a_failure_or_while_suspended() -> None:
    assert not list(next_stages(run(status={"stages": [record("landmarks", "Failed")]})))
    assert not list(next_stages(run(suspend=True)))


def test_the_next_attempt_follows_the_last_one_known() -> None:
    status = {"stages": [record("pack", "Running", attempt=3, disruptions=7)]}
    first = next(iter(next_stages(run(status=status))))
    assert (first.stage.name, first.attempt, first.disruptions) == ("pack", 4, 7)


def test_it_waits_for_pods_that_outlived_their_job() -> None:
    status = {"stages": [record("pack", "Running")]}
    found = next_stages(run(pods=[pod(deleting=ago(1))], status=status))
    assert {c.stage.name for c in found} == {"landmarks"}


def test_it_waits_for_pods_of_a_deleted_alignment_of_the_same_name() -> None:
    found = next_stages(run(pods=[pod(owner="job-of-another")]))
    assert {c.stage.name for c in found} == {"landmarks"}
