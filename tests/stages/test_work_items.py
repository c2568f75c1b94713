"""Working through parts: skip, make, record, keep going past bad data, publish when all are whole."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from captionless.errors import DataError, Retryable
from captionless.stages.work_items import Shard, WorkItem, WorkOutput, work
from captionless.store import objects
from captionless.store.ledger import Ledger


class Stage:
    """A stage of named parts that counts what it makes; `failing` maps a part to what goes wrong with it."""

    def __init__(self) -> None:
        self.url = f"memory://{uuid.uuid4()}"
        self.made: list[str] = []
        self.failing: dict[str, Exception] = {}

    def part(self, name: str, fingerprint: str = "1") -> WorkItem:
        def make(tell: Callable[[int], None]) -> WorkOutput:
            if name in self.failing:
                raise self.failing[name]
            objects.write_bytes(objects.join(self.url, f"{name}.bin"), name.encode())
            self.made.append(name)
            tell(1)
            return WorkOutput({f"{name}.bin": ""}, {"name": name})

        return WorkItem(name, fingerprint, 1, make)

    def run(self, names: str, shard: Shard = Shard(), fingerprints: dict[str, str] | None = None) -> bool:
        parts = [self.part(n, (fingerprints or {}).get(n, "1")) for n in names]
        return work("test", "part", Ledger(self.url), parts, shard.of(parts)).finished


def test_whole_parts_are_not_made_again_and_changed_ones_are() -> None:
    stage = Stage()
    assert stage.run("abc")
    assert stage.run("abc")
    assert stage.made == ["a", "b", "c"]
    assert stage.run("abc", fingerprints={"b": "2"})
    assert stage.made == ["a", "b", "c", "b"]


def test_shards_share_the_parts_and_the_last_one_publishes() -> None:
    stage = Stage()
    assert not stage.run("abcde", Shard(0, 2))
    with pytest.raises(DataError, match="not finished"):
        Ledger(stage.url).manifest()
    assert stage.run("abcde", Shard(1, 2))
    assert sorted(stage.made) == list("abcde")
    assert [f["name"] for f in Ledger(stage.url).manifest().facts()] == list("abcde")
    assert stage.run("abcde", Shard(0, 2))


def test_bad_data_costs_its_part_only_and_is_told_for_all_parts() -> None:
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
    stage.failing = {"b": Retryable("the network is away")}
    with pytest.raises(Retryable):
        stage.run("abc")
    assert stage.made == ["a"]
    stage.failing = {}
    assert stage.run("abc")
    assert stage.made == ["a", "b", "c"]


def test_a_part_that_is_gone_from_the_plan_is_gone_from_the_manifest() -> None:
    stage = Stage()
    assert stage.run("abc")
    assert stage.run("ab")
    assert sorted(Ledger(stage.url).manifest().records) == ["a", "b"]
