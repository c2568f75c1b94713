"""Disruptions as events: what happens at one time is one, and progress between two begins the count anew."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from captionless.controller.disruption_limit import SPREAD, DisruptionCount, count, reached
from captionless.kube.observed_state import Workload, format_time
from captionless.kube.stage_record import StageRecord, StageState
from tests.controller.seen import NOW, PACK, ago, ended, pod, reading, record, run, spec, stage, workload

GRACE = timedelta(seconds=120)
LONG_AGO = format_time(NOW - 2 * SPREAD - GRACE)
AT = format_time(NOW)
LIMIT = spec().resources.disruptions


def counted(before: StageRecord, ignored: list[int], now: int = 0, job: Workload | None = None) -> DisruptionCount:
    pods = [pod(index=i, ignored=n) for i, n in enumerate(ignored)]
    return count(before, job or workload(), pods, now, NOW, GRACE)


@pytest.mark.parametrize(
    ("before", "ignored", "reached_now", "expected"),
    [
        (StageRecord("x"), [0, 0], 0, DisruptionCount(0, 0, "", 0)),
        (StageRecord("x"), [1, 2], 0, DisruptionCount(3, 1, AT, 0)),
        (StageRecord("x"), [1] * 40, 0, DisruptionCount(40, 1, AT, 0)),
        (
            StageRecord("x", disruptions=3, disruptions_without_progress=3, disrupted_at=LONG_AGO),
            [1, 2],
            0,
            DisruptionCount(3, 3, LONG_AGO, 0),
        ),
        (
            StageRecord("x", disruptions=3, disruptions_without_progress=3, disrupted_at=LONG_AGO),
            [20, 20],
            0,
            DisruptionCount(40, 4, AT, 0),
        ),
        (
            StageRecord("x", disruptions=3, disruptions_without_progress=3, disrupted_at=format_time(ago(100))),
            [20, 20],
            0,
            DisruptionCount(40, 3, format_time(ago(100)), 0),
        ),
        (
            StageRecord("x", disruptions=3, disruptions_without_progress=3, disrupted_at=LONG_AGO, reached=100),
            [1, 2],
            200,
            DisruptionCount(3, 0, LONG_AGO, 200),
        ),
        (
            StageRecord("x", disruptions=3, disruptions_without_progress=3, disrupted_at=LONG_AGO, reached=100),
            [2, 2],
            200,
            DisruptionCount(4, 1, AT, 200),
        ),
        (
            StageRecord("x", disruptions=4, disruptions_without_progress=2, disrupted_at=LONG_AGO, reached=200),
            [0, 0],
            0,
            DisruptionCount(4, 2, LONG_AGO, 200),
        ),
    ],
    ids=["none", "first", "forty", "known", "another", "same-event", "progress", "progress-and-event", "pods-gone"],
)
def test_events_are_counted_until_the_stage_gets_further(
    before: StageRecord, ignored: list[int], reached_now: int, expected: DisruptionCount
) -> None:
    assert counted(before, ignored, reached_now) == expected


def test_pods_that_end_within_their_grace_period_are_of_one_event() -> None:
    began = NOW - GRACE - SPREAD
    before = StageRecord("x", disruptions=3, disruptions_without_progress=1, disrupted_at=format_time(began))
    assert counted(before, [1, 3]).disruptions_without_progress == 1
    before = StageRecord(
        "x", disruptions=3, disruptions_without_progress=1, disrupted_at=format_time(began - timedelta(seconds=1))
    )
    assert counted(before, [1, 3]).disruptions_without_progress == 2


def test_a_shard_that_finished_is_progress_though_nobody_can_be_asked() -> None:
    before = StageRecord("x", disruptions=3, disruptions_without_progress=3, disrupted_at=LONG_AGO, completed=1)
    assert counted(before, [2, 2], job=workload(completed=frozenset({4}))).disruptions_without_progress == 4
    further = counted(before, [1, 2], job=workload(completed=frozenset({4, 7})))
    assert (further.disruptions_without_progress, further.completed) == (0, 2)


def test_a_pod_that_just_ended_counts_and_its_replacement_does_not_count_it_twice() -> None:
    lost = pod(ignored=1, uid="lost", **ended(75))
    assert count(StageRecord("x"), workload(), [lost], 0, NOW).disruptions == 2
    assert count(StageRecord("x"), workload(), [lost, pod(ignored=2, uid="new")], 0, NOW).disruptions == 2


def test_a_pod_ended_by_kubernetes_counts_whatever_its_exit_code() -> None:
    lost = pod(disruption="DeletionByTaintManager", **ended(137))
    assert count(StageRecord("x"), workload(), [lost], 0, NOW).disruptions == 1
    assert count(StageRecord("x"), workload(), [pod(**ended(137))], 0, NOW).disruptions == 0


def test_earlier_attempts_are_in_the_count() -> None:
    before = StageRecord("x", disruptions=5, disruptions_without_progress=5, disrupted_at=LONG_AGO)
    found = counted(before, [1], job=workload(attempt=2, disruptions_before=5))
    assert found == DisruptionCount(6, 6, AT, 0)


@pytest.mark.parametrize(("steps", "expected"), [(0, 0), (99, 0), (100, 100), (999, 900)])
def test_a_training_is_as_far_as_its_last_checkpoint(steps: int, expected: int) -> None:
    node = pod("train-avg-seed0")
    assert reached(spec(), stage("train-avg-seed0"), [node], {node.uid: reading(steps, 1000, 1)}) == expected
    told = pod("train-avg-seed0", **ended(75, done=steps))
    assert reached(spec(), stage("train-avg-seed0"), [told, pod("train-avg-seed0", 1)], {}) == expected


def test_a_stage_is_as_far_as_its_shards_together() -> None:
    """Whether they were read, or said so when they ended; a shard that was replaced counts once."""
    first, second = pod(uid="a"), pod(index=1, uid="b", **ended(75, done=7))
    again = pod(index=1, uid="c")
    read = {"a": reading(5, 10, 1), "c": reading(3, 10, 1)}
    assert reached(spec(), stage("pack"), [first, second, again], read) == 12


@pytest.mark.parametrize(("events", "state"), [(LIMIT - 2, StageState.running), (LIMIT - 1, StageState.failed)])
def test_the_stage_fails_at_the_limit(events: int, state: StageState) -> None:
    before = record("pack", "Running", disruptions=30, disruptionsWithoutProgress=events, disruptedAt=LONG_AGO)
    status: dict[str, Any] = {"stages": [before]}
    w = workload(disruptions_before=30)
    found = run(w, pods=[pod(ignored=0, **ended(75))], status=status).stages[PACK]
    assert found.state is state
    assert run(w, pods=[pod(**ended(75))], status=status, resources={"disruptions": LIMIT + 9}).stages[PACK].state is (
        StageState.running
    )


def test_forty_pods_twice_fail_nothing() -> None:
    """Once they failed the run: each pod was counted."""
    for before in ({}, {"disruptions": 40, "disruptionsWithoutProgress": 1, "disruptedAt": LONG_AGO}):
        status = {"stages": [record("pack", "Running", **before)]}
        twice = 1 + bool(before)
        pods = [pod(index=i, ignored=twice - 1, disruption="PreemptionByScheduler", **ended(137)) for i in range(40)]
        found = run(workload(), pods=pods, status=status).stages[PACK]
        assert (found.state, found.count.disruptions) == (StageState.running, 40 * twice)
        assert found.count.disruptions_without_progress == twice


def test_a_retry_counts_disruptions_anew() -> None:
    """Also when the controller died after it made the attempt and before it wrote that down."""
    status: dict[str, Any] = {"stages": [record("pack", "Failed", disruptions=20, disruptionsWithoutProgress=LIMIT)]}
    assert run(status=status).stages[PACK].state is StageState.failed
    asked = run(status=status, retry="x").stages[PACK]
    assert (asked.state, asked.count.disruptions_without_progress, asked.count.disruptions) == (
        StageState.waiting,
        0,
        20,
    )
    made = run(workload(attempt=2, disruptions_before=20), status=status, retry="x").stages[PACK]
    assert (made.state, made.count.disruptions_without_progress) == (StageState.running, 0)
