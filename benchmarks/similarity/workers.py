"""Workers as their users start them, `captionless similarity --shard I/N`: speed-up, memory, and one that is killed."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measure import Timing, resident, table
from captionless.store.similarity_store import open_similarity
from captionless.store.tiles import Metric
from tests.embedded import write_embedded, write_texts

METRICS: tuple[Metric, ...] = ("i2i", "i2l")
LIMIT = 1 << 30
"""Bytes that a worker may use for a category of any size."""


def dataset(folder: Path, n: int) -> Path:
    """An embedded data set of one large category and some small ones, and its landmarks, made once."""
    sizes = {"large": n, "middle": n // 10, "small": n // 100}
    if not (folder / "embed" / "manifest.json").exists():
        write_embedded(str(folder / "embed"), sizes, shards=max(2, n // 500), views=30, features=512)
        write_texts(str(folder / "landmarks"), sizes, features=512, landmarks=128)
    return folder


def start(
    folder: Path, out: str, metric: Metric, shard: str, threads: int = 1, core: int | None = None
) -> subprocess.Popen[bytes]:
    """One worker, kept to one core if it is named: its reading ahead has threads of its own."""
    program = Path(sys.executable).parent / "captionless"
    where = ["--dataset", str(folder / "embed"), "--out", str(folder / out), "--metric", metric, "--shard", shard]
    variables = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))}
    worker = subprocess.Popen([program, "similarity", *where], env=variables, stderr=subprocess.DEVNULL)
    if core is not None:
        os.sched_setaffinity(worker.pid, {core})
    return worker


def ended(worker: subprocess.Popen[bytes]) -> None:
    """Wait until a worker has ended, and well."""
    if worker.wait() != 0:
        raise RuntimeError(f"a worker ended with status {worker.returncode}")


def peak(worker: subprocess.Popen[bytes]) -> int:
    """A worker's peak memory in bytes, as reported by itself: wait4 reports at least its parent's."""
    most = 0
    while worker.poll() is None:
        most = max(most, resident("VmHWM", worker.pid))
        time.sleep(0.02)
    ended(worker)
    return most


def together(folder: Path, metric: Metric, count: int) -> float:
    """Seconds that `count` workers with a core each need for everything."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    began = time.perf_counter()
    workers = [start(folder, "out", metric, f"{i}/{count}", core=i) for i in range(count)]
    for worker in workers:
        ended(worker)
    return time.perf_counter() - began


def checksums(folder: Path) -> dict[str, str]:
    """Every file below a folder by its sha256."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def speed_up(folder: Path, n: int, rounds: int) -> str:
    """One worker and two, alternately."""
    dataset(folder, n)
    rows = []
    for metric in METRICS:
        times: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(rounds):
            for count, found in times.items():
                found.append(together(folder, metric, count))
        one, two = Timing(times[1]), Timing(times[2])
        rows.append([metric, one, two, f"{one.median / two.median:.2f}"])
    return (
        f"Workers with one thread and one core each, {n:,} objects in the largest category; start-up is included.\n\n"
        + table(["", "one worker", "two workers", "speed-up"], rows)
    )


def killed(folder: Path, n: int, times: int, seed: int = 0) -> str:
    """Two workers, one of which is killed at a random moment and started again: the same files, to the byte?"""
    dataset(folder, n)
    moments, same = random.Random(seed), 0
    for metric in METRICS:
        took = together(folder, metric, 2)
        calm = checksums(folder / "out")
        for _ in range(times):
            shutil.rmtree(folder / "out")
            victim, other = (start(folder, "out", metric, f"{i}/2") for i in (0, 1))
            time.sleep(moments.uniform(0.1, 0.9) * took)
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            ended(start(folder, "out", metric, "0/2"))
            ended(other)
            open_similarity(str(folder / "out")).verify()
            same += checksums(folder / "out") == calm
    return (
        f"One of two workers is killed (SIGKILL) at a random moment and restarted, {times} times for each metric: "
        f"{same} of {2 * times} times every published file was byte-identical to that of an undisturbed run.\n"
    )


def memory(folder: Path, n: int) -> str:
    """The peak of one worker with two threads on a large category."""
    dataset(folder, n)
    rows = []
    for metric in METRICS:
        shutil.rmtree(folder / "out", ignore_errors=True)
        used = peak(start(folder, "out", metric, "0/1", threads=2))
        rows.append([metric, f"{used / 2**20:.0f} MiB", "yes" if used <= LIMIT else "**no**"])
    views = n * 30 * 512 * 2
    return (
        f"Peak resident memory of a worker on a category of {n:,} objects, whose views are {views / 2**20:,.0f} MiB "
        f"and whose matrix is {4 * n * n / 2**20:,.0f} MiB in float32; Python and its libraries included.\n\n"
        + table(["", "peak", f"within {LIMIT >> 20} MiB"], rows)
    )
