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

from captionless.trainer import distributed, encoders, loss

N, D = 9, 6  # cut unevenly over 2 and over 4 ranks


def problem() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    image, shape = functional.normalize(torch.randn(2, N, D, generator=g, dtype=torch.float64), dim=-1)
    sim = torch.rand(N, N, generator=g, dtype=torch.float64) + 0.1
    points = torch.randn(N, 48, 3, generator=g, dtype=torch.float64)
    return image, shape, loss.log_weights((sim + sim.t()) / 2, ["a", *"abcdefgh"]), points


def encoder() -> encoders.Encoder:
    torch.manual_seed(1)
    options = {"width": 4, "nsample": 6, "radius": 0.6, "embed_dim": D, "dropout": 0.0, "head": (16, 8)}
    return encoders.build("pointnext-s", **options).double()


def compute() -> dict[str, Any]:
    """What this rank holds of the losses and gradients; on one process the whole."""
    image, shape, log_w, points = problem()
    sizes = distributed.shares(N, distributed.world_size())
    first = sum(sizes[: distributed.rank()])
    own = slice(first, first + sizes[distributed.rank()])
    image, shape = image[own].clone().requires_grad_(), shape[own].clone().requires_grad_()
    scale = torch.tensor(1 / 0.07, dtype=torch.float64, requires_grad=True)
    value = loss.gathered_contrastive_share(image, shape, scale, log_w[own], sizes)
    value.backward()
    model = encoder()
    log_scale = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    embedded = functional.normalize(model(points[own]), dim=-1)
    whole = loss.gathered_contrastive_share(image.detach(), embedded, log_scale.exp(), log_w[own], sizes)
    whole.backward()
    parameters = [*model.parameters(), log_scale]
    distributed.all_reduce_gradients(parameters)
    return {
        "loss": distributed.all_reduce_sum(value.detach()),
        "image": image.grad,
        "shape": shape.grad,
        "scale": distributed.all_reduce_sum(scale.grad),
        "encoder loss": distributed.all_reduce_sum(whole.detach()),
        "gradients": [p.grad for p in parameters],
        "buffers": list(model.buffers()),
        "any": (distributed.any_rank(distributed.rank() == 1), distributed.any_rank(False)),
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
    for name in ("image", "shape"):
        close(torch.cat([r[name] for r in ranks[world]]), expected[name])
    for r in ranks[world]:
        for name in ("loss", "scale", "encoder loss"):
            close(r[name], expected[name])
        for got, whole in zip(r["gradients"] + r["buffers"], expected["gradients"] + expected["buffers"], strict=True):
            close(got.double(), whole.double())
        assert r["any"] == (True, False)


def test_one_process_share_is_the_loss() -> None:
    image, shape, log_w, _ = problem()
    scale = torch.tensor(5.0, dtype=torch.float64)
    assert torch.equal(
        loss.gathered_contrastive_share(image, shape, scale, log_w, [N]),
        loss.contrastive_loss(image, shape, scale, log_w),
    )


def test_shares() -> None:
    assert distributed.shares(9, 4) == [3, 2, 2, 2]
    assert distributed.shares(2, 3) == [1, 1, 0]
