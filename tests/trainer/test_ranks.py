"""One to four gloo ranks train the same: dropout, stochastic depth, hard negatives and micro-batches included.

In float64, where rounding has no time to grow, all twenty losses are equal; in float32 the first is. Adam divides a
gradient by its size: where that is rounding alone, its sign follows from the order of a sum, and so does a whole step.
`eps` is so large here that such a step is nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from numpy.typing import NDArray

from captionless.trainer import distributed, loop
from captionless.trainer.losses.hn_weights import HNWeights
from captionless.trainer.optim import Adam
from tests.trainer import synthetic

STEPS, WORLDS, LIMIT = 20, (1, 2, 3, 4), 600.0
ENCODERS: dict[str, dict[str, Any]] = {
    "pointnext-s": {"width": 4, "nsample": 4, "radius": 0.4, "dropout": 0.4},
    "pointbert": {
        "name": "pointbert", "width": 8, "depth": 2, "heads": 2, "groups": 8, "nsample": 4, "drop_path": 0.6,
    },
}  # fmt: skip


def losses(root: Path, encoder: str, dtype: torch.dtype, steps: int) -> list[float | None]:
    """Those of a run's first steps on the ranks that there are."""
    batches = {"kind": "neighbours", "group": 3, "candidates": 5, "every": 3}
    job = synthetic.job(
        root, f"{encoder}-{dtype}", "avg", steps=STEPS, batches=batches, accumulate=2, batch_size=9,
        encoder=ENCODERS[encoder], optim={"lr": 1e-3, "warmup": 0.1, "eps": 1e-3},
    )  # fmt: skip
    run = loop.TrainingRun(job)
    run.encoder.to(dtype)
    run.log_scale.data = run.log_scale.data.to(dtype)
    run.optimizer = Adam(run.parameters, job.train.optim)
    stored = run.weights

    def weights(similarity: Sequence[NDArray[np.float32]], *batch: Any) -> HNWeights | None:
        exact = np.dtype(np.float64 if dtype == torch.float64 else np.float32)
        return stored([sim.astype(exact) for sim in similarity], *batch)

    with run.feed, mock.patch.object(run, "weights", weights):
        for step in range(steps):
            if run.hard_negatives.due(step):
                run.hard_negatives.search(run.encoder, step)
                run.feed.drop()
            run.step()
    return run.history["loss"]


def _rank(rank: int, ports: dict[int, int], folder: str) -> None:
    torch.set_num_threads(1)
    for world, port in ports.items():
        if rank < world:
            os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
            distributed.start("gloo", LIMIT)
            found = {name: losses(Path(folder), name, torch.float64, STEPS) for name in ENCODERS}
            found["single"] = losses(Path(folder), "pointnext-s", torch.float32, 1)
            torch.save(found, Path(folder) / f"{world}-{rank}.pt")
            distributed.stop()


def test_ranks_move_only_sums(tmp_path: Path) -> None:
    synthetic.write(tmp_path, train=27)
    ports = {}
    for world in WORLDS:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports[world] = free.getsockname()[1]
    mp.set_forkserver_preload([__name__, "torch._dynamo"])  # imported once, for all ranks
    mp.start_processes(_rank, (ports, str(tmp_path)), nprocs=max(WORLDS), start_method="forkserver")
    expected = torch.load(tmp_path / "1-0.pt")
    assert len(set(expected["pointnext-s"])) == len(set(expected["pointbert"])) == STEPS
    for world in WORLDS[1:]:
        for rank in range(world):
            found = torch.load(tmp_path / f"{world}-{rank}.pt")
            for encoder in ENCODERS:
                assert found[encoder] == pytest.approx(expected[encoder], rel=1e-10, abs=0)
            assert found["single"] == pytest.approx(expected["single"], rel=1e-5, abs=0)
