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
from tests.chaos.world import World
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
        yield server


@pytest.mark.chaos
@pytest.mark.parametrize("at", WRITES)
@pytest.mark.parametrize("stage", STAGES)
def test_a_late_write_changes_nothing(stage: str, at: int, tmp_path: Path, s3: FaultyS3) -> None:
    world = World.begin(tmp_path / "world")
    older = _on_s3(world, tmp_path / "older")
    before = list(commands(older))
    number = next(i for i, command in enumerate(before) if command[0] == stage)
    for command in before[:number]:
        assert Command(older.folder, command).end().code == 0
    held = Held(at)
    abroad = Interruption(signal.SIGSTOP, _NEVER, abroad=True)  # it cannot be seen that it lives
    held.writer = late = Command(older.folder, before[number], abroad)
    held.watch(s3)
    pace.wait_for(f"{stage} to write", lambda: held.arrived.is_set() or not late.running, 120.0, every=0.01)
    s3.on_request = lambda _: None

    world.set("data.elevation", 40)
    _, ended = run(_on_s3(world, tmp_path / "newer"))
    assert ended.code == 0, ended.error
    _assert_published(world, tmp_path, s3, "newer")
    held.release.set()
    if held.arrived.is_set():
        ended = late.go_on()
        assert ended.code in {0, *REFUSALS}, ended.error
        assert "Traceback" not in ended.error
    else:
        assert late.end().code == 0
    _assert_published(world, tmp_path, s3, "late")


def _on_s3(world: World, folder: Path) -> World:
    found = world.copy(folder)
    found.set("output", f"s3://{BUCKET}/out")
    return found


def _assert_published(world: World, folder: Path, s3: FaultyS3, name: str) -> None:
    """What is in the bucket is what a run of this world gives from scratch."""
    out = folder / name / "fetched"
    for page in s3.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for each in page.get("Contents", ()):
            path = out / each["Key"].removeprefix("out/")
            path.parent.mkdir(parents=True, exist_ok=True)
            s3.client.download_file(BUCKET, each["Key"], str(path))
    assert not differences(out, reference(world, folder / "references"), world, folder / name / "again")
