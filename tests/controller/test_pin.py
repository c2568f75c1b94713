"""A run goes on with what it was made with: image, defaults, stages; or it is said why it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from captionless.controller.pin import Pin, changed_image
from captionless.kube.jobs import Operator
from captionless.spec import load
from captionless.spec.plan import plan
from tests.controller.documents import RIGHT, document
from tests.controller.world import NAMESPACE, Controller, World

Object = dict[str, Any]


def _pin(given: Object) -> tuple[Pin, Object]:
    found = {"name": "run", **given}
    spec = load.build_spec(found)
    return Pin.of(found, spec, [s.name for s in plan(spec)], Operator("captionless:1", "Always")), found


def _config(world: World, name: str = "shapes-pack-1") -> Object:
    text = world.objects[("ConfigMap", NAMESPACE, name)]["data"]["spec.yaml"]
    found: Object = yaml.safe_load(text)
    return found


def _images(world: World) -> set[str]:
    return {j["spec"]["template"]["spec"]["containers"][0]["image"] for j in world.of("Job")}


def _finish(world: World, content: str = "1") -> None:
    world.tick(20)
    for job in world.live():
        world.start(job, content)
        world.complete(job)


def _run(change: Callable[[World], None] | None = None) -> tuple[World, Controller]:
    """A run whose first stages, made by the first operator, have ended. `change` is what is otherwise for the second,
    which is yet to work."""
    world = World()
    world.align()
    Controller(world, Operator("captionless:1")).work()
    _finish(world)
    if change is not None:
        change(world)
    return world, Controller(world, Operator("captionless:2"))


def _changed(world: World, **pinned: Any) -> None:
    """Other entries of what is pinned."""
    found = world.alignment()
    found["status"]["pinned"] |= pinned
    world._store(found)


def _nothing_started(world: World, reason: str) -> str:
    """That the condition has this reason and no stage began; its message."""
    assert len(world.of("Job")) == 2
    assert world.condition("Pinned")["status"] == "False"
    for kind in ("Pinned", "Progressing"):
        assert world.condition(kind)["reason"] == reason
    assert world.condition("Succeeded")["status"] == "Unknown"
    return str(world.condition("Pinned")["message"])


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT)
def test_what_is_pinned_says_the_whole_spec(text: str) -> None:
    pin, given = _pin(document(text))
    spec = load.build_spec(given)
    for found in (pin.completed(given), yaml.safe_load(pin.text(given))):
        again = load.build_spec(found)
        assert again == spec
        assert {s.kind: again.pods.of(s.kind) for s in plan(again)} == {
            s.kind: spec.pods.of(s.kind) for s in plan(spec)
        }
    assert "null" not in yaml.safe_dump(dict(pin.defaults)), "a merge patch would remove it"
    assert not pin.changed(given)


def test_it_is_recorded_before_the_first_job() -> None:
    world = World()
    world.align()
    Controller(world, Operator("captionless:1")).work()
    assert world.calls[0] == "patch status shapes"
    pinned = world.status()["pinned"]
    assert pinned["operator"]
    assert pinned["image"] == "captionless:1"
    assert pinned["defaults"]["data"]["points"] == 10000
    assert "source" not in pinned["defaults"]["data"] or "kind" not in pinned["defaults"]["data"]["source"]
    assert world.condition("Pinned")["status"] == "True"


def test_a_newer_operator_goes_on_with_the_image_of_then() -> None:
    world, newer = _run()
    for _ in range(5):
        newer.work()
        _finish(world)
    newer.work()
    assert world.condition("Succeeded")["status"] == "True"
    assert _images(world) == {"captionless:1"}
    assert world.status()["pinned"]["image"] == "captionless:1"


def test_an_operator_that_died_after_its_first_call_has_pinned_the_run() -> None:
    world = World()
    world.align()
    Controller(world, Operator("captionless:1")).work()
    for kind in ("Job", "ConfigMap"):
        for found in world.of(kind):
            del world.objects[(kind, NAMESPACE, found["metadata"]["name"])]
    Controller(world, Operator("captionless:2")).work()
    assert world.live()
    assert _images(world) == {"captionless:1"}


def test_a_newer_operators_defaults_do_not_reach_a_run_of_before() -> None:
    def otherwise(world: World) -> None:
        then = world.status()["pinned"]["defaults"]
        then["data"]["points"] = 5000  # as the first operator had it
        then["resources"]["memory"] = "3Gi"
        _changed(world, defaults=then)

    world, newer = _run(otherwise)
    newer.work()
    assert _config(world, "shapes-embed-1")["data"]["points"] == 5000
    container = world.job("shapes-embed-1")["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["memory"] == "3Gi"


def test_resources_may_be_set_and_unset_as_ever() -> None:
    world, newer = _run()
    world.edit(resources={"workers": 5, "memory": "9Gi"})
    newer.work()
    assert world.job("shapes-embed-1")["spec"]["completions"] == 5
    assert _config(world, "shapes-embed-1")["resources"]["memory"] == "9Gi"
    world.edit(resources={"workers": 5})
    _finish(world)
    newer.work()
    assert {_config(world, n)["resources"]["memory"] for n in ("shapes-similarity-i2i-1",)} == {"4Gi"}


def test_fields_that_are_newer_than_the_image_do_not_reach_it() -> None:
    def older(world: World) -> None:
        then = world.status()["pinned"]["defaults"]
        del then["data"]["views"], then["resources"]["disruptions"]  # the first operator knew neither
        _changed(world, defaults=then)

    world, newer = _run(older)
    newer.work()
    found = _config(world, "shapes-embed-1")
    assert "views" not in found["data"]
    assert "disruptions" not in found["resources"]
    assert found["data"]["points"] == 10000


def test_defaults_of_a_newer_operator_reach_its_image_through_an_older_one() -> None:
    def newer_then(world: World) -> None:
        then = world.status()["pinned"]["defaults"]
        then["data"]["fieldOfTomorrow"] = 7
        _changed(world, defaults=then, fieldOfTomorrow="x")
        world.alignment()["status"]["fieldOfTomorrow"] = "y"

    world, older = _run(newer_then)
    older.work()
    assert _config(world, "shapes-embed-1")["data"]["fieldOfTomorrow"] == 7
    assert world.status()["fieldOfTomorrow"] == "y"
    assert world.status()["pinned"]["fieldOfTomorrow"] == "x"
    assert world.condition("Pinned")["status"] == "True"


@pytest.mark.parametrize(
    "added",
    [{"notifications": {"url": "x"}}, {"similarity": {"fieldOfTomorrow": 1}}, {"resources": {"fieldOfTomorrow": 1}}],
    ids=["section", "field", "resources"],
)
def test_unknown_fields_that_came_after_the_run_was_made_are_told_and_ignored(added: Object) -> None:
    world, controller = _run(lambda w: w.edit(**added))
    for _ in range(5):
        controller.work()
        assert world.condition("Pinned")["reason"] == "UnknownFields"
        assert next(iter(added)) in world.condition("Pinned")["message"]
        _finish(world)
    controller.work()
    assert world.condition("Succeeded")["status"] == "True"
    assert not any("fieldOfTomorrow" in yaml.safe_dump(c) or "notifications" in yaml.safe_dump(c)
                   for c in world.of("ConfigMap"))  # fmt: skip


@pytest.mark.parametrize("section", ["train", "notifications"])
def test_a_run_that_was_made_with_unknown_fields_waits_for_an_operator_that_knows_them(section: str) -> None:
    def newer_then(world: World) -> None:
        written = world.status()["pinned"]["written"]
        world.edit(**{section: {**world.alignment()["spec"].get(section, {}), "fieldOfTomorrow": 1}})
        _changed(world, written={**written, section: "0123456789ab"})

    world, older = _run(newer_then)
    older.work()
    assert section in _nothing_started(world, "UnknownFields")


def test_a_changed_spec_is_told() -> None:
    world, controller = _run(lambda w: w.edit(clip={"model": "ViT-L-14"}))
    controller.work()
    assert "clip" in _nothing_started(world, "SpecChanged")


def test_a_run_of_other_stages_is_told() -> None:
    world, newer = _run(lambda w: _changed(w, operator="0.0.9", stages=w.status()["pinned"]["stages"][1:]))
    newer.work()
    message = _nothing_started(world, "OtherStages")
    assert "operator 0.0.9" in message
    assert "(list)" in message


def test_a_run_that_began_before_there_were_pins_goes_on_with_what_its_last_job_had() -> None:
    def before(world: World) -> None:
        for name in ("shapes-pack-1", "shapes-landmarks-1"):
            config = world.objects[("ConfigMap", NAMESPACE, name)]
            found = yaml.safe_load(config["data"]["spec.yaml"])
            del found["resources"]["disruptions"]
            found["data"]["points"] = 5000
            config["data"] = {"spec.yaml": yaml.safe_dump(found)}
        del world.alignment()["status"]["pinned"]

    world, newer = _run(before)
    newer.work()
    assert _images(world) == {"captionless:1"}
    found = _config(world, "shapes-embed-1")
    assert found["data"]["points"] == 5000
    assert "disruptions" not in found["resources"], "its image would refuse it"
    assert world.job("shapes-embed-1")["spec"]["completions"] == 2
    assert world.status()["pinned"]["operator"] == ""
    assert len(world.of("Job")) == 3


def test_a_run_that_began_without_a_stage_of_today_is_told() -> None:
    def before(world: World) -> None:
        status = world.alignment()["status"]
        del status["pinned"]
        status["stages"] = [s for s in status["stages"] if s["name"] != "list"]

    world, newer = _run(before)
    newer.work()
    assert "an earlier operator" in _nothing_started(world, "OtherStages")


def test_another_image_behind_the_same_name_is_told_for_good() -> None:
    world, controller = _run()
    controller.work()
    assert world.status()["pinned"]["images"] == [{"image": "captionless:1", "imageID": "captionless@sha256:1"}]
    _finish(world, "2")
    controller.work()
    found = world.condition("Pinned")
    assert (found["status"], found["reason"]) == ("False", "ImageChanged")
    assert "captionless:1 was sha256:1 when the run was made, and sha256:2 later" in found["message"]
    assert "ImageChanged" in {r for r, _ in world.events()}
    for pod in world.of("Pod"):
        del world.objects[("Pod", NAMESPACE, pod["metadata"]["name"])]
    controller.work()
    assert world.condition("Pinned")["reason"] == "ImageChanged"


@pytest.mark.parametrize(
    ("contents", "changed"),
    [
        (("a@sha256:1", "a@sha256:1"), False),
        (("a@sha256:1", "mirror.local/a@sha256:1"), False),
        (("a@sha256:1", "a@sha256:2"), True),
        (("a@sha256:1", "sha256:9"), False),  # one node has it from a file: its name for the content is another
        (("sha256:9", "sha256:8"), True),
        ((), False),
    ],
)
def test_images_are_compared_by_their_digests(contents: tuple[str, ...], changed: bool) -> None:
    assert bool(changed_image([{"image": "a:1", "imageID": c} for c in contents])) is changed
    assert not changed_image([{"image": f"{i}", "imageID": c} for i, c in enumerate(contents)])
