from __future__ import annotations

import pytest

from captionless.controller.policies.backoff_reset import backoff_reset, delay, overdue
from tests.controller.seen import ended, pod, run, workload


def test_the_delays_are_those_of_the_job_controller() -> None:
    """DefaultJobPodFailureBackOff and MaxJobPodFailureBackOff of k8s.io/kubernetes/pkg/controller/job."""
    assert [delay(n) for n in range(1, 9)] == [10, 20, 40, 80, 160, 320, 600, 600]


@pytest.mark.parametrize(
    ("failures", "ignored", "code", "expected"),
    [
        (0, 3, 75, False),  # the next wait is 80 s
        (0, 4, 75, True),  # 160 s
        (2, 2, 75, True),
        (2, 1, 1, False),
        (2, 3, 1, True),
        (3, 1, 1, False),  # the index is given up
        (0, 9, 64, False),  # the Job is given up
    ],
)
def test_a_wait_of_more_than_80_seconds_is_too_long(failures: int, ignored: int, code: int, expected: bool) -> None:
    found = pod(failures=failures, ignored=ignored, **ended(code))
    assert overdue(workload(), [found]) is expected


def test_only_the_newest_pod_of_an_index_counts() -> None:
    old, new = pod(ignored=4, uid="old", **ended(75)), pod(ignored=5, uid="new")
    assert not overdue(workload(), [old, new])


def test_a_shard_that_was_given_up_is_not_waited_for() -> None:
    assert not overdue(workload(failed_indexes=frozenset({0})), [pod(ignored=9, **ended(75))])


@pytest.mark.parametrize("changed", ["deleting", "suspended", "complete"])
def test_a_job_that_is_not_at_work_is_left(changed: str) -> None:
    assert not overdue(workload(**{changed: True}), [pod(ignored=9, **ended(75))])


def test_the_job_is_removed() -> None:
    w = workload()
    assert [d.workload for d in backoff_reset(run(w, pods=[pod(ignored=4, **ended(75))]))] == [w]
