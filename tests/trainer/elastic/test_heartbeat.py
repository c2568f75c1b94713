"""What a supervisor can read of a rank at any moment."""

from __future__ import annotations

import os
from pathlib import Path

from captionless.trainer.elastic import heartbeat
from captionless.trainer.elastic.heartbeat import Heartbeat, Phase, RankStatus


def test_a_rank_tells_its_phase_steps_and_checkpoints(tmp_path: Path) -> None:
    path, pid = heartbeat.status_file(tmp_path, 3), os.getpid()
    assert heartbeat.read_status(path) is None
    beat = Heartbeat(path)
    assert heartbeat.read_status(path) == RankStatus(pid, Phase.start, 0, -1)
    beat.step(120)
    assert heartbeat.read_status(path) == RankStatus(pid, Phase.step, 120, -1)
    with beat.storage():
        assert heartbeat.read_status(path) == RankStatus(pid, Phase.storage, 120, -1)
    beat.saved()
    assert heartbeat.read_status(path) == RankStatus(pid, Phase.step, 120, 120)
    beat.step(121)
    assert heartbeat.read_status(path) == RankStatus(pid, Phase.step, 121, 120)


def test_every_beat_has_the_length_of_the_first(tmp_path: Path) -> None:
    """They are written over one another, so a shorter one would leave the end of a longer one behind."""
    path = heartbeat.status_file(tmp_path, 0)
    beat = Heartbeat(path)
    length = path.stat().st_size
    beat.step(10**9)
    beat.saved()
    with beat.storage():
        assert path.stat().st_size == length
    beat.step(1)
    assert heartbeat.read_status(path) == RankStatus(os.getpid(), Phase.step, 1, 10**9)


def test_garbage_is_no_beat(tmp_path: Path) -> None:
    for text in ("", "{", "[]", '{"pid": 1, "phase": "asleep", "step": 0, "saved": 0}', '{"pid": 1}'):
        path = tmp_path / "beat"
        path.write_text(text)
        assert heartbeat.read_status(path) is None


def test_without_a_file_nobody_listens() -> None:
    beat = Heartbeat()
    beat.step(1)
    with beat.storage():
        beat.saved()
