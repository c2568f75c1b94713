"""One random sequence of changes, kills, late workers and runs, and what came of it.

After every step the published results are those of a run from scratch, or they are not there, or the command said why
it refuses, by one of its documented exit codes. At the end everything is made whole, the late workers are let go, and a
last run has to succeed.
"""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from captionless.errors import KINDS
from tests.chaos.processes import Command, Ended, Interruption
from tests.chaos.reference import commands, differences, reference, run
from tests.chaos.world import CATEGORIES, FIELDS, NUMBERS, SPEC, World

REFUSALS = {kind.exit_code for kind in KINDS}
STEPS = 7
"""Steps of a sequence, before the last run."""


@dataclass
class Report:
    """What a sequence did, and how it went: the row of a table."""

    seed: int
    steps: list[str] = field(default_factory=list)
    equal: int = 0
    refused: int = 0
    killed: int = 0
    late: int = 0
    violations: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        if self.violations:
            return "VIOLATED: " + "; ".join(self.violations)
        return f"{self.equal} equal, {self.refused} refused"


class Sequence:
    """The sequence of a seed, in a folder of its own; `shared` keeps the references."""

    def __init__(self, seed: int, folder: Path, shared: Path, steps: int = STEPS) -> None:
        self.draw, self.shared, self.count = random.Random(seed), shared, steps
        self.world = World.begin(folder)
        self.report = Report(seed)
        self.late: list[Command] = []
        self.listed: list[World] = []
        """The source as `list` may have seen it, the newest last: all that commands on their own know of it."""
        self.published = b""

    def run(self) -> Report:
        """All of it."""
        kinds: list[tuple[int, Callable[[], None]]] = [
            (5, self._set), (2, self._change), (1, self._touch), (1, self._repaint), (2, self._add), (2, self._remove),
            (1, self._break), (6, self._run), (4, self._killed), (1, self._alone), (4, self._late),
        ]  # fmt: skip
        try:
            self._run()
            for _ in range(self.count):
                self.draw.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])[0]()
            self._last()
        finally:
            for command in self.late:
                command.kill()
        return self.report

    # -- changes

    def _set(self) -> None:
        name = self.draw.choice(sorted(FIELDS))
        value = self.draw.choice([v for v in FIELDS[name] if v != self.world.get(name)])
        self.world.set(name, value)
        self._say(f"{name}={value}")

    def _change(self) -> None:
        key = self._any()
        self.world.put(key, self.draw.randrange(1, 4))
        self._say(f"change {key}")

    def _touch(self) -> None:
        key = self._any()
        self.world.touch(key)
        self._say(f"touch {key}")

    def _repaint(self) -> None:
        self.world.repaint(1 - self.world.paint)
        self._say("repaint")

    def _add(self) -> None:
        absent = [f"{c}/{n:02d}" for c in CATEGORIES for n in range(NUMBERS)]
        key = self.draw.choice([k for k in absent if k not in self.world.variants])
        self.world.put(key, 0)
        self._say(f"add {key}")

    def _remove(self) -> None:
        if len(self.world.variants) > 5:
            key = self._any()
            self.world.remove(key)
            self._say(f"remove {key}")

    def _break(self) -> None:
        key = self._any()
        self.world.put(key, None)
        self._say(f"break {key}")

    def _any(self) -> str:
        return self.draw.choice(sorted(self.world.variants))

    # -- processes

    def _run(self) -> bool:
        """The whole plan; whether it succeeded."""
        self._list()
        command, ended = run(self.world, self.draw)
        return self._judge("run", command, ended, [self.world])

    def _killed(self) -> None:
        self._list()
        number = self.draw.randrange(len(list(commands(self.world))))
        interruption = Interruption(signal.SIGKILL, self.draw.randint(1, 9))
        command, ended = run(self.world, self.draw, number, interruption)
        if ended.code == -signal.SIGKILL:
            self.report.killed += 1
            self._say(f"kill {' '.join(command)} at change {interruption.at}")
            self._check([self.world])
        else:
            self._judge("run", command, ended, [self.world])

    def _alone(self) -> None:
        """One command of the plan, whatever the state of its inputs."""
        command = self.draw.choice(list(commands(self.world)))
        if command[0] == "list":
            self._list()
        self._judge("alone", command, Command(self.world.folder, command).end(), self._as_listed(self.world))

    def _late(self) -> None:
        """A worker that stops before one of its changes while the world goes on, and continues after the next run."""
        if self.draw.random() < 0.8:  # otherwise it mostly has nothing to do
            self.draw.choice([self._set, self._change])()
        before = self.world.copy(self.world.folder / f"late-{len(self.report.steps)}")
        command = self.draw.choice(list(commands(self.world)))
        spec = shutil.copy(before.folder / "spec.yaml", self.world.folder / f"{before.folder.name}.yaml")
        interruption = Interruption(signal.SIGSTOP, self.draw.randint(1, 9), abroad=self.draw.random() < 0.5)
        late = Command(self.world.folder, [Path(spec).name if a == "spec.yaml" else a for a in command], interruption)
        if not late.until_stopped():
            self._judge("alone", command, late.end(), self._as_listed(before))
            return
        self.late.append(late)
        where = " abroad" if interruption.abroad else ""
        self._say(f"stop {' '.join(command)}{where} before change {interruption.at}")
        self.draw.choice([self._set, self._change, self._add])()
        succeeded = self._run()
        self.late.remove(late)
        ended = late.go_on()
        self.report.late += 1
        # what is newer stays; where the newer run was refused, the older one may still publish what it was asked for
        self._judge("late", command, ended, [self.world] if succeeded else [self.world, before])

    def _last(self) -> None:
        for key in [k for k, variant in self.world.variants.items() if variant is None]:
            self.world.put(key, 0)
        self.world.set("data.testFraction", SPEC["data"]["testFraction"])  # a listing seals it
        command, ended = run(self.world, self.draw)
        self._judge("last", command, ended, [self.world])
        of = reference(self.world, self.shared)
        if ended.code and not of.code:
            self._violated(f"the last run ended with {ended.code}: {ended.error.strip()}")

    def _list(self) -> None:
        """The source is about to be listed as it is."""
        self.listed = [*self.listed[-1:], self.world.copy(self.world.folder / f"listed-{len(self.report.steps)}")]

    def _as_listed(self, world: World) -> list[World]:
        """A world, and its spec with the source as it may be listed."""
        return [world, *(World(w.folder, w.variants, w.paint, world.spec) for w in self.listed)]

    # -- verdicts

    def _judge(self, what: str, command: list[str], ended: Ended, allowed: list[World]) -> bool:
        """Judges a command's end, and what is published then; whether it succeeded."""
        line = what if what in ("run", "last") else f"{what} {' '.join(command)}"
        if ended.code == 0:
            self._say(line)
        else:
            self._say(f"{line}: {command[0]} refused ({ended.code}): {_said(ended.error)}")
            self.report.refused += 1
            if ended.code not in REFUSALS or "Traceback" in ended.error or not ended.error.strip():
                self._violated(f"{' '.join(command)} ended with {ended.code}: {ended.error.strip()[-1000:]}")
        if ended.code == 0 and command[0] == "eval" and what != "late":
            self.published = b""  # it says that they are right, whether it wrote them or not
        self._check(allowed)
        return ended.code == 0

    def _check(self, allowed: list[World]) -> None:
        """Published results that have changed, or that a command has vouched for, are those of one of these worlds."""
        path = self.world.folder / "out" / "eval" / "results.json"
        found = path.read_bytes() if path.exists() else b""
        if found == self.published:
            return
        self.published = found
        lines = [line for line in (self._difference(world) for world in allowed) if line]
        if len(lines) == len(allowed):
            self._violated(lines[0])
        else:
            self.report.equal += 1

    def _difference(self, world: World) -> str:
        """How what is published in place differs from a world's run from scratch; empty if it does not."""
        of = reference(world, self.shared)
        if of.code:
            return f"there are results, but from scratch it is refused ({of.code}): {of.error.strip()}"
        again = self.world.folder / f"again-{len(self.report.steps)}"
        return "; ".join(differences(self.world.folder / "out", of, world, again)[:3])

    def _violated(self, line: str) -> None:
        self.report.violations.append(f"after step {len(self.report.steps)}: {line}")

    def _say(self, line: str) -> None:
        self.report.steps.append(line)


def _said(error: str) -> str:
    """The last line of what a command has written, as far as a table has room for it."""
    return error.strip().rpartition("\n")[2].removeprefix("captionless: ")[:160]
