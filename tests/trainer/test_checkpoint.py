"""Checkpoints: which are kept, which is resumed from, and how a failure to store one is reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import sleep

import pytest
import torch

from captionless.errors import CaptionlessError
from captionless.trainer import checkpoint


def test_checkpoints_keep_the_newest_and_pass_over_damage(tmp_path: Path) -> None:
    run = str(tmp_path)
    writer, weights = checkpoint.CheckpointWriter(run, keep=2), torch.zeros(3)
    for step in (2, 4, 6):
        weights.fill_(step)
        writer.save(step, {"fingerprint": "f", "step": step, "w": weights})
        weights.fill_(-1)  # training goes on
    writer.wait()
    assert not writer.ended()
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert [n[:13] for n in names] == ["step-00000004", "step-00000006"]
    newest = checkpoint.newest(run, "f")
    assert newest is not None
    assert newest["step"] == 6
    assert newest["w"].tolist() == [6.0] * 3
    assert checkpoint.newest(run, "other") is None
    damaged = tmp_path / "checkpoints" / names[-1]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    assert checkpoint.newest(run, "f")["step"] == 4
    checkpoint.discard(run)
    assert checkpoint.newest(run, "f") is None


def test_a_checkpoint_that_cannot_be_stored_is_reported_by_the_next_call(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("in the way")

    def ask(writer: checkpoint.CheckpointWriter) -> None:
        while not writer.ended():
            sleep(0.01)

    calls: list[Callable[[checkpoint.CheckpointWriter], None]] = [lambda w: w.wait(), lambda w: w.save(4, {}), ask]
    for call in calls:
        writer = checkpoint.CheckpointWriter(str(tmp_path), keep=2)
        writer.save(2, {})
        with pytest.raises(CaptionlessError, match="checkpoints"):
            call(writer)
