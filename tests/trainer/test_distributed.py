"""Two and four gloo ranks against one process, in float64: the loss, its gradients, and all parameters' gradients."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn import functional

from captionless.trainer import distributed, encoders
from captionless.trainer.blocked import blocked_share
from captionless.trainer.pair_weights import SimilarityWeights

N, D = 9, 6  # cut unevenly over 2 and over 4 ranks
IDS = ["a", *"abcdefgh"]
SCALES = (1 / 0.07, 100.0)  # one exponential for both directions, and one each


def problem() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    image, shape = functional.normalize(torch.randn(2, N, D, generator=g, dtype=torch.float64), dim=-1)
    sim = torch.rand(N, N, generator=g, dtype=torch.float64) + 0.1
    points = torch.randn(N, 48, 3, generator=g, dtype=torch.float64)
    return image, shape, (sim + sim.t()) / 2, points


def encoder() -> encoders.Encoder:
    torch.manual_seed(1)
    options = {"width": 4, "nsample": 6, "radius": 0.6, "embed_dim": D, "dropout": 0.0, "head": (16, 8)}
    return encoders.build("pointnext-s", **options).double()


def share_at(scale: float, own: slice, sizes: list[int]) -> dict[str, torch.Tensor]:
    """A rank's loss (AVG, an object twice) and gradients."""
    images, shapes, sim, _ = problem()
    image, shape = images[own].clone().requires_grad_(), shapes[own].clone().requires_grad_()
    inverse = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
    weights = SimilarityWeights([sim[own].clone(), sim[own].square()], IDS, sizes=sizes)
    value = blocked_share(image, shape, inverse, weights, sizes)
    value.backward()
    total = distributed.all_reduce_sum(value.detach())
    return {"loss": total, "image": image.grad, "shape": shape.grad, "scale": distributed.all_reduce_sum(inverse.grad)}


def compute() -> dict[str, Any]:
    """What this rank holds of the losses and gradients; on one process the whole."""
    images, _, sim, points = problem()
    sizes = distributed.shares(N, distributed.world_size())
    first = sum(sizes[: distributed.rank()])
    own = slice(first, first + sizes[distributed.rank()])
    model = encoder()
    log_scale = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    embedded = functional.normalize(model(points[own]), dim=-1)
    weights = SimilarityWeights([sim[own].clone()], IDS, sizes=sizes)
    whole = blocked_share(images[own], embedded, log_scale.exp(), weights, sizes)
    whole.backward()
    parameters = [*model.parameters(), log_scale]
    distributed.all_reduce_gradients(parameters)
    return {
        "shares": [share_at(scale, own, sizes) for scale in SCALES],
        "encoder loss": distributed.all_reduce_sum(whole.detach()),
        "gradients": [p.grad for p in parameters],
        "buffers": list(model.buffers()),
        "any": distributed.any_rank(distributed.rank() == 1, False),
    }


def _rank(rank: int, ports: dict[int, int], folder: str) -> None:
    torch.set_num_threads(1)
    for world, port in ports.items():
        if rank < world:
            os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
            dist.init_process_group("gloo", rank=rank, world_size=world)
            torch.save(compute(), Path(folder) / f"{world}-{rank}.pt")
            dist.destroy_process_group()


def close(got: torch.Tensor, expected: torch.Tensor) -> None:
    assert (got - expected).norm() <= 1e-9 * expected.norm().clamp_min(1e-9)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, Any]]]:
    """What each rank of worlds of 2 and of 4 computed."""
    folder = tmp_path_factory.mktemp("ranks")
    ports = {}
    for world in (2, 4):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports[world] = free.getsockname()[1]
    mp.spawn(_rank, (ports, str(folder)), nprocs=4)
    return {world: [torch.load(folder / f"{world}-{rank}.pt") for rank in range(world)] for world in ports}


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_together_compute_what_one_process_computes(world: int, ranks: dict[int, list[dict[str, Any]]]) -> None:
    expected = compute()
    for at, whole in enumerate(expected["shares"]):
        for name in ("image", "shape"):
            close(torch.cat([r["shares"][at][name] for r in ranks[world]]), whole[name])
        for r in ranks[world]:
            for name in ("loss", "scale"):
                close(r["shares"][at][name], whole[name])
    for r in ranks[world]:
        close(r["encoder loss"], expected["encoder loss"])
        for got, one in zip(r["gradients"] + r["buffers"], expected["gradients"] + expected["buffers"], strict=True):
            close(got.double(), one.double())
        assert r["any"] == (True, False)


def test_shares() -> None:
    assert distributed.shares(9, 4) == [3, 2, 2, 2]
    assert distributed.shares(2, 3) == [1, 1, 0]
