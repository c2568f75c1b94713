"""Patches of pods: refused unless the operator allows them, and tried before the first Job of a run."""

from __future__ import annotations

import pytest

from captionless.kube.api_errors import Refused, Unavailable
from captionless.kube.jobs import Operator
from tests.controller.world import KEY, Controller, World

_ALLOWING = Operator("captionless:test", allow_pod_patches=True)
_PODS = {
    "patch": "spec: {template: {spec: {schedulerName: volcano}}}",
    "stages": [
        {"stage": "train", "patch": "spec: {template: {spec: {runtimeClassName: nvidia}}}"},
        {"stage": "landmarks", "patch": ""},
    ],
}
_INVALID = Refused("", "Invalid", 'Job.batch "shapes-list-1" is invalid: spec.template.spec')


def _refused(world: World, controller: Controller, rounds: int = 1) -> Refused:
    """What a reconcile raises; the same in every round."""
    found = None
    for _ in range(rounds):
        controller.see()
        with pytest.raises(Refused) as caught:
            controller.reconciler.reconcile(KEY)
        found = caught.value
    assert found is not None
    return found


def test_one_job_of_every_kind_is_tried_before_the_first_and_never_again() -> None:
    world = World()
    world.align(listed=False, pods=_PODS)
    controller = Controller(world, _ALLOWING)
    controller.work()
    tried = [c for c in world.calls if c.startswith("try")]
    assert tried == [
        f"try Job shapes-{s}-1" for s in ("list", "pack", "embed", "similarity-i2i", "train-avg-seed0", "eval")
    ]
    assert world.calls.index(tried[-1]) < world.calls.index("create Job shapes-list-1")
    made = world.job("shapes-list-1")
    assert made["spec"]["template"]["spec"]["schedulerName"] == "volcano"
    world.tick(20)
    world.start(made)
    world.complete(made)
    world.tick(20)
    controller.work()
    assert world.job("shapes-pack-1")
    assert [c for c in world.calls if c.startswith("try")] == tried


def test_a_rejected_one_is_told_in_the_servers_words_and_nothing_is_made() -> None:
    world = World()
    world.align(listed=False, pods=_PODS)
    world.rejected = _INVALID
    controller = Controller(world, _ALLOWING)
    _refused(world, controller, rounds=5)
    stalled = world.condition("Progressing")
    assert (stalled["status"], stalled["reason"]) == ("False", "Invalid")
    assert stalled["message"] == (
        "pods.patch: the API server rejects a Job of list with it: "
        'Job.batch "shapes-list-1" is invalid: spec.template.spec'
    )
    assert world.of("Job") == world.of("ConfigMap") == []
    # one request each time; the status is written once for the pin, and once for the condition
    assert [c for c in world.calls if not c.startswith("create Event")].count("patch status shapes") == 2
    assert len([c for c in world.calls if c.startswith("try")]) == 5
    world.rejected = None
    controller.work()
    assert world.job("shapes-list-1")
    assert world.condition("Progressing")["status"] == "True"


def test_a_stages_patch_is_told_before_the_first_stage_begins() -> None:
    world = World()
    world.align(listed=False, pods={"stages": _PODS["stages"]})
    world.rejected = _INVALID
    controller = Controller(world, _ALLOWING)
    assert str(_refused(world, controller)).startswith(
        "pods.stages[train].patch: the API server rejects a Job of train-avg"
    )
    assert world.of("Job") == []


def test_none_is_made_where_the_operator_does_not_allow_patches() -> None:
    world = World()
    world.align(listed=False, pods={"stages": _PODS["stages"]})
    controller = Controller(world)
    _refused(world, controller, rounds=3)
    stalled = world.condition("Progressing")
    assert (stalled["status"], stalled["reason"]) == ("False", "PodPatchesNotAllowed")
    assert stalled["message"].startswith("pods.stages[train].patch: this operator does not allow patches of pods")
    assert "allowPodPatches: true" in stalled["message"]
    assert world.of("Job") == []
    assert not [c for c in world.calls if c.startswith("try")]


def test_patches_may_be_forbidden_in_the_middle_of_a_run() -> None:
    world = World()
    world.align(pods={"patch": _PODS["patch"]})  # its first stage is done
    _refused(world, Controller(world))
    assert world.condition("Progressing")["reason"] == "PodPatchesNotAllowed"
    Controller(world, _ALLOWING).work()
    assert world.job("shapes-pack-1")


def test_a_webhook_that_knows_no_dry_run_does_not_stop_a_run() -> None:
    world = World()
    world.align(listed=False, pods=_PODS)
    message = 'admission webhook "jobs.example.com" does not support dry run'
    world.rejected = Refused(message, "BadRequest")
    Controller(world, _ALLOWING).work()
    assert world.job("shapes-list-1")


def test_a_server_that_does_not_answer_is_asked_again() -> None:
    world = World()
    world.align(listed=False, pods=_PODS)
    world.rejected = Unavailable("no answer")
    controller = Controller(world, _ALLOWING)
    controller.see()
    with pytest.raises(Unavailable):
        controller.reconciler.reconcile(KEY)
    assert world.of("Job") == []


def test_one_that_changes_what_the_operator_relies_on_makes_the_spec_invalid() -> None:
    world = World()
    world.align(listed=False, pods={"patch": "spec: {template: {spec: {restartPolicy: OnFailure}}}"})
    Controller(world, _ALLOWING).work()
    summary = world.condition("Succeeded")
    assert (summary["status"], summary["reason"]) == ("False", "SpecInvalid")
    assert "pods.patch: spec.template.spec.restartPolicy: must stay" in summary["message"]
