"""Working through the parts of a stage: skip what is whole, make the rest, record, publish.

Failures are kept apart as the exit codes demand: a part whose data is bad (DataError)
is told and the other parts go on, so that one corrupt shard costs one shard; anything
else ends the worker at once. Either way every finished part stays recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from captionless.errors import DataError
from captionless.runtime import signals
from captionless.store.ledger import Ledger, Record
from captionless.telemetry.progress import Progress, say


@dataclass(frozen=True)
class Shard:
    """This worker's share: worker `index` of `count`."""

    index: int = 0
    count: int = 1

    def of(self, parts: Sequence[WorkItem]) -> list[WorkItem]:
        """Every `count`-th part, beginning with the `index`-th."""
        return list(parts[self.index :: self.count])


@dataclass(frozen=True)
class WorkOutput:
    """What making a part gave: its files (path below the stage's URL -> sha256, or empty) and facts for its record."""

    files: Mapping[str, str]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class WorkItem:
    """A piece of a stage's work. `size` is what it counts for in the progress, in the stage's unit.

    `make` is called with a function that tells how many units are done. `ahead`, where there is one, is called while
    the part before is being made, to begin to fetch what `make` will read.
    """

    name: str
    fingerprint: str
    size: int
    make: Callable[[Callable[[int], None]], WorkOutput]
    ahead: Callable[[], None] | None = None


@dataclass(frozen=True)
class Outcome:
    """How many parts were made and how many were whole before; whether the stage is now finished."""

    made: int
    kept: int
    finished: bool


def tell_share(what: str, shard: Shard, workers: Sequence[Sequence[object]], balance: float) -> None:
    """Say on stderr `what` there is to do in all and, of several workers, how much of it this one does."""
    if shard.count > 1:
        what += (
            f"; worker {shard.index} of {shard.count} makes {len(workers[shard.index])} of them; "
            f"the busiest worker has {balance:.2f} times the mean to do"
        )
    say(what)


def work(
    title: str,
    unit: str,
    ledger: Ledger,
    parts: Sequence[WorkItem],
    mine: Sequence[WorkItem] | None = None,
    check: Callable[[Mapping[str, Record]], None] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Outcome:
    """Makes this worker's missing parts; publishes the stage when all parts of all workers are whole.

    `mine` are this worker's of the `parts`, all when None. `check` is given the records of the finished stage, which it
    may refuse (DataError); `facts` go into its manifest.
    """
    mine = parts if mine is None else mine
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
        for part, following in zip_longest(missing, missing[1:]):
            told = 0
            for each in (part, following):
                if each is not None and each.ahead is not None:
                    each.ahead()

            def tell(count: int) -> None:
                nonlocal told
                told += count
                progress.advance(count)
                signals.check()

            try:
                made = part.make(tell)
            except DataError as error:
                bad.append(error)
                failed += 1
                continue
            ledger.commit(part.name, part.fingerprint, made.files, made.facts)
            progress.advance(part.size - told)
    if bad:
        raise DataError("\n".join(dict.fromkeys(str(e) for e in bad)))  # an object that many parts read, once
    fingerprints = {p.name: p.fingerprint for p in parts}
    records = ledger.finished(fingerprints)
    if records is not None:
        if check is not None:
            check(records)
        ledger.publish(fingerprints, facts)
    return Outcome(len(missing) - failed, len(mine) - len(missing), records is not None)
