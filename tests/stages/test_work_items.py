"""Processing work items: skip, make, record, continue past bad data, publish when all are complete."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable

import pytest

from captionless.errors import DataError, Retryable
from captionless.runtime import env
from captionless.stages.work_items import Shard, WorkItem, WorkOutput, work
from captionless.store import objects, writers
from captionless.store.ledger import Ledger
from tests import pace


class Stage:
    """A stage of named work items that lists what it makes; `failing` maps an item to the error it raises."""

    def __init__(self) -> None:
        self.url = f"memory://{uuid.uuid4()}"
        self.made: list[str] = []
        self.failing: dict[str, Exception] = {}

    def item(self, name: str, fingerprint: str = "1") -> WorkItem:
        def make(advance: Callable[[int], None]) -> WorkOutput:
            if name in self.failing:
                raise self.failing[name]
            objects.write_bytes(objects.join(self.url, f"{name}.bin"), name.encode())
            self.made.append(name)
            advance(1)
            return WorkOutput({f"{name}.bin": ""}, {"name": name})

        return WorkItem(name, fingerprint, 1, make)

    def run(self, names: str, shard: Shard = Shard(), fingerprints: dict[str, str] | None = None) -> bool:
        items = [self.item(n, (fingerprints or {}).get(n, "1")) for n in names]
        return work("test", "item", Ledger(self.url), items, shard.of(items)).finished


def test_complete_items_are_skipped_and_changed_ones_remade() -> None:
    stage = Stage()
    assert stage.run("abc")
    assert stage.run("abc")
    assert stage.made == ["a", "b", "c"]
    assert stage.run("abc", fingerprints={"b": "2"})
    assert stage.made == ["a", "b", "c", "b"]


def test_shards_share_the_items_and_the_last_one_publishes() -> None:
    stage = Stage()
    assert not stage.run("abcde", Shard(0, 2))
    with pytest.raises(DataError, match=r"manifest\.json"):
        Ledger(stage.url).manifest()
    assert stage.run("abcde", Shard(1, 2))
    assert sorted(stage.made) == list("abcde")
    assert [f["name"] for f in Ledger(stage.url).manifest().facts()] == list("abcde")
    assert stage.run("abcde", Shard(0, 2))


def test_bad_data_fails_its_item_only_and_is_reported_for_all_items() -> None:
    stage = Stage()
    stage.failing = {"a": DataError("a is bad"), "c": DataError("c is bad")}
    with pytest.raises(DataError, match="a is bad\nc is bad"):
        stage.run("abcd")
    assert stage.made == ["b", "d"]
    stage.failing = {}
    assert stage.run("abcd")
    assert stage.made == ["b", "d", "a", "c"]


def test_other_failures_end_the_worker_and_keep_what_is_done() -> None:
    stage = Stage()
    stage.failing = {"b": Retryable("network down")}
    with pytest.raises(Retryable):
        stage.run("abc")
    assert stage.made == ["a"]
    stage.failing = {}
    assert stage.run("abc")
    assert stage.made == ["a", "b", "c"]


def test_an_item_that_is_gone_from_the_plan_is_gone_from_the_manifest() -> None:
    stage = Stage()
    assert stage.run("abc")
    assert stage.run("ab")
    assert sorted(Ledger(stage.url).manifest().records) == ["a", "b"]


def test_what_another_run_made_while_it_was_waited_for_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(env.INDEX, "0")  # a pod waits where a user is refused
    monkeypatch.setattr(writers, "_POLL_SECONDS", 0.01)
    waiting, stage = threading.Event(), Stage()
    monkeypatch.setattr(writers, "say", lambda line: waiting.set())
    with writers.writer(stage.url, settings="another run"):
        late = threading.Thread(target=stage.run, args=("abc",))
        late.start()
        assert waiting.wait(pace.seconds(60))
        ledger = Ledger(stage.url)
        for item in map(stage.item, "ab"):
            output = item.make(lambda count: None)
            ledger.commit(item.name, item.fingerprint, output.files, output.facts)
    late.join()
    assert stage.made == ["a", "b", "c"]
    assert set(Ledger(stage.url).manifest().records) == set("abc")


def test_a_second_run_is_refused_by_name_and_leaves_no_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "ENDING_SECONDS", 0.0)
    stage = Stage()
    with writers.writer(stage.url, settings="another run"):
        with pytest.raises(Retryable, match=f"process {os.getpid()},"):
            stage.run("ab")
        assert stage.made == []
        assert len(objects.list_names(objects.join(stage.url, writers.FOLDER))) == 1
    assert stage.run("ab")
    with writers.writer(stage.url, settings="another run"):
        assert stage.run("ab")  # nothing to make: no lease is asked for
    assert objects.list_names(objects.join(stage.url, writers.FOLDER)) == []


def test_what_a_replaced_worker_has_made_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    item = stage.item("a")

    def frozen_meanwhile(advance: Callable[[int], None]) -> WorkOutput:
        (name,) = objects.list_names(objects.join(stage.url, writers.FOLDER))
        objects.remove(objects.join(stage.url, writers.FOLDER, name))
        return item.make(advance)

    monkeypatch.setattr(writers, "_FRESH_SECONDS", 0.0)
    with pytest.raises(Retryable, match="replaced"):
        work("test", "item", Ledger(stage.url), [WorkItem("a", "1", 1, frozen_meanwhile)])
    assert Ledger(stage.url).record("a", "1") is None
