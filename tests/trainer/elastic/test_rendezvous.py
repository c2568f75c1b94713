"""Supervisors that agree on rounds, over real connections in one process."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from captionless.errors import DataError, Interrupted, Retryable
from captionless.trainer.elastic import rendezvous_host
from captionless.trainer.elastic.gang import Gang
from captionless.trainer.elastic.rendezvous import News, NodeAssignment, Rendezvous
from tests import pace
from tests.trainer.elastic.gang import free_port


class Nodes:
    """A gang whose nodes come and go."""

    def __init__(self, nodes: int, least: int) -> None:
        self.size, self.least, self.port = nodes, least, free_port()
        self.stacks: dict[int, ExitStack] = {}
        self.at: dict[int, Rendezvous] = {}
        self.pool = ThreadPoolExecutor(8)
        self.lines: list[str] = []
        self.closing = False

    def come(self, index: int, training: str = "t", patience: float | None = None) -> Future[NodeAssignment]:
        """A node appears and asks for a round."""
        patience = pace.seconds(30) if patience is None else patience
        gang = Gang(index, self.size, self.least, "127.0.0.1", self.port, patience, pace.seconds(10))
        self.stacks[index] = ExitStack()
        self.at[index] = self.stacks[index].enter_context(Rendezvous(gang, training, self.lines.append))
        return self.ask(index)

    def ask(self, index: int) -> Future[NodeAssignment]:
        return self.pool.submit(self.at[index].join_round, lambda: self.closing)

    def go(self, index: int) -> None:
        """A node disappears without a word."""
        self.stacks.pop(index).close()
        del self.at[index]

    def hears(self, index: int) -> News:
        """The next news of a node."""
        found: list[News] = []

        def any_news() -> bool:
            found.append(self.at[index].news())
            return found[-1] != News()

        pace.wait_for(f"node {index} to have news", any_news, 20)
        return found[-1]

    def close(self) -> None:
        self.closing = True
        for index in sorted(self.stacks, reverse=True):
            self.go(index)
        self.pool.shutdown()


@pytest.fixture
def three() -> Iterator[Nodes]:
    nodes = Nodes(3, 3)
    yield nodes
    nodes.close()


def placed(*asked: Future[NodeAssignment]) -> list[NodeAssignment]:
    return [future.result(pace.seconds(20)) for future in asked]


def test_ranks_follow_the_index_whatever_order_nodes_come_in(three: Nodes) -> None:
    last, middle, first = three.come(2), three.come(1), three.come(0)
    places = placed(first, middle, last)
    assert [place.rank for place in places] == [0, 1, 2]
    assert {(place.round, place.nodes, place.address) for place in places} == {(1, 3, "127.0.0.1")}
    assert len({place.port for place in places}) == 1
    assert places[0].port != three.port


def test_a_lost_node_ends_the_round_for_all_and_the_next_has_another_port(three: Nodes) -> None:
    before = placed(*(three.come(i) for i in range(3)))
    three.go(2)
    assert [three.hears(i).over for i in (0, 1)] == ["node 2 was lost"] * 2
    for index in (0, 1):
        three.at[index].ended("Retryable", "connection closed by peer")
    asked = [three.ask(0), three.ask(1), three.come(2)]
    after = placed(*asked)
    assert [place.rank for place in after] == [0, 1, 2]
    assert {place.round for place in after} == {2}
    assert after[0].port != before[0].port


def test_without_node_0_the_others_wait_for_its_replacement(three: Nodes) -> None:
    placed(*(three.come(i) for i in range(3)))
    three.go(0)
    assert "node 0" in three.hears(1).over
    assert "node 0" in three.hears(2).over
    asked = [three.ask(2), three.ask(1), three.come(0)]
    assert [place.rank for place in placed(*reversed(asked))] == [0, 1, 2]


def test_a_failed_node_tells_why_and_nobody_begins_before_all_have_ended(three: Nodes) -> None:
    placed(*(three.come(i) for i in range(3)))
    three.at[1].ended("Retryable", "disk full")
    again = three.ask(1)
    assert three.hears(0).over == three.hears(2).over == "node 1: disk full"
    three.at[0].ended("Retryable", "connection closed by peer")
    asked = three.ask(0)
    assert not again.done()
    three.at[2].ended("Retryable", "connection closed by peer")
    assert [place.rank for place in placed(asked, again, three.ask(2))] == [0, 1, 2]


def test_a_common_stop_lets_the_others_end_by_themselves(three: Nodes) -> None:
    placed(*(three.come(i) for i in range(3)))
    three.at[1].ended("Interrupted", "stopped after step 5")
    three.go(1)
    three.at[2].ended("Interrupted", "stopped after step 5")  # what node 0 would hear comes after this
    asked = three.ask(2)
    pace.wait_for("node 0 to notice that 1 left", lambda: 1 not in three.at[0]._here or three.at[0].news().over, 20)
    assert three.at[0].news() == News()
    three.at[0].ended("Interrupted", "stopped after step 5")
    assert len(placed(asked, three.ask(0), three.come(1))) == 3


@pytest.mark.parametrize("finder", [0, 1])
def test_what_no_round_mends_ends_every_node(three: Nodes, finder: int) -> None:
    placed(*(three.come(i) for i in range(3)))
    three.at[finder].ended("DataError", "shard 3 is truncated")
    three.go(finder)
    for index in {0, 1, 2} - {finder}:
        with pytest.raises(DataError, match=f"node {finder}: shard 3 is truncated"):
            three.ask(index).result(20)


def test_missing_nodes_are_named_at_the_end_of_patience(three: Nodes) -> None:
    asked = three.come(0, patience=1)
    three.come(2, patience=2)
    with pytest.raises(Retryable, match=r"2 of 3 nodes.*missing: 1$"):
        asked.result(20)
    three.go(0)
    with pytest.raises(Retryable, match=rf"node 0 .*127\.0\.0\.1:{three.port}.* 3 nodes"):
        three.ask(2).result(20)
    with pytest.raises(Interrupted):
        three.at[2].join_round(lambda: True)


def test_strangers_are_turned_away(three: Nodes) -> None:
    asked = [three.come(i) for i in (0, 1)]
    stranger = three.come(2, training="something else", patience=1)
    with socket.create_connection(("127.0.0.1", three.port)) as noise:
        noise.sendall(b"GET / HTTP/1.1\r\n\r\n" + b"x" * 100_000)
        with pytest.raises(Retryable):
            stranger.result(20)
    with socket.create_connection(("127.0.0.1", three.port)) as noise:
        noise.sendall((json.dumps({"index": 9, "training": "t"}) + "\n").encode())
        assert noise.recv(100) == b""
    assert not any(future.done() for future in asked)
    three.go(2)
    assert [place.rank for place in placed(*asked, three.come(2))] == [0, 1, 2]


def test_an_elastic_gang_begins_without_a_node_and_takes_it_in_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous_host, "LAST_CALL_SECONDS", 0.3)
    nodes = Nodes(3, 2)
    try:
        places = placed(nodes.come(2), nodes.come(0))
        assert [(place.rank, place.nodes) for place in places] == [(1, 2), (0, 2)]
        late = nodes.come(1)
        assert nodes.hears(0) == News(regroup=True)
        assert nodes.at[2].news() == News()
        for index in (0, 2):
            nodes.at[index].ended("Interrupted", "stopped after step 5")
        assert [place.rank for place in placed(nodes.ask(0), late, nodes.ask(2))] == [0, 1, 2]
    finally:
        nodes.close()


def test_a_port_that_is_taken_is_reported() -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Retryable, match=f"port {port}"), Rendezvous(Gang(0, 2, 2, "h", port, 1, 1), "t", print):
            pass


def test_nodes_that_come_and_go_interrupt_a_round_at_most_once_in_an_interval() -> None:
    readmission = rendezvous_host.Readmission(600)
    assert [readmission.wait(now) for now in (50.0, 51.0, 649.0)] == [0, 599, 1]  # the first at once
    assert [readmission.wait(now) for now in (650.0, 700.0, 5000.0)] == [0, 550, 0]
    always = rendezvous_host.Readmission(0)
    assert [always.wait(now) for now in (0.0, 0.0, 1.0)] == [0, 0, 0]


def test_a_node_that_returns_soon_after_another_has_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous_host, "LAST_CALL_SECONDS", 0.1)
    asked: list[float] = []

    def wait(self: rendezvous_host.Readmission, now: float) -> float:
        asked.append(now)
        return 0.05 if len(asked) < 3 else 0.0

    monkeypatch.setattr(rendezvous_host.Readmission, "wait", wait)
    nodes = Nodes(3, 2)
    try:
        placed(nodes.come(2), nodes.come(0))
        nodes.come(1)
        assert nodes.hears(0) == News(regroup=True)
        assert len(asked) == 3  # it was asked for again when the time had come, by itself
    finally:
        nodes.close()
