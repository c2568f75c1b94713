"""The contrastive loss with weights, and its gradients, compared with open_clip's without: time, memory, exactness.

python -m benchmarks.training.loss MEMORY_OF     prints the peak memory of one candidate in bytes, without its input
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import torch
from open_clip.loss import ClipLoss
from torch import Tensor
from torch.nn import functional

from benchmarks.measure import Timing, alternately, most_beside, table
from captionless.trainer.losses.hn_weights import HNWeights
from captionless.trainer.losses.pair_weights import PairWeights
from captionless.trainer.losses.tiled import KEPT, contrastive_share

N, WIDTH = 8192, 512
THREADS = 2
SCALES = (1 / 0.07, 100.0)

PEER = "open_clip ClipLoss, no weights"
DENSE = "HN as logsumexp(logits + log w)"
Inputs = tuple[Tensor, Tensor, Tensor]


def inputs(scale: float = SCALES[0], dtype: torch.dtype = torch.float32) -> Inputs:
    """Images, shapes so near them that losses are neither 0 nor those of chance, and 1/tau."""
    g = torch.Generator().manual_seed(0)
    image = torch.randn(N, WIDTH, generator=g)
    shape = functional.normalize(image + 6 * torch.randn(N, WIDTH, generator=g), dim=1)
    found = (functional.normalize(image, dim=1), shape, torch.tensor(scale))
    return tuple(x.to(dtype).requires_grad_() for x in found)  # type: ignore[return-value]


def similarity(seed: int) -> Tensor:
    """(N, N) float32, symmetric, between 0.25 and 0.95."""
    half = torch.rand(N, N, generator=torch.Generator().manual_seed(seed)).mul_(0.35).add_(0.125)
    return half.add_(half.t().contiguous())


def ours(sims: list[Tensor], kept: int) -> Callable[[Inputs], Tensor]:
    """Eq. 5, computing the weights from the similarities each time."""

    def run(given: Inputs) -> Tensor:
        weights: PairWeights | None = HNWeights(sims) if sims else None
        return contrastive_share(*given, weights, [N], kept)

    return run


def dense(sim: Tensor) -> Callable[[Inputs], Tensor]:
    """The same loss as one writes it first."""

    def run(given: Inputs) -> Tensor:
        image, shape, scale = given
        log_sim = sim.log().fill_diagonal_(-torch.inf)
        log_w = (log_sim - log_sim.logsumexp(1, keepdim=True)).add_(torch.tensor(N - 1.0).log()).fill_diagonal_(0)
        logits = scale * image @ shape.t()
        rows = (logits + log_w).logsumexp(1) - logits.diagonal()
        columns = (logits.t() + log_w).logsumexp(1) - logits.diagonal()
        return (rows.mean() + columns.mean()) / 2

    return run


def candidates(sims: list[Tensor]) -> dict[str, Callable[[Inputs], Tensor]]:
    peer = ClipLoss()
    return {
        PEER: lambda given: peer(*given),
        DENSE: dense(sims[0]),
        "captionless, no weights": ours([], KEPT),
        "captionless HN": ours(sims[:1], KEPT),
        "captionless AVG": ours(sims, KEPT),
        "captionless HN, a quarter of the logits kept": ours(sims[:1], KEPT // 3),
        "captionless AVG, a quarter of the logits kept": ours(sims, KEPT // 3),
        "captionless HN, no logits kept": ours(sims[:1], 0),
        "captionless AVG, no logits kept": ours(sims, 0),
    }


def step(function: Callable[[Inputs], Tensor], given: Inputs) -> list[Tensor]:
    """Gradients of all three inputs."""
    return list(torch.autograd.grad(function(given), given))


def errors(sims: list[Tensor], scale: float) -> dict[str, float]:
    """Of the HN candidates the largest relative norm of a gradient's error against float64."""
    exact = step(dense(sims[0].double()), tuple(x.detach().double().requires_grad_() for x in inputs(scale)))  # type: ignore[arg-type]
    found = {}
    for name, function in candidates(sims).items():
        if " HN" in name or name == DENSE:
            got = step(function, inputs(scale))
            found[name] = max(float((g.double() - e).norm() / e.norm()) for g, e in zip(got, exact, strict=True))
    return found


def memory(name: str) -> int:
    """Bytes beside inputs and similarities."""
    given, sims = inputs(), [similarity(1), similarity(2)]
    function = candidates(sims)[name]
    step(function, given)  # libraries are loaded
    return most_beside(lambda: step(function, given))


def loss_table(rounds: int) -> str:
    """Time, memory and error of all candidates."""
    torch.set_num_threads(THREADS)
    given, sims = inputs(), [similarity(1), similarity(2)]
    runs = {name: (lambda f=function: step(f, given)) for name, function in candidates(sims).items()}
    times: dict[str, Timing] = alternately(runs, rounds, "loss")
    wrong = [errors(sims, scale) for scale in SCALES]
    used = {}
    for name in runs:
        command = [sys.executable, "-m", __name__, name]
        used[name] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    rows = [
        [
            f"**{name}**" if name.startswith("captionless") else name,
            timing,
            f"{times[PEER].median / timing.median:.2f}",
            f"{used[name] / 2**20:,.0f} MiB",
            f"{used[name] / used[PEER]:.2f}",
            *(f"{of[name]:.0e}" if name in of else "" for of in wrong),
        ]
        for name, timing in times.items()
    ]
    headings = ["", "time (range)", "times as fast", "memory", "of the peer's", *(f"error at {s:.3g}" for s in SCALES)]
    return (
        f"Loss and gradients of {N:,} pairs of width {WIDTH}, float32, {THREADS} threads; medians of {rounds} "
        "alternating rounds. Weights are computed from the similarities each time; the similarities, "
        f"{4 * N * N >> 20} MiB per metric, are not included in the memory. Errors are relative norms of the worst "
        "gradient against float64, at 1/tau.\n\n" + table(headings, rows)
    )


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    print(memory(sys.argv[1]))
