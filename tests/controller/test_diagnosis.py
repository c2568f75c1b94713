"""What is reported about a stage that fails or makes no progress, from its pods."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from captionless.controller.diagnosis import LONGEST, describe_end, failure_cause, stall_reason, unobserved
from captionless.kube.observed_state import End, Pod, Reading, Workload
from tests.controller.seen import NOW, ago, ended, pod, reading, spec, stage, workload

TRAIN = "train-avg-seed0"


def why(
    name: str,
    *pods: Pod,
    job: Workload | None = None,
    readings: Mapping[str, Reading] | None = None,
    silent: Collection[str] = (),
    disrupted: bool = False,
) -> str:
    job, hidden = job or workload(name), dict.fromkeys(silent, ago(300))
    found = stall_reason(spec(), stage(name), job, pods, readings or {}, hidden, disrupted, NOW)
    return f"{found.reason}: {found.message}" if found is not None else ""


def pending(name: str = "pack", age: float = 60, **changed: Any) -> Pod:
    return pod(name, **{"phase": "Pending", "started": None, "created": ago(age), **changed})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (pending(waiting=("ImagePullBackOff", "Back-off pulling image x")), "ImagePullFailed: .*Back-off pulling"),
        (pending(waiting=("ErrImageNeverPull", "")), "ImagePullFailed: .*submit it with another"),
        (pending(waiting=("InvalidImageName", "couldn't parse")), "ImagePullFailed: .*couldn't parse"),
        (pending(waiting=("CreateContainerConfigError", 'secret "s3"')), 'CreateContainerConfigError: .*"s3"'),
        (pending(node="", unschedulable="0/3 nodes: Insufficient cpu"), "Unschedulable: .*Insufficient cpu"),
        (pending(waiting=("ContainerCreating", "")), "PodNotStarting: .*node-1.*kubectl describe pod"),
        (pod(deleting=ago(31)), "NodeLost: .*node-1 .*kubectl delete node node-1"),
        (pod(**ended(1, "s3://b: cannot reach the server")), "Retrying: .*cannot reach the server"),
        (pod(**ended(1, reason="OOMKilled")), "Retrying: .*resources.memory"),
        (pod(**ended(65, "bad tar")), "ShardFailed: shard 0: bad tar"),
    ],
    ids=[
        "image-back-off", "image-never-pull", "image-name", "missing-secret", "unschedulable", "creating", "node-lost",
        "retrying", "out-of-memory", "shard-failed",
    ],
)  # fmt: skip
def test_the_cause_is_named(found: Pod, expected: str) -> None:
    assert re.match(expected, why("pack", found)), why("pack", found)


@pytest.mark.parametrize(
    "found",
    [
        pending(age=5, node="", unschedulable="0/3 nodes: Insufficient cpu"),
        pending(age=30, waiting=("ContainerCreating", "")),
        pod(deleting=ago(-60)),
        pod(**ended(75, "stopped by SIGTERM")),
        pod(disruption="EvictionByEvictionAPI", **ended(137)),
        pod(**ended(0)),
        pod(**{**ended(0), "phase": "Running"}),  # the phase follows the container's end
    ],
    ids=["scheduling", "creating", "terminating", "interrupted", "evicted", "succeeded", "phase-behind"],
)
def test_what_resolves_itself_is_no_stall(found: Pod) -> None:
    assert why("pack", found) == ""


def test_shards_take_turns_where_there_is_not_room_for_all_but_nodes_of_a_training_cannot() -> None:
    waiting = {"index": 1, "node": "", "unschedulable": "Insufficient cpu"}
    assert why("pack", pod(), pending(**waiting)) == ""
    assert why(TRAIN, pod(TRAIN), pending(TRAIN, **waiting)).startswith("Unschedulable")


def test_a_job_without_pods_is_forbidden_to_make_them() -> None:
    old = {"began": ago(60)}
    assert why("pack", job=workload(**old)).startswith("PodsForbidden")
    assert why("pack", job=workload(began=ago(10))) == ""
    assert why("pack", job=workload(began=None)) == "", "suspended until now"
    assert why("pack", job=workload(**old), disrupted=True) == "", "it waits for its back-off"
    assert why("pack", job=workload(**old, failures=1)) == ""


@pytest.mark.parametrize("changed", ["suspended", "deleting", "complete"])
def test_a_job_that_is_not_running_is_not_stalled(changed: str) -> None:
    assert why("pack", pending(waiting=("ImagePullBackOff", "")), job=workload(**{changed: True})) == ""


def test_a_training_stands_still_after_half_the_collective_timeout() -> None:
    first = pod(TRAIN, started=ago(3600))
    second = pod(TRAIN, 1, started=ago(3600))
    for age, expected in ((59, ""), (61, "NoProgress")):
        found = why(TRAIN, first, second, readings={first.uid: reading(10, 1000, age)})
        assert found.startswith(expected), (age, found)
        assert bool(found) is bool(expected)


def test_a_stage_goes_on_while_one_shard_does() -> None:
    pods = [pod(index=i, started=ago(3600)) for i in range(2)]
    slow, quick = reading(1, 9, 2000), reading(2, 9, 10)
    assert why("pack", *pods, readings={pods[0].uid: slow, pods[1].uid: quick}) == ""
    assert why("pack", *pods, readings={pods[0].uid: slow, pods[1].uid: slow}).startswith("NoProgress")


def test_a_pod_that_never_reported_is_given_time_to_start() -> None:
    assert why(TRAIN, pod(TRAIN, started=ago(500))) == ""
    assert why(TRAIN, pod(TRAIN, started=ago(700))).startswith("NoProgress")


def test_a_replaced_pod_has_the_time_from_its_own_start() -> None:
    """What the previous pod reported is as old as the disruption."""
    assert why(TRAIN, pod(TRAIN, started=ago(10)), readings={pod(TRAIN).uid: reading(5, 9, 500)}) == ""


@pytest.mark.parametrize(
    ("pods", "reason", "expected"),
    [
        ([pod(index=i, **ended(64, "no bucket", kind="SpecError")) for i in range(2)], "SpecError", "no bucket"),
        ([pod(index=0, **ended(64, "loss nan", kind="LossNotFinite"))], "LossNotFinite", "loss nan"),
        (
            [
                pod(index=1, **ended(65, "bad a", kind="DataError")),
                pod(index=0, **ended(65, "bad b", kind="DataError")),
            ],
            "DataError",
            "shard 0: bad b; shard 1: bad a",
        ),
        (
            [pod(index=0, **ended(65, "bad")), pod(index=1, **ended(2, "usage", kind="UsageError"))],
            "UsageError",
            "usage",
        ),
        ([pod(index=0, **ended(75)), pod(index=1, **ended(1, "two\nlines"))], "Crashed", "shard 1: two; lines"),
        ([pod(index=0, **ended(137, reason="OOMKilled"))], "OOMKilled", "shard 0: "),
        ([pod(index=0, phase="Failed", started=None, evicted="no disk")], "Evicted", "shard 0: evicted: no disk"),
        ([pod(index=0, **ended(1, "x", kind="made up by a pod"))], "Crashed", "shard 0: x"),
    ],
    ids=["spec", "loss", "data", "usage-before-data", "crash", "out-of-memory", "evicted", "unknown-class"],
)
def test_the_failure_is_what_the_pods_reported(pods: list[Pod], reason: str, expected: str) -> None:
    found = failure_cause(stage("pack"), pods)
    assert found is not None
    assert found.reason == reason
    assert found.message.startswith(expected)


def test_there_is_no_cause_before_a_pod_has_reported() -> None:
    assert failure_cause(stage("pack"), [pod(index=0, **ended(0))]) is None
    assert failure_cause(stage("pack"), []) is None


def test_a_pod_that_reported_nothing_has_a_line_without_its_log() -> None:
    pack, crashed = stage("pack"), pod(phase="Failed", end=End(139, "Error", NOW, None))
    assert "kubectl logs shapes-pack-1-0-x" in describe_end(crashed, pack)
    assert "low on ephemeral" in describe_end(pod(phase="Failed", evicted="low on ephemeral-storage."), pack)
    assert "resources.trainMemory" in describe_end(pod(TRAIN, **ended(137, reason="OOMKilled")), stage(TRAIN))


def test_lines_are_cut() -> None:
    assert len(describe_end(pod(**ended(1, "x" * 5000)), stage("pack"))) == LONGEST


def test_who_never_answered_is_not_taken_for_hanging() -> None:
    """A network policy says nothing about a run's work."""
    first, second = pod(index=0, started=ago(3600)), pod(index=1, started=ago(3600))
    assert why("pack", first, second).startswith("NoProgress: ")
    assert why("pack", first, second, silent=[first.uid, second.uid]) == ""
    assert "pack-1-1" in why("pack", first, second, silent=[first.uid])  # the other one answers, and has done nothing


def test_who_does_not_answer_any_more_may_hang() -> None:
    silent = pod(started=ago(3600))
    found = why("pack", silent, readings={silent.uid: reading(3, 10, 1200)}, silent=[silent.uid])
    assert re.match("NoProgress: .* does not answer on port [0-9]+ any more", found)


def test_progress_is_unobserved_only_where_nobody_answers() -> None:
    def hidden(name: str, *pods: Pod, readings: Collection[str] = (), silent: Collection[str]) -> str:
        read = {uid: reading(1, 10, 5) for uid in readings}
        found = unobserved(stage(name), pods, read, dict.fromkeys(silent, ago(100)), NOW)
        return f"{found.reason}: {found.message}" if found is not None else ""

    first, second = pod(index=0), pod(index=1)
    assert re.match(
        "MetricsUnreachable: .*pack-1-0.* and 1 others: .*",
        hidden("pack", first, second, silent=[first.uid, second.uid]),
    )
    assert hidden("pack", first, second, silent=[first.uid]) == ""
    assert hidden("pack", first, silent=[first.uid], readings=[first.uid]) == ""
    assert hidden("pack", pod(started=ago(60)), silent=[first.uid]) == ""
    assert hidden("pack", pod(**ended(0)), silent=[first.uid]) == ""
    assert hidden("pack", silent=[]) == ""
    node, other = pod(TRAIN), pod(TRAIN, 1)
    assert hidden(TRAIN, node, other, silent=[node.uid]).startswith("MetricsUnreachable: ")  # the other is not asked
