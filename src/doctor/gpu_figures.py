"""Measurements of one device, and of its connection to others: what a training step is made of.

Each takes a torch device, a GPU or the CPU, and is short: seconds on a GPU. Rates are of the best of a few repetitions,
since what disturbs one only makes it slower; a step's time is their median.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist

_GPU_MATRIX, _GPU_BYTES = 8192, 256 << 20
_STEP_CLOUDS, _STEP_POINTS = 64, 2048
_CLOCK_FIELDS = "clocks.sm,clocks.max.sm,temperature.gpu,power.draw,power.limit"


@dataclass(frozen=True)
class Clocks:
    """Of a GPU at work, in MHz, degrees Celsius and watts."""

    now: float
    most: float
    temperature: float
    power: float
    limit: float


@dataclass(frozen=True)
class Figures:
    """Of one device of a node. matmul: TFLOP/s of bfloat16 products (float32 on a CPU). memory: GB/s of a copy within
    it. alone: seconds of a training step while the others rest, None where that was not measured; step: while all
    work. unreached: the devices that it cannot copy to directly. reduce: GB/s of an all-reduce, as each rank sends and
    receives them; None without others. clocks: None where nvidia-smi does not say."""

    name: str
    matmul: float
    memory: float
    alone: float | None
    step: float
    unreached: list[int]
    reduce: float | None
    clocks: Clocks | None


def matmul_rate(device: torch.device, size: int = _GPU_MATRIX) -> float:
    """TFLOP/s of products of matrices (size, size)."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / min(timed(device, lambda: a @ b)) / 1e12


def memory_rate(device: torch.device, size: int = _GPU_BYTES) -> float:
    """GB/s, read and written, of copying so many bytes within the device's memory."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / min(timed(device, lambda: target.copy_(source))) / 1e9


def step_seconds(device: torch.device, clouds: int = _STEP_CLOUDS, points: int = _STEP_POINTS) -> float:
    """The median of a step: PointNeXt-S forward, backward and Adam, on so many clouds of so many points."""
    from captionless.spec.train import OptimSpec
    from captionless.trainer import encoders
    from captionless.trainer.optim import Adam

    torch.manual_seed(0)
    encoder = encoders.build("pointnext-s").to(device).train()
    optimizer = Adam(encoder.parameters(), OptimSpec())
    batch = torch.randn(clouds, points, 3, device=device).clamp(-1, 1)

    def step() -> None:
        optimizer.zero_grad()
        encoder(batch).square().mean().backward()
        optimizer.step(1e-4)

    return statistics.median(timed(device, step))


def reduce_rate(device: torch.device, size: int = _GPU_BYTES) -> float | None:
    """GB/s that each rank of the process group sends and receives in an all-reduce of so many bytes; a ring moves
    2 (n - 1) / n of them. None for one rank."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return None
    numbers = torch.ones(size // 4, device=device)
    moved = 2 * (dist.get_world_size() - 1) / dist.get_world_size() * size
    return float(moved / min(timed(device, lambda: dist.all_reduce(numbers))) / 1e9)


def unreached(device: torch.device) -> list[int]:
    """The GPUs of the node that this one cannot copy to directly."""
    if device.type != "cuda":
        return []
    others = [i for i in range(torch.cuda.device_count()) if i != device.index]
    return [i for i in others if not torch.cuda.can_device_access_peer(device, i)]


def clocks(device: torch.device) -> Clocks | None:
    """Of a GPU while it multiplies; None on a CPU, or where nvidia-smi does not say."""
    program = shutil.which("nvidia-smi")
    if device.type != "cuda" or program is None:
        return None
    a = torch.randn(_GPU_MATRIX, _GPU_MATRIX, device=device, dtype=torch.bfloat16)
    for _ in range(2000):  # a second or more, while the question is asked
        torch.mm(a, a)
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    asked = [program, f"--id=GPU-{uuid}", f"--query-gpu={_CLOCK_FIELDS}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout
        return parsed_clocks(answer)
    except (OSError, subprocess.SubprocessError):
        return None
    finally:
        torch.cuda.synchronize(device)


def parsed_clocks(answer: str) -> Clocks | None:
    """What nvidia-smi says, as one line of numbers; None if one is not known."""
    try:
        now, most, temperature, power, limit = (float(part) for part in answer.strip().split(","))
    except ValueError:
        return None
    return Clocks(now, most, temperature, power, limit)


def timed(device: torch.device, work: Callable[[], object], repetitions: int = 5) -> list[float]:
    """The seconds of some repetitions of `work`, after two that are not counted."""
    found = []
    for _ in range(2 + repetitions):
        synchronise(device)
        began = time.perf_counter()
        work()
        synchronise(device)
        found.append(time.perf_counter() - began)
    return found[2:]


def synchronise(device: torch.device) -> None:
    """Wait for what has been asked of a device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
