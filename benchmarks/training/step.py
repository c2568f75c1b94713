"""A training step of PointNeXt-S, forward and backward, and its operators, compared with straightforward ones.

python -m benchmarks.training.step ours|theirs     prints a step's peak memory in bytes, without model and clouds
"""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.measure import alternately, most_beside, table
from benchmarks.training.openpoints import OpenPoints
from captionless.trainer import encoders
from captionless.trainer.encoders.openpoints import to_openpoints
from captionless.trainer.encoders.pointnext import PointNext
from captionless.trainer.ops import point_sets

BATCH, POINTS, THREADS = 32, 1024, 2
ENCODED = 4  # clouds of a step of every encoder: the largest has 30 times PointNeXt-S's parameters


def clouds(dtype: torch.dtype = torch.float32) -> Tensor:
    """(B, N, 3) points of spheres of several proportions, in no order."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, POINTS, 3, generator=g, dtype=torch.float64)
    x = x / x.norm(dim=-1, keepdim=True) * (0.3 + 0.7 * torch.rand(BATCH, 1, 3, generator=g, dtype=torch.float64))
    return (x / x.norm(dim=-1).amax(1)[:, None, None]).to(dtype)


def model() -> PointNext:
    """Of the size that is trained; without dropout, so that both can be compared."""
    torch.manual_seed(0)
    return PointNext(dropout=0.0)


def step(network: nn.Module, points: Tensor) -> list[Tensor]:
    """The output and every parameter's gradient, in the order of openpoints' names."""
    network.zero_grad()
    out = network(points)
    (out * torch.linspace(-1, 1, out.shape[1], dtype=out.dtype)).sum().backward()
    return [out.detach(), *(p.grad for _, p in sorted(network.named_parameters()) if p.grad is not None)]


def exactness() -> list[list[object]]:
    """Ours against theirs in float64: the output, and the worst gradient, by relative norm."""
    exact = model().double()
    theirs = gradients(OpenPoints(copy.deepcopy(exact)), clouds(torch.float64), by_name=False)
    rows: list[list[object]] = []
    for name, dtype in (("float64", torch.float64), ("float32", torch.float32)):
        got = gradients(copy.deepcopy(exact).to(dtype), clouds(torch.float64).to(dtype), by_name=True)
        least = 1e-6 * max(float(v.norm()) for v in theirs.values())  # of gradients that are 0 but for rounding
        errors = {k: float((got[k].double() - v).norm() / v.norm().clamp_min(least)) for k, v in theirs.items()}
        out = errors.pop("")
        rows.append([name, f"{out:.1e}", f"{max(errors.values()):.1e}"])
    return rows


def gradients(network: nn.Module, points: Tensor, by_name: bool) -> dict[str, Tensor]:
    """The output as "", and gradients by openpoints' names; of ours when `by_name` says that they must be mapped."""
    out = step(network, points)[0]
    found = {"": out}
    if not by_name:
        return found | {n: p.grad.flatten() for n, p in network.named_parameters() if p.grad is not None}
    mapped = copy.deepcopy(network)
    with torch.no_grad():
        for to, of in zip(mapped.parameters(), network.parameters(), strict=True):
            to.copy_(of.grad if of.grad is not None else torch.zeros_like(of))
    assert isinstance(mapped, PointNext)
    held = dict(OpenPoints(mapped).named_parameters())
    return found | {n: v.flatten() for n, v in to_openpoints(mapped).items() if n in held}


def plain_farthest(xyz: Tensor, m: int) -> Tensor:
    """Farthest point sampling as a loop of torch, the usual one of PointNet++ repositories."""
    batch, n, _ = xyz.shape
    chosen = torch.zeros(batch, m, dtype=torch.long)
    distance = torch.full((batch, n), 1e10)
    farthest = torch.zeros(batch, dtype=torch.long)
    row = torch.arange(batch)
    for i in range(m):
        chosen[:, i] = farthest
        center = xyz[row, farthest].view(batch, 1, 3)
        distance = torch.minimum(distance, ((xyz - center) ** 2).sum(-1))
        farthest = distance.argmax(-1)
    return chosen


def plain_ball(xyz: Tensor, centers: Tensor, radius: float, nsample: int) -> Tensor:
    """Ball query by all distances and topk of the indices within."""
    squares = ((centers[:, :, None] - xyz[:, None]) ** 2).sum(-1)
    index = torch.arange(xyz.shape[1]).expand_as(squares).masked_fill(squares >= radius**2, xyz.shape[1])
    index = index.topk(nsample, dim=-1, largest=False, sorted=True).values
    return torch.where(index == xyz.shape[1], index[..., :1], index)


def plain_nearest(xyz: Tensor, centers: Tensor, k: int) -> Tensor:
    """Nearest neighbours by all distances and topk."""
    return ((centers[:, :, None] - xyz[:, None]) ** 2).sum(-1).topk(k, dim=-1, largest=False).indices


def memory(which: str) -> int:
    """Peak bytes of a step, without the model, its gradients and the clouds."""
    network: nn.Module = model() if which == "ours" else OpenPoints(model())
    points = clouds()
    step(network, points)
    for p in network.parameters():
        p.grad = None
    return most_beside(lambda: network(points).sum().backward())


def step_table(rounds: int) -> str:
    """Time, memory and exactness of a step; time of the operators."""
    torch.set_num_threads(THREADS)
    ours, points = model(), clouds()
    theirs = OpenPoints(copy.deepcopy(ours))
    times = alternately({"ours": lambda: step(ours, points), "theirs": lambda: step(theirs, points)}, rounds, "step")
    used = {
        which: int(
            subprocess.run([sys.executable, "-m", __name__, which], check=True, capture_output=True, text=True).stdout
        )
        for which in times
    }
    names = {"ours": "**captionless PointNeXt-S**", "theirs": "Conv2d on gathered NCHW tensors, as openpoints"}
    rows = [
        [
            names[which],
            timing,
            f"{times['theirs'].median / timing.median:.2f}",
            f"{used[which] / 2**20:,.0f} MiB",
            f"1/{used['theirs'] / used[which]:.0f}" if which == "ours" else "1",
        ]
        for which, timing in times.items()
    ]
    sample = point_sets.farthest_point_sample(points, POINTS // 2)
    centers = points.gather(1, sample.unsqueeze(-1).expand(-1, -1, 3)).contiguous()
    operators: dict[str, dict[str, Callable[[], object]]] = {
        "farthest point sampling, 512 of 1024": {
            "ours": lambda: point_sets.farthest_point_sample(points, POINTS // 2),
            "a loop of torch": lambda: plain_farthest(points, POINTS // 2),
        },
        "ball query, radius 0.15, 32 of 1024": {
            "ours": lambda: point_sets.ball_query(points, centers, 0.15, 32),
            "distances and topk": lambda: plain_ball(points, centers, 0.15, 32),
        },
        "nearest 32 of 1024": {
            "ours": lambda: point_sets.k_nearest(points, centers, 32),
            "distances and topk": lambda: plain_nearest(points, centers, 32),
        },
    }
    assert torch.equal(plain_farthest(points, POINTS // 2), sample)
    of_operators = []
    for what, candidates in operators.items():
        found = alternately(candidates, rounds, what)
        own, peer = found.values()
        of_operators.append([what, own, list(found)[1], peer, f"{peer.median / own.median:.1f}"])
    return (
        f"Forward and backward of {BATCH} clouds of {POINTS} points, float32, {THREADS} threads; medians of {rounds} "
        "alternating rounds. Memory excludes the model and the clouds.\n\n"
        + table(["", "time (range)", "times as fast", "memory", "of it"], rows)
        + "\nRelative errors (norms) against theirs in float64: of the output, and of the worst tensor's gradient.\n\n"
        + table(["ours in", "output", "gradient"], exactness())
        + "\n"
        + table(["operator", "ours", "peer", "time", "times as fast"], of_operators)
    )


def encoders_table(rounds: int) -> str:
    """Time of a step of every encoder, in the size that it has by default."""
    torch.set_num_threads(THREADS)
    points, models = clouds()[:ENCODED], {}
    for name in encoders.names():
        torch.manual_seed(0)
        models[name] = encoders.build(name)
    times = alternately({name: partial(step, model, points) for name, model in models.items()}, rounds, "encoders")
    least = times["pointnext-s"].median
    rows = [
        [name, f"{sum(p.numel() for p in models[name].parameters()):,}", time, f"{time.median / least:.1f}"]
        for name, time in times.items()
    ]
    return (
        f"Forward and backward of {ENCODED} clouds of {POINTS} points, float32, {THREADS} threads; medians of {rounds} "
        "alternating rounds.\n\n" + table(["encoder", "parameters", "time (range)", "times as long"], rows)
    )


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    print(memory(sys.argv[1]))
