"""Working through the parts of a stage: skip what is whole, make the rest, record, publish.

Failures are kept apart as the exit codes demand: a part whose data is bad (DataError)
is told and the other parts go on, so that one corrupt shard costs one shard; anything
else ends the worker at once. Either way every finished part stays recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from captionless import lifeline
from captionless.errors import DataError
from captionless.progress import Progress
from captionless.store.ledger import Ledger


@dataclass(frozen=True)
class Shard:
    """This worker's share: worker `index` of `count`."""

    index: int = 0
    count: int = 1

    def of(self, parts: Sequence[Part]) -> list[Part]:
        """Every `count`-th part, beginning with the `index`-th."""
        return list(parts[self.index :: self.count])


@dataclass(frozen=True)
class Made:
    """What making a part gave: its files (path below the stage's URL -> sha256, or empty) and facts for its record."""

    files: Mapping[str, str]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """A piece of a stage's work. `size` is what it counts for in the progress, in the stage's unit.

    `make` is called with a function that tells how many units are done.
    """

    name: str
    fingerprint: str
    size: int
    make: Callable[[Callable[[int], None]], Made]


@dataclass(frozen=True)
class Outcome:
    """How many parts were made and how many were whole before; whether the stage is now finished."""

    made: int
    kept: int
    finished: bool


def work(
    title: str,
    unit: str,
    ledger: Ledger,
    parts: Sequence[Part],
    shard: Shard,
    check: Callable[[], None] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Outcome:
    """Makes this worker's missing parts; publishes the stage when all parts of all workers are whole.

    `check` may refuse the finished stage (DataError), `facts` go into its manifest.
    """
    mine = shard.of(parts)
    missing, bad = [], []
    for part in mine:
        try:
            if ledger.whole(part.name, part.fingerprint) is None:
                missing.append(part)
        except DataError as error:
            bad.append(error)
    total = sum(p.size for p in mine)
    failed = 0
    with Progress(title, total, unit, done=total - sum(p.size for p in missing)) as progress:
        for part in missing:
            told = 0

            def tell(count: int) -> None:
                nonlocal told
                told += count
                progress.advance(count)
                lifeline.check()

            try:
                made = part.make(tell)
            except DataError as error:
                bad.append(error)
                failed += 1
                continue
            ledger.commit(part.name, part.fingerprint, made.files, made.facts)
            progress.advance(part.size - told)
    if bad:
        raise DataError("\n".join(str(e) for e in bad))
    finished = ledger.publishable({p.name: p.fingerprint for p in parts})
    if finished:
        if check is not None:
            check()
        ledger.publish({p.name: p.fingerprint for p in parts}, facts)
    return Outcome(len(missing) - failed, len(mine) - len(missing), finished)
