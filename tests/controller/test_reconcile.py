"""Whole runs against a cluster in memory, and the same runs with the controller killed at every single call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from captionless.controller.reconcile import NameTaken
from captionless.kube.api_errors import Forbidden, Refused
from captionless.kube.observed_state import RETRY
from tests.controller.world import KEY, NAMESPACE, Controller, Killed, World

STAGES = ("list", "pack", "embed", "landmarks", "similarity-i2i", "similarity-i2l", "train-avg-seed0", "eval")
FIGURES = {"avg-seed0/zero_shot/top1": 93.3, "avg-seed0/zero_shot/top5": 99.0}


def _finish_live(world: World) -> None:
    for job in world.live():
        world.start(job)
        world.complete(job, figures=FIGURES if job["metadata"]["labels"]["captionless.dev/stage"] == "eval" else {})


# Each scenario yields whenever the controller should have its say.


def _to_the_end(world: World, rounds: int) -> Iterator[None]:
    """Whatever Jobs the controller makes are finished, round by round."""
    for _ in range(rounds):
        yield
        world.tick(20)
        _finish_live(world)
    yield


def _undisturbed(world: World) -> Iterator[None]:
    world.align(listed=False)
    yield from _to_the_end(world, 7)


def _suspended(world: World) -> Iterator[None]:
    world.align()
    yield
    for job in world.live():
        world.start(job)
    world.edit(suspend=True)
    yield
    world.collect()
    world.tick()
    yield
    world.edit(suspend=False)
    yield from _to_the_end(world, 6)


def _retried(world: World) -> Iterator[None]:
    world.align()
    yield
    job = world.job("shapes-pack-1")
    world.start(job)
    world.end(job, 1, 0)
    world.fail(job, 64, "output: s3://bucket does not exist")
    yield
    world.tick(20)
    yield
    world.annotate(RETRY, "please")
    yield from _to_the_end(world, 7)


def _renewed(world: World) -> Iterator[None]:
    world.align()
    yield
    job = world.job("shapes-pack-1")
    world.start(job)
    pod = world.end(job, 0, 75)
    for ignored in range(1, 5):
        pod = world.replaced(job, pod, 0, ignored)
        pod = world.end(job, 0, 75)
    yield
    world.collect()
    yield from _to_the_end(world, 7)


SCENARIOS: list[Callable[[World], Iterator[None]]] = [_undisturbed, _suspended, _retried, _renewed]


def _play(scenario: Callable[[World], Iterator[None]], kill_at: int | None = None) -> World:
    """A scenario to its end; a controller that is killed is started anew, knowing nothing."""
    world = World()
    world.kill_at = kill_at
    controller = Controller(world)
    for _ in scenario(world):
        try:
            controller.work()
        except Killed:
            controller = Controller(world)
            controller.work()
    return world


def _outcome(world: World) -> dict[str, object]:
    """What a person can see in the end."""
    return {
        "status": world.status(),
        "jobs": sorted((j["metadata"]["name"], j["spec"]["completions"]) for j in world.of("Job")),
        "configs": sorted(c["metadata"]["name"] for c in world.of("ConfigMap")),
        "events": world.events(),
        "counts": sorted((e["reason"], (e.get("series") or {}).get("count", 1)) for e in world.of("Event")),
    }


def test_runs_every_stage_once_in_order() -> None:
    world = _play(_undisturbed)
    assert {j["metadata"]["name"] for j in world.of("Job")} == {f"shapes-{s}-1" for s in STAGES}
    made = [c.removeprefix("create Job shapes-") for c in world.calls if c.startswith("create Job")]
    assert made[0] == "list-1"
    assert made.index("embed-1") > made.index("pack-1")
    assert made.index("train-avg-seed0-1") > made.index("similarity-i2l-1")
    assert made[-1] == "eval-1"
    status = world.status()
    assert world.condition("Succeeded")["status"] == "True"
    assert [s["state"] for s in status["stages"]] == ["Succeeded"] * len(STAGES)
    assert status["top1"] == "93.3"
    assert status["progress"] == "100%"
    assert status["results"] == [
        {
            "run": "avg-seed0",
            "figures": [{"name": "zero_shot/top1", "value": "93.3"}, {"name": "zero_shot/top5", "value": "99"}],
        }
    ]
    assert status["startTime"] < status["completionTime"]
    assert not world.alignment()["metadata"].get("finalizers")


def test_makes_few_calls() -> None:
    world = World()
    world.align()
    Controller(world).work()
    first = [c.split()[0:2] for c in world.calls]
    # pack and landmarks begin: a ConfigMap, a Job and an event each; the status is written before and after.
    assert sorted(map(" ".join, first)) == sorted(
        2 * ["create ConfigMap", "create Job", "create Event", "patch status"]
    )
    before = len(world.calls)
    Controller(world).work()
    assert len(world.calls) == before, "a restart costs no call for a run that goes on"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_any_call_it_ends_the_same(scenario: Callable[[World], Iterator[None]]) -> None:
    whole = _play(scenario)
    calls = len(whole.calls)
    assert calls > 30
    for k in range(1, calls + 1):
        again = _play(scenario, kill_at=k)
        assert len(again.calls) >= k
        assert _outcome(again) == _outcome(whole), f"killed at call {k}, {whole.calls[k - 1]}"


def test_suspend_removes_the_jobs_and_resume_goes_on_with_the_next_attempt() -> None:
    world = _play(_suspended)
    assert world.condition("Succeeded")["status"] == "True"
    assert world.stage("pack")["attempt"] == 2
    assert world.stage("embed")["attempt"] == 1
    assert {"Suspended", "Resumed"} <= {r for r, _ in world.events()}


def test_while_suspended_nothing_begins_and_the_condition_says_so() -> None:
    world = World()
    world.align(suspend=True)
    Controller(world).work()
    assert not world.of("Job")
    assert world.condition("Suspended")["status"] == "True"
    assert world.condition("Succeeded")["reason"] == "Suspended"


def test_the_next_attempt_waits_until_the_pods_of_the_last_are_gone() -> None:
    world = World()
    world.align()
    controller = Controller(world)
    controller.work()
    for job in world.live():
        world.start(job)
    world.edit(suspend=True)
    controller.work()
    world.edit(suspend=False)
    controller.work()
    assert not [j for j in world.of("Job") if j["metadata"]["name"].endswith("-2")]
    world.collect()
    controller.work()
    assert {j["metadata"]["name"] for j in world.of("Job")} == {"shapes-pack-2", "shapes-landmarks-2"}


def test_a_job_that_somebody_deleted_is_recreated_once_its_pods_are_gone() -> None:
    world = World()
    world.align()
    controller = Controller(world)
    controller.work()
    job = world.job("shapes-pack-1")
    world.start(job)
    del world.objects[("Job", NAMESPACE, "shapes-pack-1")]  # in the background: the pods outlive it
    controller.work()
    assert ("Job", NAMESPACE, "shapes-pack-2") not in world.objects
    for pod in world.of("Pod"):
        del world.objects[("Pod", NAMESPACE, pod["metadata"]["name"])]
    controller.work()
    assert ("Job", NAMESPACE, "shapes-pack-2") in world.objects


def test_failure_tells_its_line_and_begins_nothing_new() -> None:
    world = World()
    world.align()
    controller = Controller(world)
    controller.work()
    job = world.job("shapes-pack-1")
    world.start(job)
    world.fail(job, 64, "output: bucket does not exist")
    controller.work()
    world.complete(world.job("shapes-landmarks-1"))
    controller.work()
    assert world.condition("Succeeded")["status"] == "False"
    assert world.condition("Succeeded")["reason"] == "StageFailed"
    assert "pack: output: bucket does not exist" in world.condition("Succeeded")["message"]
    assert ("StageFailed", "pack: output: bucket does not exist") in world.events()
    assert len(world.of("Job")) == 2
    assert world.status()["stage"] == "pack"
    assert world.status()["completionTime"]


def test_retry_is_acted_upon_once() -> None:
    world = _play(_retried)
    assert world.condition("Succeeded")["status"] == "True"
    assert world.stage("pack")["attempt"] == 2
    assert world.status()["retry"] == "please"
    assert ("Job", NAMESPACE, "shapes-pack-1") in world.objects, "the failed one stays, for its logs"


def test_retry_of_a_run_that_did_not_fail_changes_nothing() -> None:
    world = World()
    world.align()
    world.annotate(RETRY, "early")
    controller = Controller(world)
    controller.work()
    job = world.job("shapes-pack-1")
    world.start(job)
    world.fail(job, 64, "wrong")
    world.tick(60)
    controller.work()
    assert world.stage("pack")["state"] == "Failed"
    assert world.stage("pack")["attempt"] == 1


def test_a_long_back_off_makes_the_job_anew_and_keeps_the_count() -> None:
    world = _play(_renewed)
    assert world.condition("Succeeded")["status"] == "True"
    assert world.stage("pack")["attempt"] == 2
    assert world.stage("pack")["disruptions"] == 5
    assert world.job("shapes-pack-2")["metadata"]["annotations"]["captionless.dev/disruptions"] == "5"
    disrupted = next(e for e in world.of("Event") if e["reason"] == "PodDisrupted")
    assert disrupted["series"]["count"] == 5


def test_disrupted_without_end_the_stage_fails_and_its_job_goes() -> None:
    world = World()
    world.align()
    controller = Controller(world)
    controller.work()
    job = world.job("shapes-pack-1")
    job["metadata"]["annotations"] = {"captionless.dev/disruptions": "19"}
    world._store(job)
    alignment = world.alignment()
    pack = next(s for s in alignment["status"]["stages"] if s["name"] == "pack")
    pack |= {"disruptions": 19, "disruptionsWithoutProgress": 19, "disruptedAt": "2020-01-01T00:00:00Z"}
    world._store(alignment)
    world.start(job)
    controller.work()
    assert world.stage("pack")["state"] == "Running"
    world.end(job, 0, 75)
    controller.work()
    assert world.stage("pack")["state"] == "Failed"
    assert "20 times" in world.condition("Succeeded")["message"]
    assert world.job("shapes-pack-1")["metadata"]["deletionTimestamp"]


def test_a_queue_holds_the_job_and_nothing_of_it_is_touched() -> None:
    world = World()
    world.align(queue="team-a")
    controller = Controller(world)
    controller.work()
    job = world.job("shapes-pack-1")
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert world.condition("Succeeded")["reason"] == "Queued"
    assert world.condition("Suspended")["reason"] == "Queued"
    for suspend, reason in ((False, "Running"), (True, "Queued"), (False, "Running")):
        for each in world.live():
            each["spec"]["suspend"] = suspend
            world._store(each)
        before = [c for c in world.calls if "Job" in c]
        controller.work()
        assert world.condition("Succeeded")["reason"] == reason
        assert [c for c in world.calls if "Job" in c] == before


def test_time_to_live_removes_the_alignment() -> None:
    world = World()
    world.align(ttlSecondsAfterFinished=60)
    controller = Controller(world)
    for _ in range(5):
        controller.work()
        world.tick(20)
        _finish_live(world)
    controller.work()
    assert world.condition("Succeeded")["status"] == "True"
    world.tick(59)
    controller.work()
    assert world.of("Alignment")
    world.tick(2)
    controller.work()
    assert not world.of("Alignment")


def test_a_field_of_tomorrow_ends_nothing_and_expires_nothing() -> None:
    """The CRD is newer than the controller, and takes a field that this one does not know while Jobs run."""
    world = World()
    world.align(ttlSecondsAfterFinished=10)
    controller = Controller(world)
    controller.work()
    world.edit(notifications={"url": "https://example.com"})
    for job in world.live():
        world.start(job)
    for _ in range(3):
        world.tick(60)
        controller.work()
    assert len(world.live()) == 2
    assert "completionTime" not in world.status()
    assert world.condition("Succeeded")["status"] == "Unknown"
    assert world.condition("Pinned")["reason"] == "UnknownFields"
    assert [n for r, n in world.events() if r == "UnknownFields"] == [world.condition("Pinned")["message"]]
    world.edit(suspend=True)
    controller.work()
    assert all(j["metadata"]["deletionTimestamp"] for j in world.of("Job"))
    assert world.condition("Suspended")["reason"] == "Suspending"
    world.collect()
    world.tick(60)
    controller.work()
    assert world.condition("Suspended")["status"] == "True"
    assert world.of("Alignment")


def test_one_bad_alignment_does_not_stop_the_others() -> None:
    world = World()
    world.align("wrong", output="/home/somebody")
    world.align("older", train={"weights": ["nonsense"]})
    world.align()
    Controller(world).work()
    assert world.condition("Succeeded", "wrong")["reason"] == "SpecInvalid"
    assert "output" in world.condition("Succeeded", "wrong")["message"]
    assert "train.weights.0" in world.condition("Succeeded", "older")["message"]
    assert world.condition("Succeeded")["reason"] == "Running"


def test_somebody_elses_job_of_that_name_is_reported_and_left_alone() -> None:
    world = World()
    world.align()
    theirs = {"kind": "ConfigMap", "metadata": {"name": "shapes-pack-1", "namespace": NAMESPACE}, "data": {}}
    world.create(theirs)
    controller = Controller(world)
    controller.see()
    with pytest.raises(NameTaken):
        controller.reconciler.reconcile(KEY)
    assert world.condition("Progressing")["reason"] == "NameTaken"
    assert "shapes-pack-1" in world.condition("Progressing")["message"]
    assert world.objects[("ConfigMap", NAMESPACE, "shapes-pack-1")]["data"] == {}
    del world.objects[("ConfigMap", NAMESPACE, "shapes-pack-1")]
    controller.work()
    assert world.condition("Progressing")["status"] != "False"
    assert ("Job", NAMESPACE, "shapes-pack-1") in world.objects


def test_what_the_api_server_refuses_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.align()

    create = world.create

    def refuse(manifest: dict[str, Any]) -> dict[str, Any] | None:
        if manifest["kind"] == "Job":
            raise Forbidden("exceeded quota: jobs.batch")
        return create(manifest)

    controller = Controller(world)
    controller.see()
    monkeypatch.setattr(world, "create", refuse)
    with pytest.raises(Refused):
        controller.reconciler.reconcile(KEY)
    assert world.condition("Progressing")["reason"] == "Forbidden"
    assert world.condition("Progressing")["message"] == "exceeded quota: jobs.batch"


def test_resources_changed_before_a_job_was_made_reach_its_config() -> None:
    """A ConfigMap left by a controller that died before it made the Job has the resources of then."""
    world = World()
    world.align()
    world.kill_at = 2
    with pytest.raises(Killed):
        Controller(world).work()
    assert world.calls[1:] == ["create ConfigMap shapes-pack-1"]
    world.edit(resources={"workers": 4})
    Controller(world).work()
    assert world.job("shapes-pack-1")["spec"]["completions"] == 4
    assert "workers: 4" in world.objects[("ConfigMap", NAMESPACE, "shapes-pack-1")]["data"]["spec.yaml"]


def test_an_alignment_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    world = World()
    world.align()["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    Controller(world).work()
    assert not world.calls


def test_a_jobset_where_there_is_none_is_reported_and_nothing_is_made() -> None:
    world = World()
    world.align(train={"weights": ["avg"], "engine": "jobset"})
    controller = Controller(world)
    controller.reconciler.kinds = ("Job",)
    for _ in range(3):
        controller.work()
        world.tick(20)
        _finish_live(world)
    controller.see()
    with pytest.raises(Refused):
        controller.reconciler.reconcile(KEY)
    assert world.condition("Progressing")["reason"] == "JobSetMissing"
    assert not [c for c in world.of("ConfigMap") if "train" in c["metadata"]["name"]]
    controller.reconciler.kinds = ("Job", "JobSet")
    controller.work()
    assert [j["metadata"]["name"] for j in world.of("JobSet")] == ["shapes-train-avg-seed0-1"]
    assert world.condition("Progressing")["status"] != "False"
