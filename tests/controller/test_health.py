from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from captionless.controller.health import DEAF, Health, serve


class FakeLease:
    held = True
    renewed = 0.0


class Clock:
    time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def watched() -> tuple[Health, FakeLease, Clock]:
    lease, clock = FakeLease(), Clock()
    found = Health(lease, clock)  # type: ignore[arg-type]
    found.beat()
    found.echo()
    return found, lease, clock


def test_a_deaf_watch_fails_liveness_while_renewals_succeed(watched: tuple[Health, FakeLease, Clock]) -> None:
    health, lease, clock = watched
    assert not health.trouble()
    clock.time = DEAF + 1
    health.beat()
    lease.renewed = clock.time
    assert "Lease" in health.trouble()
    health.echo()
    assert not health.trouble()


def test_an_api_server_that_is_away_does_not(watched: tuple[Health, FakeLease, Clock]) -> None:
    health, lease, clock = watched
    clock.time = 10 * DEAF
    health.beat()
    lease.renewed = 0.0
    assert not health.trouble()


def test_an_event_loop_that_stands_still_does(watched: tuple[Health, FakeLease, Clock]) -> None:
    health, _, clock = watched
    clock.time = DEAF + 1
    health.echo()
    assert "event loop" in health.trouble()


def test_before_the_event_loop_began_nothing_is_missed() -> None:
    clock = Clock()
    clock.time = 1e6
    assert not Health(FakeLease(), clock).trouble()  # type: ignore[arg-type]


def test_readiness(watched: tuple[Health, FakeLease, Clock]) -> None:
    health, lease, _ = watched
    assert health.unready()
    health.synced = True
    assert not health.unready()
    lease.held = False
    assert "Lease" in health.unready()


def test_the_probes(watched: tuple[Health, FakeLease, Clock]) -> None:
    health, _, clock = watched
    server = serve(health, 0)
    url = f"http://127.0.0.1:{server.server_address[1]}"

    def get(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(url + path) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    try:
        assert get("/healthz") == (200, "ok")
        assert get("/readyz")[0] == 503
        health.synced = True
        assert get("/readyz") == (200, "ok")
        clock.time = DEAF + 1
        assert get("/healthz")[0] == 503
        assert get("/etc/passwd")[0] == 404
    finally:
        server.shutdown()
