"""A write that reaches S3 after a newer run has ended, from a worker of an older one, changes nothing of it.

The proxy holds one request of the older worker, which stops as well; a newer run, of another spec, takes over and
ends. Then the request is served as it was sent, and the worker goes on to its end.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import pace
from tests.chaos.processes import Command, Interruption
from tests.chaos.reference import commands, differences, reference, run
from tests.chaos.sequence import REFUSALS
from tests.chaos.world import SPEC, World
from tests.store.faulty_s3 import FaultyS3, reached_by_environment

BUCKET = "runs"
_NEVER = 1_000_000

STAGES = ("list", "pack", "embed", "landmarks", "similarity", "train", "eval")
WRITES = (1, 2, 3, 5, 8)


@dataclass
class Held:
    """The `at`-th write to the bucket from now on, which is not served until `release`; it stops the writer."""

    at: int
    count: int = 0
    writer: Command | None = None
    arrived: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def watch(self, s3: FaultyS3) -> None:
        """Counts the writes."""
        s3.on_request = lambda _: self._on_request(*s3.requests[-1])

    def _on_request(self, method: str, path: str) -> None:
        if method not in ("PUT", "POST", "DELETE") or "_writers" in path:  # renewals come at any time
            return
        with self._lock:
            self.count += 1
            is_it = self.count == self.at
        if is_it:
            assert self.writer is not None
            self.writer.stop()
            self.arrived.set()
            self.release.wait()


@pytest.fixture
def s3() -> Iterator[FaultyS3]:
    with reached_by_environment(BUCKET) as server:
        for page in server.client.get_paginator("list_objects_v2").paginate(
            Bucket=BUCKET
        ):  # the server outlives a test
            for each in page.get("Contents", ()):
                server.client.delete_object(Bucket=BUCKET, Key=each["Key"])
        yield server


@pytest.mark.chaos
@pytest.mark.parametrize("at", WRITES)
@pytest.mark.parametrize("stage", STAGES)
def test_a_late_write_changes_nothing(stage: str, at: int, tmp_path: Path, shared: Path, s3: FaultyS3) -> None:
    world = World.begin(tmp_path / "world")
    older = _on_s3(world, tmp_path / "older")
    _until(stage, older)
    late = _Late(older, stage, at, s3)

    world.set("data.elevation", 40)
    newer = _on_s3(world, tmp_path / "newer")
    _assert_succeeds(newer)
    _assert_published(world, tmp_path, shared, s3, "newer")
    late.goes_on()
    _assert_published(world, tmp_path, shared, s3, "late")
    _assert_succeeds(newer)
    _assert_published(world, tmp_path, shared, s3, "rerun")


@pytest.mark.chaos
@pytest.mark.parametrize("at", WRITES)
@pytest.mark.parametrize("stage", STAGES)
def test_a_late_write_changes_nothing_of_settings_that_came_back(
    stage: str, at: int, tmp_path: Path, shared: Path, s3: FaultyS3
) -> None:
    """The older worker's settings replace others, which then return: what it removes and replaces is of the same names
    and content as what is published in the end. A file that is lost by that is missed, and made by a rerun."""
    world = World.begin(tmp_path / "world")
    first = _on_s3(world, tmp_path / "first")
    _assert_succeeds(first)
    world.set("data.elevation", 40)
    older = _on_s3(world, tmp_path / "older")
    _until(stage, older)
    late = _Late(older, stage, at, s3)

    _assert_succeeds(older)
    _assert_succeeds(first)
    world.set("data.elevation", SPEC["data"]["elevation"])
    _assert_published(world, tmp_path, shared, s3, "newer")
    late.goes_on()
    _assert_succeeds(first)
    _assert_published(world, tmp_path, shared, s3, "rerun")


class _Late:
    """A worker of `world` that is stopped at its `at`-th write, or has ended before; all stages before its own are
    done."""

    def __init__(self, world: World, stage: str, at: int, s3: FaultyS3) -> None:
        self.held = Held(at)
        command = next(command for command in commands(world) if command[0] == stage)
        abroad = Interruption(signal.SIGSTOP, _NEVER, abroad=True)  # it cannot be seen that it lives
        self.held.writer = self.command = Command(world.folder, command, abroad)
        self.held.watch(s3)
        pace.wait_for(
            f"{stage} to write", lambda: self.held.arrived.is_set() or not self.command.running, 120.0, every=0.01
        )
        s3.on_request = lambda _: None

    def goes_on(self) -> None:
        """The write is served, and the worker goes on to its end."""
        self.held.release.set()
        if self.held.arrived.is_set():
            ended = self.command.go_on()
            assert ended.code in {0, *REFUSALS}, ended.error
            assert "Traceback" not in ended.error
        else:
            assert self.command.end().code == 0


def _until(stage: str, world: World) -> None:
    """Runs what comes before a stage."""
    for command in commands(world):
        if command[0] == stage:
            return
        ended = Command(world.folder, command).end()
        assert ended.code == 0, ended.error


def _assert_succeeds(world: World) -> None:
    _, ended = run(world)
    assert ended.code == 0, ended.error


def _on_s3(world: World, folder: Path) -> World:
    found = world.copy(folder)
    found.set("output", f"s3://{BUCKET}/out")
    return found


def _assert_published(world: World, folder: Path, shared: Path, s3: FaultyS3, name: str) -> None:
    """What is in the bucket is what a run of this world gives from scratch."""
    out = folder / f"fetched-{name}"
    for page in s3.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for each in page.get("Contents", ()):
            path = out / each["Key"].removeprefix("out/")
            path.parent.mkdir(parents=True, exist_ok=True)
            s3.client.download_file(BUCKET, each["Key"], str(path))
    assert not differences(out, reference(world, shared), world, folder / f"again-{name}")
