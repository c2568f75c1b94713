"""Killing a run's runner with SIGKILL, whatever it is at; and, as a program, ten runs each killed once.

    python -m tests.flow.kill [RUNS]

starts RUNS tiny runs one after the other, kills each at a random moment of its length, runs
it again to its end, and compares its results with an undisturbed run's. The test suite does
the ten kills in one run, which takes a tenth of the time.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests import pace
from tests.flow.conftest import call, command, comparable, environment, write_spec


def descendants(pid: int) -> list[int]:
    """All processes below one, by the parents that /proc tells."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            parents[int(entry)] = int(stat.rsplit(")", 1)[1].split()[1])
    found, frontier = [], {pid}
    while frontier:
        frontier = {p for p, parent in parents.items() if parent in frontier}
        found += sorted(frontier)
    return found


def run_and_kill(spec: Path, seconds: float) -> bool:
    """Starts the run and kills its runner with SIGKILL after a while; whether it was still running."""
    process = subprocess.Popen(
        command("run", str(spec)), cwd=spec.parent, env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        below = descendants(process.pid)
        process.kill()
        process.wait()
        pace.wait_for(
            "the killed runner's children to end", lambda: not any(Path("/proc", str(p)).exists() for p in below), 10
        )
        return True
    return False


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.monotonic()
        reference = _results(folder / "undisturbed")
        length = time.monotonic() - began
        equal = 0
        for number in range(count):
            moment = random.uniform(0.3, length)
            (folder / str(number)).mkdir()
            killed = run_and_kill(write_spec(folder / str(number)), moment)
            same = _results(folder / str(number)) == reference
            equal += same
            print(f"{number}: {'killed' if killed else 'ended'} at {moment:.1f} of {length:.0f} s: {same=}", flush=True)
    print(f"{equal} of {count} runs ended with the undisturbed run's results")
    return 0 if equal == count else 1


def _results(folder: Path) -> dict[str, object]:
    """A tiny run to its end, or what is left of one; its comparable results."""
    folder.mkdir(exist_ok=True)
    done = call("run", str(write_spec(folder)), cwd=folder)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return comparable((folder / "out" / "eval" / "results.json").read_bytes())


if __name__ == "__main__":
    sys.exit(main())
