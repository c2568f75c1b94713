"""Settings, what the watches bring, and what is looked at by the clock."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from captionless.controller import handlers, manager, resync
from captionless.controller.cache import Cache
from captionless.controller.handlers import WATCHED, handle_event, registry, settings
from captionless.controller.lease import Lease
from captionless.controller.manager import Settings
from captionless.controller.resync import Resync, may_change
from captionless.controller.scrape import Answers
from captionless.controller.workqueue import WorkQueue
from captionless.errors import Retryable, SpecError
from captionless.kube.api import MANAGED
from captionless.kube.api_errors import Conflict, Forbidden, NotFound, Refused, Unavailable
from captionless.kube.observed_state import Key, ObservedState, format_time
from tests.controller.seen import ago, alignment, pod, reading, workload
from tests.controller.world import KEY, Controller, World


def environment(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name in ("CAPTIONLESS_IMAGE", "CAPTIONLESS_WATCH_NAMESPACES", "POD_NAME", "POD_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, CAPTIONLESS_IMAGE="i:1", CAPTIONLESS_WATCH_NAMESPACES="a, b,", POD_NAME="p")
    found = Settings.read()
    assert (found.image, found.namespaces, found.identity, found.namespace) == ("i:1", ("a", "b"), "p", "default")
    assert not found.allow_pod_patches
    monkeypatch.setenv("CAPTIONLESS_ALLOW_POD_PATCHES", "true")
    assert Settings.read().allow_pod_patches


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CAPTIONLESS_IMAGE", ""),
        ("CAPTIONLESS_LOG_LEVEL", "LOUD"),
        ("CAPTIONLESS_ALLOW_POD_PATCHES", "yes"),
        ("CAPTIONLESS_HEALTH_PORT", "80x"),
    ],
    ids=["image", "log-level", "patches", "port"],
)
def test_wrong_settings_are_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment(monkeypatch, CAPTIONLESS_IMAGE="i:1")
    monkeypatch.setenv(name, value)
    with pytest.raises(SpecError, match=f"{name}.*{value}"):
        Settings.read()


def test_the_crd_is_needed_and_jobsets_are_not() -> None:
    class Listing:
        def __init__(self, **wrong: Exception):
            self.wrong = wrong

        def list(self, kind: str, *, namespace: str = "") -> Iterator[dict[str, Any]]:
            if kind in self.wrong and namespace != "open":
                raise self.wrong[kind]
            return iter(())

    kinds = partial(manager._kinds, namespaces=())
    assert kinds(Listing()) == ("JobSet", "Job", "Pod", "Alignment")  # type: ignore[arg-type]
    assert kinds(Listing(JobSet=NotFound("x"))) == ("Job", "Pod", "Alignment")  # type: ignore[arg-type]
    assert kinds(Listing(JobSet=Forbidden("x"))) == ("Job", "Pod", "Alignment")  # type: ignore[arg-type]
    with pytest.raises(Retryable, match="CRD"):
        kinds(Listing(Alignment=NotFound("x")))  # type: ignore[arg-type]
    half = Listing(JobSet=Forbidden("x"), Alignment=Forbidden("x"))
    assert manager._kinds(half, ("closed", "open")) == ("JobSet", "Job", "Pod", "Alignment")  # type: ignore[arg-type]


def test_a_namespace_whose_watches_fail_begins_again_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    began: list[str] = []
    ready = asyncio.Event()

    async def operator(*, namespaces: list[str], clusterwide: bool, **_: Any) -> None:
        (namespace,) = namespaces
        assert not clusterwide
        began.append(namespace)
        if namespace == "gone" and began.count("gone") < 3:
            raise PermissionError("watch of pods is forbidden")
        if namespace == "gone":
            ready.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(handlers.kopf, "operator", operator)
    monkeypatch.setattr(handlers, "AGAIN", 0.01)

    async def main() -> None:
        watching = asyncio.create_task(
            handlers.watch(Cache(), WorkQueue[Key](), ("Pod",), ("lab", "gone"), lambda: None)
        )
        await asyncio.wait_for(ready.wait(), 30)
        assert not watching.done()
        watching.cancel()

    asyncio.run(main())
    assert began.count("lab") == 1
    assert caplog.text.count("watches of the namespace gone have ended (watch of pods is forbidden)") == 2


def test_a_namespace_that_is_closed_keeps_what_is_known_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    world, cache = World(), Cache()
    world.align()
    closed: set[str] = set()
    known = world.list

    def listing(kind: str, *, namespace: str = "") -> Iterator[dict[str, Any]]:
        if namespace in closed:
            raise Forbidden("closed")
        return known(kind, namespace=namespace)

    monkeypatch.setattr(world, "list", listing)
    resyncing = Resync(world, cache, WorkQueue[Key](), ("Job", "Pod", "Alignment"), ("other", KEY[0]))
    resyncing.list_all()
    assert cache.alignments() == [KEY]
    closed.add(KEY[0])
    resyncing.list_all()
    assert cache.alignments() == [KEY]
    monkeypatch.setattr(resync, "_FORGOTTEN", -1.0)
    resyncing.list_all()
    assert cache.alignments() == []
    closed.add("other")
    with pytest.raises(Forbidden):
        resyncing.list_all()


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (Conflict("x"), "DEBUG"),
        (Unavailable("x"), "WARNING"),
        (Refused("x"), "WARNING"),
        (KeyError("x"), "ERROR"),
    ],
    ids=["conflict", "unavailable", "refused", "bug"],
)
def test_a_worker_tries_again_what_failed_and_goes_on(
    error: Exception, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    queue = WorkQueue[Key]()
    seen: list[Key] = []

    class Failing:
        def reconcile(self, key: Key) -> None:
            seen.append(key)
            if len(seen) == 3:
                queue.stop()
            if key == ("lab", "bad"):
                raise error

    queue.add(("lab", "bad"))
    queue.add(("lab", "good"))
    counted = manager.metrics.Metrics(manager.CollectorRegistry())
    manager._worker(Failing(), queue, counted)  # type: ignore[arg-type]
    assert seen == [("lab", "bad"), ("lab", "good"), ("lab", "bad")]
    assert logging.getLevelName(caplog.records[0].levelno) == level
    assert "lab/bad" in caplog.text


def test_kopf_keeps_nothing_in_the_objects() -> None:
    """Handlers of changes, daemons and timers would write annotations and finalizers."""
    found = registry(Cache(), WorkQueue(), tuple(WATCHED))
    assert len(found._watching.get_all_handlers()) == len(WATCHED)
    assert not found._changing.get_all_handlers()
    assert not found._spawning.get_all_handlers()
    assert not found._indexing.get_all_handlers()
    kept = settings(tuple(WATCHED))
    assert not kept.posting.enabled
    assert kept.scanning.disabled
    assert kept.watching.chunk_size == 500, "or the first list of all pods is in memory at once"
    assert list(kept.watching.label_selectors.values()) == [MANAGED] * (len(WATCHED) - 1)


def test_events_of_watches_reach_the_queue_only_with_news() -> None:
    world, cache, queue = World(), Cache(), WorkQueue[Key]()
    found = world.align()
    handle_event(cache, queue, None, found)
    assert queue.get() == KEY
    queue.done(KEY)
    handle_event(cache, queue, "MODIFIED", found)
    assert len(queue) == 0
    handle_event(cache, queue, "DELETED", found)
    assert len(queue) == 1
    assert cache.observed(KEY) is None


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (ObservedState(alignment(), (workload(),)), True),
        (ObservedState(alignment(), (workload(suspended=True),)), False),
        (ObservedState(alignment(), (workload(deleting=True),)), True),
        (ObservedState(alignment(), (workload(complete=True, ended=ago(3600)),)), False),
        (ObservedState(alignment(), (), (pod(),)), True),
        (ObservedState(alignment()), False),
        (ObservedState(alignment({"completionTime": format_time(ago(1))}), (workload(),)), False),
    ],
    ids=["job", "suspended-job", "deleting-job", "old-job", "pod", "nothing", "finished-run"],
)
def test_only_what_may_change_by_time_is_looked_at(seen: ObservedState, expected: bool) -> None:
    assert may_change(seen) is expected


def test_what_has_just_ended_is_looked_at_until_its_last_word_is_known() -> None:
    ended = replace(workload(complete=True), ended=resync.now())
    assert may_change(ObservedState(alignment(), (ended,)))


def test_a_round_reads_progress_and_queues_what_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.align()
    world.align("queued", queue="q")
    controller = Controller(world)
    controller.work()
    for job in world.live():
        if not job["spec"].get("suspend"):
            world.start(job)
    controller.see()
    asked: list[str] = []

    def scrape(pods: Any) -> Answers:
        found = {p.uid: reading(1, 2, 0) for p in pods}
        asked.extend(found)
        first, *others = found
        return Answers({uid: found[uid] for uid in others}, frozenset({first}), frozenset(found))

    monkeypatch.setattr(resync, "scrape", scrape)
    queue = WorkQueue[Key]()
    found = Resync(world, controller.cache, queue, ("Job", "Pod", "Alignment"))
    found.tick()
    assert len(asked) == 3, "two shards of pack, and landmarks"
    keys = {queue.get() for _ in range(len(queue))}
    assert KEY in keys
    assert ("lab", "queued") not in keys
    seen = controller.cache.observed(KEY)
    assert seen is not None
    assert len(seen.readings) == 2
    assert len(seen.silent) == 1


def test_the_jobs_of_a_namespace_that_ends_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As found: its pods are deleted and kept by their Jobs, whose replacements are refused."""
    monkeypatch.setattr(resync, "scrape", lambda pods: Answers({}, frozenset(), frozenset()))
    monkeypatch.setattr(resync, "now", lambda: world.time + timedelta(seconds=60))
    world = World()
    world.align()
    controller = Controller(world)
    controller.work()
    jobs = {j["metadata"]["name"] for j in world.live()}
    for job in world.live():
        pod = world.pod(job, 0)
        pod["metadata"]["deletionTimestamp"] = format_time(world.time)
    controller.work()
    assert {j["metadata"]["name"] for j in world.live()} == jobs, "pods may be deleted for other reasons"
    world.terminating.add("lab")
    Resync(world, controller.cache, WorkQueue(), ()).tick()
    controller.work()
    assert all("deletionTimestamp" in j["metadata"] for j in world.live())
    assert jobs


def test_a_listing_finds_what_the_watches_missed() -> None:
    world = World()
    world.align()
    controller = Controller(world)
    controller.work()
    queue = WorkQueue[Key]()
    found = Resync(world, controller.cache, queue, ("Job", "Pod", "Alignment"))
    time.sleep(0.01)
    del world.objects[("Job", "lab", "shapes-pack-1")]
    found.list_all()
    assert queue.get() == KEY
    seen = controller.cache.observed(KEY)
    assert seen is not None
    assert {w.name for w in seen.workloads} == {"shapes-landmarks-1"}


def test_the_pushgateway_is_swept_when_an_alignment_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    swept: list[Any] = []
    monkeypatch.setattr(resync.pushgateway, "sweep", lambda *given: swept.append(given))
    world = World()
    world.align()
    controller = Controller(world)
    controller.see()
    found = Resync(world, controller.cache, WorkQueue(), ("Alignment",), ("lab",), "http://gateway")
    found.tick()
    assert not swept
    del world.objects[("Alignment", "lab", "shapes")]
    controller.see()
    found.tick()
    found.tick()
    assert swept == [("http://gateway", set(), ("lab",))]


def idle(monkeypatch: pytest.MonkeyPatch) -> manager.Controller:
    monkeypatch.setattr(manager, "STOPPING", 0.2)
    return manager.Controller(Settings("i:1"), World(), Lease(World(), "lab", "me"))  # type: ignore[arg-type]


def test_the_lease_is_given_back_only_when_nobody_acts_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    controller = idle(monkeypatch)
    controller.workers = [manager._thread(controller.queue.get)]
    assert controller.stop()
    under_way = threading.Event()
    controller.workers = [manager._thread(under_way.wait)]
    assert not controller.stop()
    under_way.set()


def test_watches_that_have_ended_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    controller = idle(monkeypatch)

    async def fail(*_: object) -> None:
        raise RuntimeError("no credentials")

    monkeypatch.setattr(manager.handlers, "watch", fail)
    manager._thread(controller._watch, ("Job",))
    with pytest.raises(Retryable, match="no credentials"):
        controller.wait()


def test_a_taken_port_is_reported() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Retryable, match=f"port {port}"):
            manager._served(manager.health.serve, manager.health.Health(None), port)  # type: ignore[arg-type]
