"""The Lease, between two controllers with a clock of their own."""

from __future__ import annotations

from typing import Any

import pytest

from captionless.controller.lease import DURATION, NAME, Lease, call_timeout
from captionless.kube.api_errors import Conflict, Unavailable


class Server:
    """Keeps one Lease, with optimistic concurrency."""

    def __init__(self) -> None:
        self.found: dict[str, Any] | None = None
        self.away = False
        self.version = 0

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        self._answer()
        return self.found

    def create(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        self._answer()
        return None if self.found is not None else self._store(manifest)

    def replace(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self._answer()
        if self.found is None or manifest["metadata"]["resourceVersion"] != self.found["metadata"]["resourceVersion"]:
            raise Conflict("changed meanwhile")
        return self._store(manifest)

    def _store(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        metadata = {**manifest["metadata"], "resourceVersion": str(self.version)}
        self.found = {**manifest, "metadata": metadata}
        return self.found

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("away")


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def lost() -> list[str]:
    return []


def holder(server: Server, clock: Clock, identity: str, lost: list[str]) -> Lease:
    return Lease(server, "lab", identity, lambda: lost.append(identity), clock)


def test_one_holds_it_and_the_other_waits_until_it_has_run_out(lost: list[str]) -> None:
    server, clock = Server(), Clock()
    first, second = (holder(server, clock, i, lost) for i in ("first", "second"))
    assert first.try_acquire()
    assert first.held
    assert not second.try_acquire()
    clock.time += DURATION
    assert not second.try_acquire(), "not a moment before"
    clock.time += 0.1
    assert second.try_acquire()
    assert not first.held
    assert server.found is not None
    assert server.found["metadata"]["name"] == NAME
    assert server.found["spec"]["leaseTransitions"] == 1


def test_a_renewal_restarts_the_wait(lost: list[str]) -> None:
    server, clock = Server(), Clock()
    first, second = (holder(server, clock, i, lost) for i in ("first", "second"))
    assert first.try_acquire()
    assert not second.try_acquire()
    clock.time += 10
    assert first.try_acquire()
    clock.time += 10
    assert not second.try_acquire()


def test_a_released_lease_is_free_at_once(lost: list[str]) -> None:
    server, clock = Server(), Clock()
    first, second = (holder(server, clock, i, lost) for i in ("first", "second"))
    assert first.try_acquire()
    first.release()
    assert not first.held
    assert second.try_acquire()


def test_a_container_restarted_in_its_pod_goes_on_at_once(lost: list[str]) -> None:
    server, clock = Server(), Clock()
    assert holder(server, clock, "pod-1", lost).try_acquire()
    assert holder(server, clock, "pod-1", lost).try_acquire()


def test_an_api_server_that_is_away_is_no_lease(lost: list[str]) -> None:
    server, clock = Server(), Clock()
    server.away = True
    assert not holder(server, clock, "first", lost).try_acquire()
    assert not lost


def test_of_two_that_try_at_once_one_wins(lost: list[str]) -> None:
    server, clock = Server(), Clock()
    first, second = (holder(server, clock, i, lost) for i in ("first", "second"))
    assert holder(server, clock, "before", lost).try_acquire()
    clock.time += DURATION + 1
    first._free(server.found or {})
    second._free(server.found or {})
    clock.time += DURATION + 1
    stale = server.found
    assert first.try_acquire()
    server_get, server.get = server.get, lambda *_: stale  # type: ignore[method-assign, assignment]
    assert not second.try_acquire()
    server.get = server_get  # type: ignore[method-assign]
    assert server.found is not None
    assert server.found["spec"]["holderIdentity"] == "first"


def test_a_frozen_process_notices_before_its_next_request(lost: list[str]) -> None:
    server, clock = Server(), Clock()
    first = holder(server, clock, "first", lost)
    first.check()
    assert first.try_acquire()
    first.check()
    assert not lost
    clock.time += DURATION
    first.check()
    assert lost == ["first"]


def test_the_renewing_thread_ends_the_process_when_it_cannot_renew(
    lost: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, clock = Server(), Clock()
    first = holder(server, clock, "first", lost)
    assert first.try_acquire()
    server.away = True
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        clock.time += seconds
        return False

    monkeypatch.setattr(first._stop, "wait", wait)
    first._renew()
    assert lost == ["first"]
    assert clock.time - 1000 < DURATION, "before another may take it"
    assert waits[0] == first.period


@pytest.mark.parametrize("duration", [15.0, 60.0])
def test_calls_that_take_long_or_time_out_do_not_lose_it(
    duration: float, lost: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other attempt to renew times out, carried out or not, and the ones between take nearly as long."""
    server, clock = Server(), Clock()
    first = Lease(server, "lab", "first", lambda: lost.append("first"), clock, duration)
    assert first.try_acquire()
    longest, replace = call_timeout(duration)[1], server.replace
    attempts: list[int] = []

    def slow(manifest: dict[str, Any]) -> dict[str, Any]:
        attempts.append(len(attempts))
        clock.time += 0.9 * longest
        if attempts[-1] % 2:
            return replace(manifest)
        clock.time += 0.1 * longest
        raise Unavailable("timed out")

    def wait(seconds: float) -> bool:
        clock.time += seconds
        return len(attempts) > 20

    monkeypatch.setattr(server, "replace", slow)
    monkeypatch.setattr(first._stop, "wait", wait)
    first._renew()
    assert lost == []


def test_a_renewal_that_was_carried_out_but_timed_out_is_taken_up(
    lost: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, clock = Server(), Clock()
    first = holder(server, clock, "first", lost)
    assert first.try_acquire()
    assert server.found is not None
    server._store(server.found)  # another version than the one that it knows, but still its own
    turns = iter([False, False, True])
    monkeypatch.setattr(first._stop, "wait", lambda _: next(turns))
    clock.time += 5
    first._renew()
    assert lost == []
    assert first.renewed == clock.time


def test_a_lease_taken_by_another_ends_the_process(lost: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    server, clock = Server(), Clock()
    first = holder(server, clock, "first", lost)
    assert first.try_acquire()
    assert server.found is not None
    server._store({**server.found, "spec": {**server.found["spec"], "holderIdentity": "second"}})
    turns = iter([False, True])
    monkeypatch.setattr(first._stop, "wait", lambda _: next(turns))
    first._renew()
    assert lost == ["first"]
