"""Start-up of the command line, next to a bare typer application: `python -m benchmarks.startup`.

Writes the tables of `benchmarks/startup/README.md`; `--only` prints some and writes nothing. Nothing is asserted here:
tests/cli/test_startup.py checks which modules are loaded, which is what the time depends on.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from rich.progress import track

from benchmarks.measure import Section, Timing, duration, options, table, write_page

_Name = TypeVar("_Name", bound=Hashable)

_HERE = Path(__file__).parent
_CAPTIONLESS = str(Path(sys.executable).with_name("captionless"))
_BARE = [sys.executable, str(_HERE / "bare.py")]


def main() -> None:
    parser = options("benchmarks.startup", __doc__, rounds=21)
    arguments = parser.parse_args()
    sections: dict[str, Section] = {
        "help": ("captionless --help", lambda: help_table(arguments.rounds)),
        "import": ("import captionless", lambda: import_table(arguments.rounds)),
    }
    write_page(_HERE / "README.md", "python -m benchmarks.startup", sections, arguments.only or [])


def help_table(rounds: int) -> str:
    """`--help` of the application and of a group, and shell completion, each next to the bare application's."""
    completion = {"_CAPTIONLESS_COMPLETE": "complete_bash", "COMP_WORDS": "captionless si", "COMP_CWORD": "1"}
    bare_completion = {"_BARE.PY_COMPLETE": "complete_bash", "COMP_WORDS": "bare.py fi", "COMP_CWORD": "1"}
    pairs = {
        "`--help`": (([*_BARE, "--help"], {}), ([_CAPTIONLESS, "--help"], {})),
        "`--help` of a command or group": (([*_BARE, "first", "--help"], {}), ([_CAPTIONLESS, "k8s", "--help"], {})),
        "completion of a command": ((_BARE, bare_completion), ([_CAPTIONLESS], completion)),
    }
    found = _alternately({(name, ours): pair[ours] for name, pair in pairs.items() for ours in (0, 1)}, rounds)
    rows = []
    for name in pairs:
        bare, ours = found[name, 0], found[name, 1]
        ratios = (f"{one.median / other.median:.2f}" for one, other in zip(ours, bare, strict=True))
        rows += [[f"{name}, bare", *map(str, bare), "", ""], [f"**{name}, captionless**", *map(str, ours), *ratios]]
    return f"Medians (ranges) of {rounds} alternating rounds of processes; the ratios are of the medians.\n\n" + table(
        ["", "wall clock", "processor", "wall clock over bare", "processor over bare"], rows
    )


def import_table(rounds: int) -> str:
    """`import captionless` within a process, and Python's own start for comparison."""
    script = "import time; began = time.perf_counter(); import captionless; print(time.perf_counter() - began)"
    seconds = []
    for _ in range(rounds):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        seconds.append(float(done.stdout))
    (bare,) = _alternately({"": ([sys.executable, "-c", "pass"], {})}, rounds).values()
    timing = Timing(seconds)
    return (
        f"`import captionless` takes {duration(timing.median)} ({duration(min(seconds))} to {duration(max(seconds))}) "
        f"in {rounds} processes. Python itself starts and ends in {bare[0]}.\n"
    )


def _alternately(
    candidates: Mapping[_Name, tuple[Sequence[str], Mapping[str, str]]], rounds: int
) -> dict[_Name, tuple[Timing, Timing]]:
    """Wall clock and processor time of commands with an environment, in turn, `rounds` times after a warm-up."""
    found: dict[_Name, tuple[list[float], list[float]]] = {name: ([], []) for name in candidates}
    for round_ in track(range(rounds + 1), "processes", transient=True):
        for name, (command, environment) in candidates.items():
            used, began = _processor(), time.perf_counter()
            subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, check=True)
            if round_:
                wall, processor = found[name]
                wall.append(time.perf_counter() - began)
                processor.append(_processor() - used)
    return {name: (Timing(wall), Timing(processor)) for name, (wall, processor) in found.items()}


def _processor() -> float:
    """The processor time of all processes that this one has started and seen end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
