"""Training on a GPU: the step by precision, the loss of a large batch, the loop and how busy it keeps the device.

`python -m benchmarks.training.gpu` prints Markdown; `--device cpu --small` is to try the program where there is none.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from open_clip.loss import ClipLoss
from torch import Tensor
from torch.nn import functional

from benchmarks.measure import Timing, table
from captionless.trainer import encoders, loop
from captionless.trainer.blocked import blocked_share
from captionless.trainer.pair_weights import SimilarityWeights
from captionless.trainer.step import PRECISIONS, backward
from tests.trainer import synthetic


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--small", action="store_true", help="sizes that a CPU does in a minute")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    device, small = torch.device(arguments.device), arguments.small
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"Measured on {name}, torch {torch.__version__}.\n", flush=True)
    print(steps(device, *((4, 256) if small else (64, 2048)), arguments.rounds), flush=True)
    print(losses(device, 512 if small else 32_768, arguments.rounds), flush=True)
    print(whole_loop(device, 5 if small else 300, small), flush=True)


def seconds(device: torch.device, run: Callable[[], object], rounds: int) -> Timing:
    """Of every round after one to warm up, the device's work included."""
    found = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return Timing(found[1:])


def most(device: torch.device, run: Callable[[], object]) -> str:
    """Memory of the device that is used beside what it holds now; a CPU's is not told apart."""
    if device.type == "cpu":
        return "-"
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    return f"{(torch.cuda.max_memory_allocated() - before) / 2**20:,.0f} MiB"


def steps(device: torch.device, batch: int, points: int, rounds: int) -> str:
    """Forward and backward of PointNeXt-S, by precision and, on a GPU, compiled."""
    clouds = torch.rand(batch, points, 3, generator=torch.Generator().manual_seed(0)).to(device)
    target = functional.normalize(torch.randn(batch, 512), dim=-1).to(device)
    rows = []
    for name, precision in PRECISIONS.items():
        for compiled in (False, True):
            if device.type == "cpu" and (compiled or name != "float32"):
                continue
            torch.manual_seed(0)
            encoder = encoders.build("pointnext-s").to(device)
            if compiled:
                encoder.compile()

            def run(encoder: encoders.Encoder = encoder, precision: torch.dtype = precision) -> None:
                backward(encoder, clouds, [batch], lambda shape: -(shape * target).sum(), [0], precision)

            timing = seconds(device, run, rounds)
            rate = f"{batch / timing.median:,.0f}"
            rows.append([f"{name}{', compiled' if compiled else ''}", timing, rate, most(device, run)])
    heading = f"Forward and backward of PointNeXt-S, {batch} clouds of {points} points.\n\n"
    return heading + table(["", "time (range)", "clouds/s", "memory"], rows)


def losses(device: torch.device, n: int, rounds: int) -> str:
    """Loss and gradients with weights, beside open_clip's without."""
    g = torch.Generator().manual_seed(0)
    image = functional.normalize(torch.randn(n, 512, generator=g), dim=1)
    shape = functional.normalize(image + torch.randn(n, 512, generator=g) / 4, dim=1)
    given = [x.to(device).requires_grad_() for x in (image, shape, torch.tensor(1 / 0.07))]
    half = torch.rand(n, n, generator=g).mul_(0.35).add_(0.125)
    sim = half.add_(half.t().clone()).to(device)
    peer = ClipLoss()

    def ours() -> Tensor:
        return blocked_share(*given, SimilarityWeights([sim]), [n])  # type: ignore[call-arg]

    rows = []
    for name, function in (("open_clip ClipLoss, no weights", lambda: peer(*given)), ("**captionless HN**", ours)):

        def run(function: Callable[[], Tensor] = function) -> None:
            torch.autograd.grad(function(), given)

        rows.append([name, seconds(device, run, rounds), most(device, run)])
    return f"Loss and gradients of {n:,} pairs of width 512.\n\n" + table(["", "time (range)", "memory"], rows)


def whole_loop(device: torch.device, count: int, small: bool) -> str:
    """Steps a second of the training loop, data and checkpoints included."""
    with tempfile.TemporaryDirectory() as folder:
        synthetic.write(Path(folder), train=64 if small else 2048, points=256 if small else 4096)
        sizes = {"batch_size": 8 if small else 256, "points": 128 if small else 2048}
        job = synthetic.job(Path(folder), steps=count, checkpoint_every=100, encoder={}, **sizes)
        job = job.model_copy(update={"device": device.type, "threads": torch.get_num_threads()})
        busy: list[float] = []
        with _utilisation(busy) if device.type == "cuda" else contextlib.nullcontext():
            began = time.perf_counter()
            loop.train(job)
            took = time.perf_counter() - began
    of = f"{statistics.mean(busy):.0f} %" if busy else "-"
    rows = [[f"{sizes['batch_size']} clouds of {sizes['points']}", f"{count / took:.2f}", of]]
    return f"The loop, {count} steps, its start included.\n\n" + table(["batch", "steps/s", "device busy"], rows)


@contextlib.contextmanager
def _utilisation(found: list[float]) -> Iterator[None]:
    """Samples of how busy the device is, in percent, as the driver's own program tells five times a second."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        watch.terminate()
        found += [float(line) for line in (watch.communicate()[0] or "").split()]


if __name__ == "__main__":
    main()
