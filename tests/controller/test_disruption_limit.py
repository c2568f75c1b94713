from __future__ import annotations

from typing import Any

import pytest

from captionless.controller.disruption_limit import LIMIT, DisruptionCount, count, reached
from captionless.kube.observed_state import Reading
from captionless.kube.stage_record import StageRecord, StageState
from tests.controller.seen import PACK, ended, pod, reading, record, run, spec, stage, workload


@pytest.mark.parametrize(
    ("before", "ignored", "reached_now", "expected"),
    [
        (StageRecord("x"), [0, 0], 0, DisruptionCount(0, 0, 0)),
        (StageRecord("x"), [1, 2], 0, DisruptionCount(3, 3, 0)),
        (StageRecord("x", disruptions=3, disruptions_without_progress=3), [1, 2], 0, DisruptionCount(3, 3, 0)),
        (StageRecord("x", disruptions=3, disruptions_without_progress=3), [2, 2], 0, DisruptionCount(4, 4, 0)),
        (
            StageRecord("x", disruptions=3, disruptions_without_progress=3, reached=100),
            [2, 2],
            200,
            DisruptionCount(4, 0, 200),
        ),
        (
            StageRecord("x", disruptions=4, disruptions_without_progress=0, reached=200),
            [3, 2],
            200,
            DisruptionCount(5, 1, 200),
        ),
        (
            StageRecord("x", disruptions=4, disruptions_without_progress=2, reached=200),
            [0, 0],
            0,
            DisruptionCount(4, 2, 200),
        ),
    ],
    ids=["none", "first", "known", "one-more", "progress", "after-progress", "pods-gone"],
)
def test_disruptions_are_counted_until_the_stage_gets_further(
    before: StageRecord, ignored: list[int], reached_now: int, expected: DisruptionCount
) -> None:
    pods = [pod(index=i, ignored=n) for i, n in enumerate(ignored)]
    assert count(before, workload(), pods, reached_now) == expected


def test_a_pod_that_just_ended_counts_and_its_replacement_does_not_count_it_twice() -> None:
    lost = pod(ignored=1, uid="lost", **ended(75))
    assert count(StageRecord("x"), workload(), [lost], 0).disruptions == 2
    assert count(StageRecord("x"), workload(), [lost, pod(ignored=2, uid="new")], 0).disruptions == 2


def test_a_pod_ended_by_kubernetes_counts_whatever_its_exit_code() -> None:
    assert (
        count(StageRecord("x"), workload(), [pod(disruption="DeletionByTaintManager", **ended(137))], 0).disruptions
        == 1
    )
    assert count(StageRecord("x"), workload(), [pod(**ended(137))], 0).disruptions == 0


def test_earlier_attempts_are_in_the_count() -> None:
    before = StageRecord("x", disruptions=5, disruptions_without_progress=5)
    assert count(before, workload(attempt=2, disruptions_before=5), [pod(ignored=1)], 0) == DisruptionCount(6, 6, 0)


@pytest.mark.parametrize(("steps", "expected"), [(0, 0), (99, 0), (100, 100), (999, 900)])
def test_a_training_is_as_far_as_its_last_checkpoint(steps: int, expected: int) -> None:
    reported: list[Reading] = [reading(steps, 1000, 1)]
    assert reached(spec(), stage("train-avg-seed0"), reported) == expected
    assert reached(spec(), stage("pack"), reported) == steps


@pytest.mark.parametrize(
    ("disruptions_without_progress", "state"), [(LIMIT - 2, StageState.running), (LIMIT - 1, StageState.failed)]
)
def test_the_stage_fails_at_the_limit(disruptions_without_progress: int, state: StageState) -> None:
    status: dict[str, Any] = {
        "stages": [record("pack", "Running", disruptions=30, disruptionsWithoutProgress=disruptions_without_progress)]
    }
    w = workload(disruptions_before=30)
    found = run(w, pods=[pod(ignored=0, **ended(75))], status=status).stages[PACK]
    assert found.state is state


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
