"""Runs steps that depend on one another, in parallel if possible, and reports the duration of each.

A step is a function and the names of the steps that it depends on. Steps in one lane run one at a time:
the Go builds share a lane because each of them uses all cores. The output of a step's programs goes to
its log; if the step fails, the end of that log is shown.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

CACHED = "cached"
"""The note of a step that had nothing to do."""


class Failed(Exception):
    """A step or a command failed: one line, or the end of its log."""


@dataclass
class Log:
    """Where the programs of a step write, and what the table says of it."""

    path: Path
    note: str = ""

    def run(
        self,
        *command: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
    ) -> None:
        """Runs a program to its end; Failed with its last lines when it does not return 0."""
        with self.path.open("a") as file:
            file.write(f"+ {' '.join(map(str, command))}\n")
            file.flush()
            done = subprocess.run(
                [str(c) for c in command], cwd=cwd, env=env, input=stdin, text=True, stdout=file, stderr=file,
                stdin=subprocess.DEVNULL if stdin is None else None,
            )  # fmt: skip
        if done.returncode:
            raise Failed(f"{command[0]} returned {done.returncode}; the end of {self.path}:\n{tail(self.path)}")


@dataclass(frozen=True)
class Step:
    """name: what the table calls it. after: names of steps that must be done first. lane: see above."""

    name: str
    action: Callable[[Log], None]
    after: tuple[str, ...] = ()
    lane: str = ""


@dataclass(frozen=True)
class Took:
    name: str
    began: float
    seconds: float
    note: str


def tail(path: Path, lines: int = 25) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def needed(steps: Sequence[Step], targets: Sequence[str]) -> list[Step]:
    """The targets and all that they depend on, in the order of `steps`."""
    known = {s.name: s for s in steps}
    wanted: set[str] = set()
    open_ = list(targets)
    while open_:
        name = open_.pop()
        if name not in wanted:
            wanted.add(name)
            open_.extend(known[name].after)
    return [s for s in steps if s.name in wanted]


def run(steps: Sequence[Step], logs: Path) -> list[Took]:
    """Runs the steps; raises the first failure once the steps that were under way have ended."""
    logs.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    waiting = list(steps)
    done: set[str] = set()
    took: list[Took] = []
    failure: BaseException | None = None
    running: dict[Future[Took], Step] = {}

    def call(step: Step) -> Took:
        began = time.monotonic()
        log = Log(logs / f"{step.name.replace(' ', '-')}.log")
        log.path.unlink(missing_ok=True)
        log.path.touch()
        step.action(log)
        return Took(step.name, began - start, time.monotonic() - began, log.note)

    with ThreadPoolExecutor(max_workers=max(1, len(steps))) as pool:
        while waiting or running:
            busy = {s.lane for s in running.values()}
            for step in list(waiting):
                if failure is None and set(step.after) <= done and (not step.lane or step.lane not in busy):
                    waiting.remove(step)
                    busy.add(step.lane)
                    running[pool.submit(call, step)] = step
            if not running:
                break
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                step = running.pop(future)
                if (error := future.exception()) is not None:
                    print(f"  {step.name}: FAILED", file=sys.stderr, flush=True)
                    failure = failure or error
                    continue
                result = future.result()
                took.append(result)
                done.add(step.name)
                if result.note != CACHED:
                    print(
                        f"  {step.name:<22}{result.seconds:8.1f} s  {result.note}".rstrip(), file=sys.stderr, flush=True
                    )
    if failure is not None:
        raise failure
    return took


def table(took: Sequence[Took]) -> str:
    """The steps that had something to do, in the order of their start: seconds until the start, and their duration."""
    total = max((t.began + t.seconds for t in took), default=0.0)
    worked = sorted((t for t in took if t.note != CACHED), key=lambda t: t.began)
    rows = [f"{t.name:<22}{t.began:8.1f}s{t.seconds:8.1f}s  {t.note}".rstrip() for t in worked]
    summary = f"{'total':<22}{'':9}{total:8.1f}s  {len(took) - len(worked)} steps cached"
    return "\n".join([f"{'step':<22}{'start':>9}{'time':>9}", *rows, summary])
