"""Processing a stage's work items: skip complete ones, make and record the rest, publish the stage.

Failures are handled as the exit codes require: a work item whose data is bad (DataError)
is reported and the others continue, so that one corrupt shard costs one shard; any other
error ends the worker at once. In both cases every finished item remains recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from captionless.errors import DataError
from captionless.runtime import signals
from captionless.store.ledger import Ledger, WorkRecord
from captionless.telemetry.progress import Progress, say


@dataclass(frozen=True)
class Shard:
    """This worker's share of a stage: worker `index` (zero-based) of `count`."""

    index: int = 0
    count: int = 1

    def of(self, items: Sequence[WorkItem]) -> list[WorkItem]:
        """Every `count`-th item, starting with the `index`-th."""
        return list(items[self.index :: self.count])


@dataclass(frozen=True)
class WorkOutput:
    """The result of a work item: files (path below the stage's URL -> sha256, or empty) and facts for its record."""

    files: Mapping[str, str]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class WorkItem:
    """A unit of a stage's work. `size` is its contribution to the progress, in the stage's unit.

    `make` is called with a function to report progress, in units completed since the last call. `ahead`, if set, is
    called while the previous item is being made, to prefetch what `make` will read.
    """

    name: str
    fingerprint: str
    size: int
    make: Callable[[Callable[[int], None]], WorkOutput]
    ahead: Callable[[], None] | None = None


@dataclass(frozen=True)
class Outcome:
    """How many items were made, how many were complete before, and whether the stage is now finished."""

    made: int
    kept: int
    finished: bool


def log_share(what: str, shard: Shard, workers: Sequence[Sequence[object]], balance: float) -> None:
    """Log to stderr `what` is to be done in total and, with several workers, this worker's share of it."""
    if shard.count > 1:
        what += (
            f"; worker {shard.index} of {shard.count} (zero-based) processes {len(workers[shard.index])} of them; "
            f"load of the busiest worker: {balance:.2f} times the mean"
        )
    say(what)


def work(
    title: str,
    unit: str,
    ledger: Ledger,
    items: Sequence[WorkItem],
    own: Sequence[WorkItem] | None = None,
    check: Callable[[Mapping[str, WorkRecord]], None] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Outcome:
    """Makes this worker's missing items; publishes the stage when the items of all workers are complete.

    `own` are this worker's of the `items`, all if None. `check` is called with the records of the finished stage and
    may reject them (DataError); `facts` are stored in its manifest.
    """
    own = items if own is None else own
    missing, bad = [], []
    for item in own:
        try:
            if ledger.whole(item.name, item.fingerprint) is None:
                missing.append(item)
        except DataError as error:
            bad.append(error)
    total = sum(item.size for item in own)
    failed = 0
    with Progress(title, total, unit, done=total - sum(item.size for item in missing)) as progress:
        for item, following in zip_longest(missing, missing[1:]):
            advanced = 0
            for each in (item, following):
                if each is not None and each.ahead is not None:
                    each.ahead()

            def advance(count: int) -> None:
                nonlocal advanced
                advanced += count
                progress.advance(count)
                signals.check()

            try:
                output = item.make(advance)
            except DataError as error:
                bad.append(error)
                failed += 1
                continue
            ledger.commit(item.name, item.fingerprint, output.files, output.facts)
            progress.advance(item.size - advanced)
    if bad:
        raise DataError("\n".join(dict.fromkeys(str(e) for e in bad)))  # an object that many items read, once
    fingerprints = {item.name: item.fingerprint for item in items}
    records = ledger.finished(fingerprints)
    if records is not None:
        if check is not None:
            check(records)
        ledger.publish(fingerprints, facts)
    return Outcome(len(missing) - failed, len(own) - len(missing), records is not None)
