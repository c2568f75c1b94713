"""All GPUs of the node at once: a process for each, as in a training, which measures and then reports.

They meet between measurements at a store, and form a process group only for the last one, the all-reduce: in a group a
step's batch statistics would span all ranks, so that each waited for the others in every layer, and the slowest GPU
could not be told from them.

`python -m captionless.doctor.gpu_together DEVICE RANK WORLD PORT SECONDS` is one of them; its report is a JSON line on
stdout.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from captionless.doctor.gpu_figures import Clocks, Figures
from captionless.errors import CaptionlessError, Retryable

_OF_OTHERS = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")  # what follows of a failure


def gpus() -> list[str]:
    """The GPUs of this node. CaptionlessError if there are none."""
    import torch

    if not torch.cuda.is_available():
        raise CaptionlessError(
            "doctor --gpu: no GPU that torch can use on this machine; without --gpu all else is checked"
        )
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())]


def measure(devices: Sequence[str], seconds: float, small: bool = False) -> list[Figures]:
    """The figures of some devices, measured together. small: of little work, as a test on a CPU.

    Raises:
        Retryable: a process has failed, or not reported in so many seconds; the line says which, and why.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "captionless.doctor.gpu_together"]
    ranks = [
        subprocess.Popen(
            [*command, device, *map(str, (rank, len(devices), port, seconds)), *(["small"] if small else [])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank, device in enumerate(devices)
    ]
    failed = []
    with ThreadPoolExecutor(len(ranks)) as pool:
        started = zip(ranks, devices, strict=True)
        reports = [pool.submit(_reported, process, device, seconds) for process, device in started]
        try:
            for report in as_completed(reports):
                found = report.result()
                if isinstance(found, str):
                    failed.append(found)
                    if not any(word in found for word in _OF_OTHERS):
                        break  # the others would wait for this one
        finally:
            for process in ranks:
                process.kill()
    if failed:
        raise Retryable(f"doctor --gpu: {failed[-1]}")
    return [each for report in reports if isinstance(each := report.result(), Figures)]


def _reported(process: subprocess.Popen[str], device: str, seconds: float) -> Figures | str:
    """What a process has found, or in one line why it has failed."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return (
            f"{device} has not reported in {seconds:g} s; retry with a larger --patience, or look at `nvidia-smi` and "
            "`dmesg` for errors of it"
        )
    if process.returncode:
        last = (err.strip().splitlines() or ["no output"])[-1]
        return f"{device}: {last}"
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    clocks = found.pop("clocks")
    return Figures(**found, clocks=None if clocks is None else Clocks(**clocks))


def main(device_name: str, rank: int, world: int, port: int, seconds: float, small: bool) -> None:
    """Measure one device among others, and print the figures."""
    import torch
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    from captionless.doctor import gpu_figures

    device = torch.device(device_name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    backend = "nccl" if device.type == "cuda" else "gloo"
    patience = timedelta(seconds=seconds)
    store, *_ = next(rendezvous(f"tcp://127.0.0.1:{port}", rank, world, timeout=patience))
    matrix, size, clouds, points = (64, 1 << 16, 4, 64) if small else (8192, 256 << 20, 64, 2048)

    def together(what: str) -> None:
        if store.add(what, 1) == world:
            store.set(f"{what} by all", "")
        store.wait([f"{what} by all"])

    together("alone")
    alone = gpu_figures.step_seconds(device, clouds, points) if rank == 0 and world > 1 else None
    together("step")
    step = gpu_figures.step_seconds(device, clouds, points)
    together("products")
    matmul = gpu_figures.matmul_rate(device, matrix)
    together("memory")
    memory = gpu_figures.memory_rate(device, size)
    together("reduce")
    dist.init_process_group(backend, store=store, timeout=patience, rank=rank, world_size=world)
    reduce = gpu_figures.reduce_rate(device, size)
    together("clocks")
    clocks = gpu_figures.clocks(device)
    found = Figures(name, matmul, memory, alone, step, gpu_figures.unreached(device), reduce, clocks)
    print(json.dumps(asdict(found)), flush=True)
    together("end")
    dist.destroy_process_group()


if __name__ == "__main__":
    device, *numbers, patience = sys.argv[1:6]
    number, count, at = map(int, numbers)
    main(device, number, count, at, float(patience), small=len(sys.argv) > 6)
