"""Ranks that search for hard negatives together, where a search falls on a checkpoint and where it does not."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import torch
import torch.multiprocessing as mp

from captionless.trainer import distributed, loop
from tests import pace
from tests.trainer import synthetic

WORLD, LIMIT, STEPS = 2, 120.0, 9
EVERY = (3, 2, 1)  # steps between checkpoints


def _rank(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(WORLD), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    distributed.start("gloo", LIMIT)
    batches = {"kind": "neighbours", "group": 2, "candidates": 4, "every": 1}  # a search before every third step
    for every in EVERY:
        loop.train(synthetic.job(Path(folder), f"run-{every}", batches=batches, steps=STEPS, checkpoint_every=every))
    distributed.stop()


def test_ranks_agree_on_what_is_stored_before_a_search(tmp_path: Path) -> None:
    """They once did not where a checkpoint had just been stored, and waited for each other for half an hour."""
    synthetic.write(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.set_forkserver_preload([__name__, "torch._dynamo"])
    ranks = mp.start_processes(_rank, (port, str(tmp_path)), nprocs=WORLD, start_method="forkserver", join=False)
    until = time.monotonic() + pace.seconds(LIMIT)
    try:
        while not ranks.join(1):
            assert time.monotonic() < until, "the ranks wait for each other"
    finally:
        for process in ranks.processes:
            process.kill()
    once, *others = (json.loads((tmp_path / f"run-{every}" / "history.json").read_text()) for every in EVERY)
    assert len(once["loss"]) == STEPS
    for other in others:
        assert other["loss"] == once["loss"]
