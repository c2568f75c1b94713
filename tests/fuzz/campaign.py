"""Many inputs of a format, read in child processes of little memory and time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from captionless.runtime.expendable_process import Ended, ExpendableProcess, Limits
from tests.fuzz import lines
from tests.fuzz.formats import FORMATS
from tests.fuzz.reading import Batch

BATCH = 100
MEMORY = 1 << 30
"""Bytes that reading may take beyond what the process has."""
SECONDS = 10.0
"""Of processor time, for one input."""
_UNCOMPILED = 10
"""Every so many-th batch runs without numba's compiler, so that the lines that it compiles are counted too."""


@dataclass
class Outcome:
    """wrong: by input, what came out but a mesh or a DataError. past: inputs that got past the container."""

    inputs: int = 0
    read: int = 0
    refused: int = 0
    past: int = 0
    wrong: dict[int, str] = field(default_factory=dict)
    slowest: float = 0.0
    memory: int = 0
    reached: lines.Lines = field(default_factory=dict)

    def add(self, batch: Batch, container: re.Pattern[str]) -> None:
        self.read += batch.read
        self.refused += len(batch.refused)
        self.past += batch.read + sum(not container.search(reason) for reason in batch.refused)
        self.wrong |= batch.wrong
        self.slowest = max(self.slowest, batch.slowest)
        self.memory = max(self.memory, batch.memory)
        for name, numbers in batch.reached.items():
            self.reached.setdefault(name, set()).update(numbers)

    def unreached(self, packages: Sequence[str]) -> lines.Lines:
        return {name: there - self.reached.get(name, set()) for name, there in lines.of_functions(packages).items()}


def fuzzed(name: str, inputs: int, first: int = 0) -> Outcome:
    """Reads inputs of a format from the `first` on."""
    of = FORMATS[name]
    container = re.compile(of.container)
    found = Outcome(inputs=inputs)
    numbers = range(first, first + inputs)
    batches = [numbers[i : i + BATCH] for i in range(0, inputs, BATCH)]
    for compiled in (True, False):
        with _process(compiled) as process:
            for i, batch in enumerate(batches):
                if (i % _UNCOMPILED != 0) == compiled:
                    for result in _survived(process, name, list(batch), found):
                        found.add(result, container)
    return found


def _survived(process: ExpendableProcess, name: str, numbers: list[int], found: Outcome) -> Iterator[Batch]:
    """What became of the numbers; an input that the process did not survive is noted, and the others are read on."""
    while numbers:
        try:
            yield process.call(name, numbers, True)
            return
        except Ended as ended:
            culprit = ended.notes[-1] if ended.notes else numbers[0]
            found.wrong[culprit] = str(ended)
            numbers = numbers[numbers.index(culprit) + 1 :]


@contextmanager
def _process(compiled: bool) -> Iterator[ExpendableProcess]:
    path = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {"PYTHONPATH": os.pathsep.join(path), "NUMBA_DISABLE_JIT": "0" if compiled else "1"}
    before = {key: os.environ.get(key) for key in settings}
    os.environ.update(settings)
    process = ExpendableProcess("tests.fuzz.reading:batch", Limits(MEMORY, BATCH * SECONDS, 1800.0))
    try:
        yield process
    finally:
        process.close()
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
