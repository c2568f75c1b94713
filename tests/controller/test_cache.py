"""Watches, answers and listings in any order."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from captionless.controller.cache import Cache
from captionless.kube.observed_state import Problem, Reading
from tests.controller.seen import NOW
from tests.controller.world import KEY, World

Object = dict[str, Any]


def begun() -> tuple[World, Object, Object]:
    """A world with an Alignment and a Job of its pack stage."""
    world = World()
    owner = world.align()
    labels = {"captionless.dev/alignment": "shapes", "captionless.dev/stage": "pack", "captionless.dev/attempt": "1"}
    metadata = {"name": "shapes-pack-1", "namespace": "lab", "labels": labels}
    metadata["ownerReferences"] = [{"uid": owner["metadata"]["uid"], "controller": True}]
    job = world.create({"kind": "Job", "metadata": metadata, "spec": {"completions": 2}})
    assert job is not None
    return world, world.alignment(), job


def newer(found: Object, **changed: Any) -> Object:
    version = str(int(found["metadata"]["resourceVersion"]) + 10)
    return {**found, **changed, "metadata": {**found["metadata"], "resourceVersion": version}}


def test_an_older_version_does_not_replace_a_newer_one() -> None:
    _, alignment, job = begun()
    cache = Cache()
    cache.put(alignment)
    later = newer(job, spec={"completions": 2, "suspend": True})
    assert cache.put(later) == KEY
    assert cache.put(job) is None
    seen = cache.observed(KEY)
    assert seen is not None
    assert seen.workloads[0].suspended


def test_only_what_matters_is_news() -> None:
    _, _, job = begun()
    cache = Cache()
    assert cache.put(job) == KEY
    assert cache.put(newer(job)) is None


def test_what_is_gone_does_not_come_back() -> None:
    _, alignment, job = begun()
    cache = Cache()
    cache.put(alignment)
    cache.put(job)
    assert cache.drop(job) == KEY
    assert cache.put(newer(job)) is None
    seen = cache.observed(KEY)
    assert seen is not None
    assert not seen.workloads


def test_a_listing_drops_what_a_watch_has_missed_and_keeps_what_was_made_meanwhile() -> None:
    _, alignment, job = begun()
    cache = Cache()
    cache.put(alignment)
    cache.put(job)
    before = time.monotonic() - 60
    assert cache.replace("Job", [], since=before) == set(), "heard of after the listing began"
    assert cache.replace("Job", [], since=time.monotonic() + 1) == {KEY}
    assert cache.replace("Alignment", [alignment], since=time.monotonic() + 1) == set()
    assert cache.alignments() == [KEY]


def test_strangers_are_ignored() -> None:
    cache = Cache()
    assert cache.put({"kind": "Job", "metadata": {"name": "x", "namespace": "lab", "uid": "1"}}) is None
    assert cache.put({"kind": "Node", "metadata": {"name": "x", "uid": "2"}}) is None
    assert cache.put({}) is None


def test_readings_and_problems_go_with_their_objects() -> None:
    _, alignment, job = begun()
    cache = Cache()
    cache.put(alignment)
    pod = {"kind": "Pod", "metadata": {**job["metadata"], "name": "p", "uid": "uid-p"}, "spec": {}, "status": {}}
    cache.put(pod)
    cache.read("uid-p", Reading(1, 2, "object", None, NOW))
    cache.read("uid-unknown", Reading(1, 2, "object", None, NOW))
    cache.refused(KEY, Problem("Forbidden", "quota"))
    for minute in range(2):
        cache.heard(["uid-p", "uid-unknown"], {"uid-p", "uid-unknown"}, NOW + timedelta(minutes=minute))
    seen = cache.observed(KEY)
    assert seen is not None
    assert set(seen.readings) == {"uid-p"}
    assert seen.silent == {"uid-p": NOW}
    cache.heard(["uid-p"], set(), NOW)
    answered = cache.observed(KEY)
    assert answered is not None
    assert not answered.silent
    assert seen.problem == Problem("Forbidden", "quota")
    cache.drop(pod)
    cache.drop(alignment)
    assert cache.observed(KEY) is None


def test_the_newer_of_two_alignments_of_a_name_counts() -> None:
    _, alignment, _ = begun()
    cache = Cache()
    again = newer(alignment)
    again["metadata"]["uid"] = "uid-new"
    cache.put(again)
    cache.put(alignment)
    seen = cache.observed(KEY)
    assert seen is not None
    assert seen.alignment.uid == "uid-new"
