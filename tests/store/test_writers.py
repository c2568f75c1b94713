"""Leases on a folder, between real processes, in a folder and on S3: one run at a time, and none waits for the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from captionless.errors import Interrupted, Retryable
from captionless.runtime import env
from captionless.store import objects, storage_retry, writers
from captionless.store.writers import FOLDER, Claim, writer
from tests import pace
from tests.store.faulty_s3 import FaultyS3, reached_by_environment

BUCKET = "captionless-writers"
QUICK = {"BEAT_SECONDS": 0.1, "LIMIT_SECONDS": 1.0, "ENDING_SECONDS": 0.1}
NEVER = 3600.0

_CHILD = """
import sys
from captionless.errors import CaptionlessError
from captionless.runtime import identity, signals
from captionless.store import writers
url, index, count, settings, machine, values = sys.argv[1:]
writers.__dict__.update(eval(values))
if machine:
    identity._machine = lambda: machine
signals.stop_on_signals()
try:
    with writers.writer(url, int(index), int(count), settings) as lease:
        print("held", lease.url, lease.id, flush=True)
        for line in sys.stdin:
            lease.check()
            print("checked", flush=True)
except signals.Stopped:
    print("Stopped", flush=True)
except CaptionlessError as error:
    print(type(error).__name__, error, flush=True)
"""


class Writer:
    """Another process that takes a lease and holds it until it is told to end."""

    def __init__(
        self, url: str, index: int = 0, count: int = 1, settings: str = "a", machine: str = "", **values: Any
    ) -> None:
        given = {**QUICK, **{k: v for k, v in values.items() if not k.startswith("env_")}}
        environment = {**os.environ, **{k.removeprefix("env_"): v for k, v in values.items() if k.startswith("env_")}}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, url, str(index), str(count), settings, machine, repr(given)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def held(self) -> Writer:
        said = self.says()
        assert said.startswith("held "), said
        _, url, id_ = said.split()
        self.claim = Claim(url, id_)
        return self

    def warns(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline().strip()

    def asks(self) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write("check\n")
        self.process.stdin.flush()
        return self.says()

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyS3]:
    with reached_by_environment(BUCKET) as server:
        yield server


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        request.getfixturevalue("server")
        return f"s3://{BUCKET}/{tmp_path.name}/stage"
    return str(tmp_path / "stage")


in_a_folder = pytest.mark.parametrize("url", ["folder"], indirect=True)
"""For what the storage has no part in: a process takes seconds to reach S3."""


@pytest.fixture
def start() -> Iterator[Callable[..., Writer]]:
    started: list[Writer] = []

    def start(*args: Any, **kwargs: Any) -> Writer:
        started.append(Writer(*args, **kwargs))
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(env.INDEX, raising=False)
    for name, value in QUICK.items():
        monkeypatch.setattr(writers, name, value)


def _leases(url: str) -> list[str]:
    return objects.list_names(objects.join(url, FOLDER))


def test_another_run_is_refused_by_name_and_let_in_afterwards(url: str, start: Callable[..., Writer]) -> None:
    first = start(url).held()
    for index, count, settings in ((0, 1, "a"), (0, 1, "b"), (0, 2, "a"), (1, 2, "a")):
        with pytest.raises(Retryable) as caught, writer(url, index, count, settings):
            pass
        assert url in str(caught.value)
        assert f"process {first.process.pid}," in str(caught.value)
    assert first.asks() == "checked"
    first.end()
    assert _leases(url) == []
    with writer(url, 0, 1, "b") as lease:
        lease.check()
        assert len(_leases(url)) == 1
    assert _leases(url) == []


def test_the_workers_of_a_run_share_its_folder(url: str, start: Callable[..., Writer]) -> None:
    held = [start(url, index, 3) for index in (0, 1)]
    for each in held:
        each.held()
    with writer(url, 2, 3, "a") as lease:
        lease.check()
        assert len(_leases(url)) == 3
    assert [each.asks() for each in held] == ["checked", "checked"]


@in_a_folder
def test_a_killed_writer_of_this_machine_is_replaced_at_once(
    url: str, start: Callable[..., Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "LIMIT_SECONDS", NEVER)
    for settings in ("a", "b"):
        start(url, 0, 1, "a").held().kill()
        assert len(_leases(url)) == 1
        with writer(url, 0, 1, settings) as lease:
            lease.check()
            assert len(_leases(url)) == 1


def test_a_killed_writer_of_another_machine_is_waited_for(url: str, start: Callable[..., Writer]) -> None:
    start(url, 0, 1, "a", machine="elsewhere/1").held().kill()
    with writer(url, 0, 1, "b") as lease:
        lease.check()
        assert len(_leases(url)) == 1


@in_a_folder
def test_a_live_writer_of_another_machine_is_recognised_by_its_renewals(
    url: str, start: Callable[..., Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "LIMIT_SECONDS", NEVER)
    first = start(url, machine="elsewhere/1").held()
    for settings in ("a", "b"):
        with pytest.raises(Retryable, match=f"process {first.process.pid},"), writer(url, 0, 1, settings):
            pass
    assert first.asks() == "checked"


def test_a_frozen_writer_is_replaced_and_stops_when_it_wakes(url: str, start: Callable[..., Writer]) -> None:
    frozen = start(url, 0, 1, "a").held()
    frozen.send(signal.SIGSTOP)
    with writer(url, 0, 1, "a") as lease:
        with pytest.raises(Retryable, match=url):  # what it does from now on is refused
            frozen.claim.check()
        frozen.send(signal.SIGCONT)
        said = frozen.asks()
        assert said.startswith("Retryable ")
        assert url in said
        frozen.process.wait()
        lease.check()
        assert len(_leases(url)) == 1
    assert _leases(url) == []


@in_a_folder
def test_a_pod_replaces_its_predecessor_at_once(
    url: str, start: Callable[..., Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "LIMIT_SECONDS", NEVER)
    monkeypatch.setenv(env.INDEX, "0")
    monkeypatch.setenv(env.JOB_UID, "the job")
    pod = {f"env_{env.INDEX}": "0", f"env_{env.JOB_UID}": "the job"}
    start(url, machine="its node/1", **pod).held().kill()
    with writer(url, 0, 1, "a") as lease:
        lease.check()
        assert len(_leases(url)) == 1


@in_a_folder
def test_a_pod_waits_for_another_run_and_ends_as_interrupted(
    url: str, start: Callable[..., Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start(url, 0, 1, "a").held()
    waiting = start(url, 0, 1, "b", **{f"env_{env.INDEX}": "0"})
    assert f"process {first.process.pid}," in waiting.warns()
    first.end()
    waiting.held()
    monkeypatch.setenv(env.INDEX, "0")
    monkeypatch.setattr(writers, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(Interrupted, match=f"process {waiting.process.pid},"), writer(url, 0, 1, "a"):
        pass


def test_of_runs_that_come_at_once_one_stays(tmp_path: Path) -> None:
    """Each holds its lease until all have decided."""
    for attempt in range(5):
        url = str(tmp_path / str(attempt))
        got: list[int] = []
        start, decided = threading.Barrier(4), threading.Barrier(4)

        def run(n: int, url: str = url, got: list[int] = got, *, at: Any = start, end: Any = decided) -> None:
            at.wait()
            try:
                with writer(url, 0, 1, str(n)) as lease:
                    got.append(n)
                    end.wait()
                    lease.check()
            except Retryable:
                end.wait()

        threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 1
        assert _leases(url) == []


@in_a_folder
def test_a_stopped_writer_leaves_nothing(url: str, start: Callable[..., Writer]) -> None:
    stopped = start(url).held()
    stopped.send(signal.SIGTERM)
    assert stopped.says() == "Stopped"
    stopped.process.wait()
    assert _leases(url) == []


def test_a_storage_that_is_away_does_not_keep_a_process_from_ending(
    server: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_retry, "RETRY_SECONDS", NEVER)
    monkeypatch.setattr(writers, "RELEASE_SECONDS", 0.2)
    url = f"s3://{BUCKET}/away"
    with writer(url):
        server.refuse()
    server.answer()
    pace.wait_for("the lease to be removed now that the storage answers", lambda: _leases(url) == [], 60)


def test_nothing_is_left_of_the_last_lease(tmp_path: Path) -> None:
    with writer(str(tmp_path), 0, 2):
        with writer(str(tmp_path), 1, 2):
            pass
        assert (tmp_path / FOLDER).exists()
    assert list(tmp_path.iterdir()) == []


def test_memory_has_leases_too(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/stage"
    with writer(url, 0, 2, "a"), writer(url, 1, 2, "a") as lease:
        with pytest.raises(Retryable, match=f"process {os.getpid()},"), writer(url, 0, 2, "b"):
            pass
        lease.check()
    assert _leases(url) == []


def test_what_is_no_lease_expires(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / "0-of-2-0123456789abcdef.json").write_bytes(b"[1, \xff")
    with writer(str(tmp_path)):
        assert len(_leases(str(tmp_path))) == 1
