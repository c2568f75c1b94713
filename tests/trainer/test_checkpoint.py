"""Checkpoints: which are kept, which is resumed from, and how a failure to store one is reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import sleep

import pytest
import torch

from captionless.errors import CaptionlessError
from captionless.trainer import checkpoint

OWN, OTHER = "a" * 64, "b" * 64


def test_checkpoints_keep_the_newest_and_pass_over_damage(tmp_path: Path) -> None:
    run = str(tmp_path)
    writer, weights = checkpoint.CheckpointWriter(run, OWN, keep=2), torch.zeros(3)
    other = checkpoint.CheckpointWriter(run, OTHER, keep=1)
    for step in (2, 4, 6):
        weights.fill_(step)
        writer.save(step, {"fingerprint": OWN, "step": step, "w": weights})
        other.save(step + 1, {"fingerprint": OTHER, "step": step + 1})
        weights.fill_(-1)  # training goes on
    writer.wait()
    assert not writer.ended()
    other.wait()
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert [n[:22] for n in names] == ["step-00000004-aaaaaaaa", "step-00000006-aaaaaaaa", "step-00000007-bbbbbbbb"]
    newest = checkpoint.newest(run, OWN)
    assert newest is not None
    assert newest["step"] == 6
    assert newest["w"].tolist() == [6.0] * 3
    assert checkpoint.newest(run, OTHER)["step"] == 7  # neither removes what is the other's
    assert checkpoint.newest(run, "c" * 64) is None
    damaged = tmp_path / "checkpoints" / names[1]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    assert checkpoint.newest(run, OWN)["step"] == 4
    before = damaged.with_name(names[0])
    before.rename(before.with_name(names[0].replace("-aaaaaaaa", "")))  # as releases called it that had no runs
    assert checkpoint.newest(run, OWN)["step"] == 4
    assert checkpoint.newest(run, "c" * 64) is None


def test_a_checkpoint_that_cannot_be_stored_is_reported_by_the_next_call(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("in the way")

    def ask(writer: checkpoint.CheckpointWriter) -> None:
        while not writer.ended():
            sleep(0.01)

    calls: list[Callable[[checkpoint.CheckpointWriter], None]] = [lambda w: w.wait(), lambda w: w.save(4, {}), ask]
    for call in calls:
        writer = checkpoint.CheckpointWriter(str(tmp_path), OWN, keep=2)
        writer.save(2, {})
        with pytest.raises(CaptionlessError, match="checkpoints"):
            call(writer)
