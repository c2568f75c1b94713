"""Training on a GPU: operators, the step by precision, the loss of a large batch, the loop and how busy the device is.

`python -m benchmarks.training.gpu` writes gpu.md; `--device cpu --small` tries it without a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
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

from benchmarks.measure import Section, Timing, table, write_page
from benchmarks.training.openpoints import OpenPoints
from captionless.trainer import encoders, loop
from captionless.trainer.encoders.pointnext import PointNext
from captionless.trainer.grad_cache import PRECISIONS, accumulate_gradients
from captionless.trainer.losses.hn_weights import HNWeights
from captionless.trainer.losses.tiled import contrastive_share
from captionless.trainer.ops import point_sets, torch_ops
from captionless.trainer.training_job import TrainingJob
from tests.trainer import synthetic

_WARM = 2  # steps before the clock of the loop is looked at
_SAMPLES = 5  # a second, of how busy the device is


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.gpu", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="SECTION", help="these sections only, printed and not written")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--small", action="store_true", help="sizes that a CPU does in a minute")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    device, small, rounds = torch.device(arguments.device), arguments.small, arguments.rounds
    torch.backends.cuda.matmul.allow_tf32 = False
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    batch, points = (4, 256) if small else (64, 2048)
    sections: dict[str, Section] = {
        "operators": (
            f"Operators, {name}, torch {torch.__version__}",
            lambda: operators(device, batch, points, rounds),
        ),
        "step": ("Training step", lambda: steps(device, batch, points, rounds)),
        "loss": ("Loss", lambda: losses(device, 512 if small else 32_768, rounds)),
        "loop": ("The loop", lambda: whole_loop(device, 5 if small else 120, small)),
    }
    only = list(sections) if small else []
    write_page(
        Path(__file__).with_name("gpu.md"), "python -m benchmarks.training.gpu", sections, arguments.only or only
    )


def operators(device: torch.device, batch: int, points: int, rounds: int) -> str:
    """Ours as they are chosen for the device, in plain torch, and those of the package pointnext where it is."""
    xyz = torch.rand(batch, points, 3, generator=torch.Generator().manual_seed(0)).to(device)
    m, radius, nsample = points // 2, 0.15, 32
    sample = point_sets.farthest_point_sample(xyz, m)
    centers = xyz.gather(1, sample.unsqueeze(-1).expand(-1, -1, 3)).contiguous()
    candidates: dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]] = {
        "**captionless**": (
            lambda: point_sets.farthest_point_sample(xyz, m),
            lambda: point_sets.ball_query(xyz, centers, radius, nsample),
        ),
        "plain torch": (
            lambda: torch_ops.farthest_point_sample(xyz, m),
            lambda: torch_ops.ball_query(xyz, centers, radius, nsample),
        ),
    }
    if device.type == "cuda" and importlib.util.find_spec("pointnext"):
        theirs = importlib.import_module("pointnext.ops")
        candidates["the package pointnext"] = (
            lambda: theirs.furthest_point_sample(xyz, m),
            lambda: theirs.ball_query(xyz, centers, radius, nsample),
        )
    rows = []
    for name, (farthest, ball) in candidates.items():
        same = float((farthest() == sample).float().mean())
        rows.append([name, seconds(device, farthest, rounds), f"{same:.1%}", seconds(device, ball, rounds)])
    heading = f"Operators on {batch} clouds of {points} points: {m} samples, and {nsample} within {radius} of each.\n\n"
    return heading + table(["", "farthest points (range)", "as ours", "ball query (range)"], rows)


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
    keys = torch.arange(batch, device=device)
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
                accumulate_gradients(encoder, clouds, [batch], lambda shape: -(shape * target).sum(), keys, precision)

            timing = seconds(device, run, rounds)
            rate = f"{batch / timing.median:,.0f}"
            rows.append([f"**captionless** {name}{', compiled' if compiled else ''}", timing, rate, most(device, run)])
    peer = OpenPoints(PointNext()).to(device)
    for name in ("float32", "bfloat16") if device.type == "cuda" else ("float32",):

        def theirs(precision: torch.dtype = PRECISIONS[name]) -> None:
            with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
                out = peer(clouds)
            (functional.normalize(out.float(), dim=-1) * target).sum().backward()

        timing = seconds(device, theirs, rounds)
        rate = f"{batch / timing.median:,.0f}"
        rows.append([f"Conv2d on gathered NCHW tensors, {name}", timing, rate, most(device, theirs)])
    heading = (
        f"Forward and backward of PointNeXt-S, {batch} clouds of {points} points; the peer is openpoints' layout, with "
        "our operators.\n\n"
    )
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
        return contrastive_share(*given, HNWeights([sim]), [n])  # type: ignore[call-arg]

    rows = []
    for name, function in (("open_clip ClipLoss, no weights", lambda: peer(*given)), ("**captionless HN**", ours)):

        def run(function: Callable[[], Tensor] = function) -> None:
            torch.autograd.grad(function(), given)

        rows.append([name, seconds(device, run, rounds), most(device, run)])
    return f"Loss and gradients of {n:,} pairs of width 512.\n\n" + table(["", "time (range)", "memory"], rows)


def whole_loop(device: torch.device, count: int, small: bool) -> str:
    """Steps a second of the training loop in each precision, data and checkpoints included."""
    rows = []
    kinds = [("float32", False)] + ([] if device.type == "cpu" else [("bfloat16", False), ("bfloat16", True)])
    with tempfile.TemporaryDirectory() as folder:
        synthetic.write(Path(folder), train=64 if small else 2048, points=256 if small else 4096)
        sizes = {"batch_size": 8 if small else 256, "points": 128 if small else 2048}
        for precision, compiled in kinds:
            name = f"{precision}{', compiled' if compiled else ''}"
            settings = {"steps": count, "checkpoint_every": 100, "encoder": {}, "precision": precision, **sizes}
            job = synthetic.job(Path(folder), name, compile=compiled, **settings)
            job = job.model_copy(update={"device": device.type, "threads": torch.get_num_threads()})
            busy, ended = _busy_and_times(device, job)
            took = ended[-1] - ended[_WARM]
            rate = (len(ended) - 1 - _WARM) / took
            busy = busy[-max(1, int(took * _SAMPLES)) :]
            of = f"{statistics.mean(busy):.0f} %" if busy else "-"
            what = f"{name}, {sizes['batch_size']} clouds of {sizes['points']}"
            rows.append([what, f"{rate:.2f}", f"{rate * sizes['batch_size']:,.0f}", of])
    heading = f"The loop, {count} steps including reading and checkpoints, without the first {_WARM + 1} of each.\n\n"
    return heading + table(["batch", "steps/s", "clouds/s", "device busy"], rows)


def _busy_and_times(device: torch.device, job: TrainingJob) -> tuple[list[float], list[float]]:
    """How busy the device is while a job trains, in percent, `_SAMPLES` times a second; when each step had ended."""
    busy: list[float] = []
    ended: list[float] = []

    def stop() -> bool:
        ended.append(time.perf_counter())
        return False

    with _utilisation(busy) if device.type == "cuda" else contextlib.nullcontext():
        loop.train(job, stop)
    return busy, ended


@contextlib.contextmanager
def _utilisation(found: list[float]) -> Iterator[None]:
    """Samples of how busy the device is, in percent, as the driver's own program tells."""
    every = ["-lms", str(1000 // _SAMPLES)]
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", *every]
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        watch.terminate()
        found += [float(line) for line in (watch.communicate()[0] or "").split()]


if __name__ == "__main__":
    main()
