"""Timing that compares: every candidate in turn, round after round, in one process; medians and ratios.

The machine's speed drifts and other work comes and goes. Candidates that are measured alternately see the same
drift, so that the ratio of two medians says more than either of them.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from rich.progress import Progress

Section: TypeAlias = "tuple[str, Callable[[], str]]"


@dataclass(frozen=True)
class Timing:
    """Seconds of every round, of wall clock or what else the clock counts."""

    seconds: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        return f"{duration(self.median)} ({duration(min(self.seconds))} to {duration(max(self.seconds))})"


def alternately(
    candidates: Mapping[str, Callable[[], object]],
    rounds: int,
    title: str,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Each candidate once to warm up, then all of them in turn, `rounds` times."""
    found: dict[str, list[float]] = {name: [] for name in candidates}
    with Progress(transient=True) as progress:
        task = progress.add_task(title, total=(rounds + 1) * len(candidates))
        for round_ in range(rounds + 1):
            for name, run in candidates.items():
                began = clock()
                run()
                if round_:
                    found[name].append(clock() - began)
                progress.advance(task)
    return {name: Timing(seconds) for name, seconds in found.items()}


def duration(seconds: float) -> str:
    """Seconds, milliseconds or microseconds, in three digits."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; all columns but the first to the right."""
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def most_beside(run: Callable[[], object]) -> int:
    """Peak bytes of this process while it runs something, in addition to its present memory, including the result."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what is free already must not hide what is used
    Path("/proc/self/clear_refs").write_text("5")  # what was used at most is counted anew
    before = resident("VmRSS")
    run()
    return resident("VmHWM") - before


def resident(what: str, process: int | str = "self") -> int:
    """Bytes of memory of a process: VmRSS now, VmHWM at most; 0 when it has just ended."""
    found = re.search(rf"^{what}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return int(found.group(1)) << 10 if found else 0


def options(program: str, description: str | None, rounds: int = 0) -> argparse.ArgumentParser:
    """The options of all benchmarks; `rounds`: how many there are by default, if the benchmark has any."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("--only", nargs="+", metavar="SECTION", help="these sections only, printed and not written")
    if rounds:
        parser.add_argument("--rounds", type=int, default=rounds, help=f"alternating rounds (default: {rounds})")
    return parser


def write_page(
    page: Path, program: str, sections: Mapping[str, tuple[str, Callable[[], str]]], only: list[str]
) -> None:
    """Make the sections (by name, their heading and what makes them), print them, and write them into `page` below its
    mark; with `only`, those, printed and not written."""
    text = f"Measured on {machine()}.\n"
    for name in only or sections:
        heading, make = sections[name]
        made = f"\n## {heading}\n\n{make()}"
        print(made, flush=True)
        text += made
    if not only:
        mark = f"<!-- below: {program} -->\n"
        page.write_text(page.read_text().partition(mark)[0] + mark + text)


def machine() -> str:
    """What the figures were taken on, in words."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
        flags = next((line for line in lines if line.startswith("flags")), "")
        widest = next((f for f in ("avx512f", "avx2", "avx") if f in flags.split()), "no AVX")
        name = f"{', '.join(sorted(names))} ({widest})"
    return f"{os.cpu_count()} cores, {name}, Python {platform.python_version()}"
