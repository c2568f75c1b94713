"""Two and four gloo ranks against one process, in float64: the loss, its gradients, and all parameters' gradients."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn import functional

from captionless.trainer import distributed, encoders
from captionless.trainer.data import batches
from captionless.trainer.grad_cache import accumulate_gradients
from captionless.trainer.losses.hcl import hcl_share
from captionless.trainer.losses.hn_weights import HNWeights
from captionless.trainer.losses.multi_positive import multi_positive_share
from captionless.trainer.losses.tiled import contrastive_share

N, D = 9, 6  # cut unevenly over 2 and over 4 ranks
IDS = ["a", *"abcdefgh"]
KEYS = torch.arange(N) * 0x1234567  # what is dropped of each cloud follows from its own
SCALES = (1 / 0.07, 100.0)  # one exponential for both directions, and one each


def problem() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    image, shape = functional.normalize(torch.randn(2, N, D, generator=g, dtype=torch.float64), dim=-1)
    sim = torch.rand(N, N, generator=g, dtype=torch.float64) + 0.1
    points = torch.randn(N, 48, 3, generator=g, dtype=torch.float64)
    return image, shape, (sim + sim.t()) / 2, points


ENCODERS: dict[str, dict[str, Any]] = {
    "pointnext-s": {"width": 4, "nsample": 6, "radius": 0.6, "dropout": 0.3, "head": (16, 8)},
    "pointbert": {"width": 8, "depth": 2, "heads": 2, "groups": 8, "nsample": 6, "drop_path": 0.6},
    "sparseconv": {"width": 2, "depth": 11, "voxel": 0.5, "dropout": 0.3},
}


def encoder(name: str) -> encoders.Encoder:
    torch.manual_seed(1)
    return encoders.build(name, embed_dim=D, **ENCODERS[name]).double()


def encoded(name: str, own: slice, sizes: list[int]) -> dict[str, Any]:
    """A rank's loss of what an encoder makes of its clouds, all parameters' gradients, and the running statistics."""
    images, _, sim, points = problem()
    model = encoder(name)
    log_scale = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    embedded = functional.normalize(model(points[own], KEYS[own]), dim=-1)
    weights = HNWeights([sim[own].clone()], IDS, sizes=sizes)
    whole = contrastive_share(images[own], embedded, log_scale.exp(), weights, sizes)
    whole.backward()
    parameters = [*model.parameters(), log_scale]
    distributed.all_reduce_gradients(parameters)
    loss = distributed.all_reduce_sum(whole.detach())
    return {"loss": loss, "gradients": [p.grad for p in parameters], "buffers": list(model.buffers())}


def share_at(scale: float, own: slice, sizes: list[int]) -> dict[str, torch.Tensor]:
    """A rank's loss (AVG, an object twice) and gradients."""
    images, shapes, sim, _ = problem()
    image, shape = images[own].clone().requires_grad_(), shapes[own].clone().requires_grad_()
    inverse = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
    weights = HNWeights([sim[own].clone(), sim[own].square()], IDS, sizes=sizes)
    value = contrastive_share(image, shape, inverse, weights, sizes)
    value.backward()
    total = distributed.all_reduce_sum(value.detach())
    return {"loss": total, "image": image.grad, "shape": shape.grad, "scale": distributed.all_reduce_sum(inverse.grad)}


def of_several_views(own: slice, sizes: list[int]) -> dict[str, torch.Tensor]:
    """A rank's loss of three views each as positives, an object twice, and gradients."""
    images, shapes, sim, _ = problem()
    views = torch.stack([images, images.roll(1, 1), images.flip(1)], 1)
    shape, scale = shapes[own].clone().requires_grad_(), torch.tensor(9.0, dtype=torch.float64, requires_grad=True)
    value = multi_positive_share(views[own], shape, scale, HNWeights([sim[own].clone()], IDS, sizes=sizes), sizes)
    value.backward()
    total = distributed.all_reduce_sum(value.detach())
    return {"loss": total, "shape": shape.grad, "scale": distributed.all_reduce_sum(scale.grad)}


def accumulated() -> list[torch.Tensor]:
    """The gradients and running statistics of a step of HCL in two micro-batches, whatever the number of ranks."""
    images, _, _, points = problem()
    cuts = batches.cut(N, 2, distributed.world_size())
    sizes = [sum(map(len, of_rank)) for of_rank in cuts]
    own, model = torch.from_numpy(np.concatenate(cuts[distributed.rank()])), encoder("pointnext-s")
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)

    def loss(shape: torch.Tensor) -> torch.Tensor:
        return hcl_share(images[own], shape, scale, 0.7, 0.05, None, sizes)

    pieces = [len(places) for places in cuts[distributed.rank()]]
    accumulate_gradients(model, points[own], pieces, loss, KEYS[own])
    parameters = [*model.parameters(), torch.nn.Parameter(scale.detach())]
    parameters[-1].grad = scale.grad
    distributed.all_reduce_gradients(parameters)
    return [*(p.grad for p in parameters if p.grad is not None), *model.buffers()]


def compute() -> dict[str, Any]:
    """What this rank holds of the losses and gradients; on one process the whole."""
    sizes = distributed.shares(N, distributed.world_size())
    first = sum(sizes[: distributed.rank()])
    own = slice(first, first + sizes[distributed.rank()])
    return {
        "shares": [share_at(scale, own, sizes) for scale in SCALES],
        "views": of_several_views(own, sizes),
        "encoders": {name: encoded(name, own, sizes) for name in ENCODERS},
        "accumulated": accumulated(),
        "blocks": distributed.by_blocks(lambda at: at[:, None] ** 2, 7, 2)[:, 0].tolist(),
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
    mp.set_forkserver_preload([__name__, "torch._dynamo"])  # imported once, for all ranks
    mp.start_processes(_rank, (ports, str(folder)), nprocs=4, start_method="forkserver")
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
    close(torch.cat([r["views"]["shape"] for r in ranks[world]]), expected["views"]["shape"])
    for r in ranks[world]:
        close(r["views"]["loss"], expected["views"]["loss"])
        close(r["views"]["scale"], expected["views"]["scale"])
        for name, one in expected["encoders"].items():
            own = r["encoders"][name]
            close(own["loss"], one["loss"])
            for got, of_one in zip(own["gradients"] + own["buffers"], one["gradients"] + one["buffers"], strict=True):
                close(got.double(), of_one.double())
        for got, of_one in zip(r["accumulated"], expected["accumulated"], strict=True):
            close(got.double(), of_one.double())
        assert r["blocks"] == [0, 1, 4, 9, 16, 25, 36]
        assert r["any"] == (True, False)


def test_shares() -> None:
    assert distributed.shares(9, 4) == [3, 2, 2, 2]
    assert distributed.shares(2, 3) == [1, 1, 0]
