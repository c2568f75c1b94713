"""What the figures of a node's GPUs mean for a training, a line each: what is slow, and the way out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from captionless.doctor.finding import Finding, Verdict
from captionless.doctor.gpu_figures import Figures

_APART = 1.1  # the slowest GPU of a node beside its median: all others wait for it in every step
_CLOCK = 0.85  # of the highest clock, under load
_LINK = 8.0  # GB/s of an all-reduce: less than PCIe 3.0 with 16 lanes gives
_SHARED = 256 << 20  # bytes of /dev/shm for each process, which NCCL exchanges through without peer access


def findings(figures: Sequence[Figures], shared: int | None, cores: int) -> Iterator[tuple[str, Finding]]:
    """In the order of the report. shared: bytes of /dev/shm, None without. cores: those that this process may use."""
    yield "step", _apart("a training step", [each.step for each in figures], "ms", 1000)
    yield "products", _apart("products", [1 / each.matmul for each in figures], "TFLOP/s", 1, inverse=True)
    yield "memory", _apart("copies within memory", [1 / each.memory for each in figures], "GB/s", 1, inverse=True)
    yield "clocks", _clocks(figures)
    if len(figures) > 1:
        yield "together", _together(figures, cores)
        yield "peers", _peers(figures)
        yield "reduce", _reduce(figures)
        yield "shm", _shm(shared, len(figures))


def shared_memory() -> int | None:
    """The size of /dev/shm in bytes; None if there is none."""
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return None
    return found.f_frsize * found.f_blocks


def _apart(what: str, seconds: Sequence[float], unit: str, factor: float, inverse: bool = False) -> Finding:
    """How evenly the GPUs do something that takes each so many seconds (or, `inverse`, of so high rates)."""
    median = sorted(seconds)[len(seconds) // 2]
    slow = [i for i, value in enumerate(seconds) if value > _APART * median]

    def shown(value: float) -> str:
        return f"{(1 / value if inverse else value) * factor:.3g} {unit}"

    if slow:
        worst = max(slow, key=lambda i: seconds[i])
        return Finding(
            Verdict.warning,
            f"{what}: GPU {', '.join(map(str, slow))} is slower than the others: {shown(seconds[worst])} beside "
            f"{shown(median)}, and all wait for it",
            "look at its clocks, temperature and other processes in `nvidia-smi`, and exchange or exclude it "
            "(CUDA_VISIBLE_DEVICES)",
        )
    one = len(seconds) == 1
    return Finding(Verdict.ok, f"{what}: {shown(median)}{'' if one else f' on each of {len(seconds)} GPUs'}")


def _clocks(figures: Sequence[Figures]) -> Finding:
    known = {i: each.clocks for i, each in enumerate(figures) if each.clocks is not None}
    if not known:
        return Finding(Verdict.absent, "nvidia-smi does not tell clocks")
    low = {i: c for i, c in known.items() if c.now < _CLOCK * c.most}
    if low:
        i, c = min(low.items(), key=lambda item: item[1].now / item[1].most)
        at_limit = c.power > 0.95 * c.limit
        why = f"at its power limit of {c.limit:.0f} W" if at_limit else f"at {c.temperature:.0f} degrees"
        remedy = (
            "raise it (nvidia-smi -pl) if the node allows" if at_limit else "check cooling and `nvidia-smi -q -d CLOCK`"
        )
        return Finding(Verdict.warning, f"GPU {i} runs at {c.now:.0f} of {c.most:.0f} MHz, {why}", remedy)
    slowest = min(c.now for c in known.values())
    return Finding(Verdict.ok, f"{slowest:.0f} MHz or more under load")


def _together(figures: Sequence[Figures], cores: int) -> Finding:
    alone = figures[0].alone
    if alone is None:
        return Finding(Verdict.absent, "not measured")
    factor = figures[0].step / alone
    found = f"a step takes {factor:.2f} times as long while all {len(figures)} GPUs work"
    if factor <= _APART:
        return Finding(Verdict.ok, found)
    few = cores < 2 * len(figures)
    remedy = (
        f"{cores} cores for {len(figures)} GPUs are too few: a rank takes two or more"
        if few
        else "they share power, cooling or the bus: look at `nvidia-smi dmon` while it runs"
    )
    return Finding(Verdict.warning, found, remedy)


def _peers(figures: Sequence[Figures]) -> Finding:
    pairs = [(i, j) for i, each in enumerate(figures) for j in each.unreached]
    if not pairs:
        return Finding(Verdict.ok, "every GPU copies to every other directly")
    i, j = pairs[0]
    return Finding(
        Verdict.warning,
        f"{len(pairs)} pairs of GPUs cannot copy directly (P2P), {i} and {j} for one: gradients go through the host",
        "see `nvidia-smi topo -m`; disable ACS or the IOMMU, or pass all GPUs of a switch to one container",
    )


def _reduce(figures: Sequence[Figures]) -> Finding:
    rates = [each.reduce for each in figures if each.reduce is not None]
    if not rates:
        return Finding(Verdict.absent, "not measured")
    rate = min(rates)
    if rate < _LINK:
        return Finding(
            Verdict.warning,
            f"an all-reduce moves {rate:.3g} GB/s, less than PCIe 3.0 with 16 lanes",
            "run with NCCL_DEBUG=INFO to see which way it takes; see peers and shm",
        )
    return Finding(Verdict.ok, f"an all-reduce moves {rate:.3g} GB/s")


def _shm(size: int | None, count: int) -> Finding:
    needed = _SHARED * count
    if size is None or size < needed:
        has = "is missing" if size is None else f"has {size / 1024**2:.0f} MiB"
        return Finding(
            Verdict.warning,
            f"/dev/shm {has}; NCCL needs up to {needed / 1024**2:.0f} MiB for {count} GPUs",
            "set resources.sharedMemory, or docker run --shm-size=2g or --ipc=host",
        )
    return Finding(Verdict.ok, f"/dev/shm has {size / 1024**2:.0f} MiB")
