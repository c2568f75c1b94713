"""Processing a stage's work items: skip complete ones, make and record the rest, publish the stage.

Failures are handled as the exit codes require: a work item whose data is bad (DataError)
is reported and the others continue, so that one corrupt shard costs one shard; any other
error ends the worker at once. In both cases every finished item remains recorded.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Protocol

from captionless.errors import DataError
from captionless.store import objects
from captionless.store.ledger import Ledger
from captionless.store.manifest import MadeFrom, WorkRecord
from captionless.store.writers import Lease, writer
from captionless.telemetry.progress import Progress, say


@dataclass(frozen=True)
class Shard:
    """This worker's share of a stage: worker `index` (zero-based) of `count`."""

    index: int = 0
    count: int = 1

    def of(self, items: Sequence[WorkItem]) -> list[WorkItem]:
        """Every `count`-th item, starting with the `index`-th."""
        return list(items[self.index :: self.count])

    def range(self, count: int) -> range:
        """A contiguous share of `count` items, for workers that read a table of them: shares differ by one at most."""
        return range(count * self.index // self.count, count * (self.index + 1) // self.count)


@dataclass(frozen=True)
class Counts:
    """What became of a work item's units: made anew, copied from an earlier state, removed since then, or left out
    because they are broken. `made`, `kept` and `skipped` add up to the item's size."""

    made: int = 0
    kept: int = 0
    removed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.made + other.made, self.kept + other.kept, self.removed + other.removed, self.skipped + other.skipped
        )


@dataclass(frozen=True)
class WorkOutput:
    """The result of a work item.

    files: path below the stage's URL -> sha256, or empty. facts: plain values for its record; `skipped`, if there, is
    the number of objects that were left out. counts: None if all of its units were made anew, but for those. rows: what
    it says of its objects, columns of equal length.
    """

    files: Mapping[str, str]
    facts: Mapping[str, Any]
    counts: Counts | None = None
    rows: Mapping[str, Sequence[Any]] | None = None


class Advance(Protocol):
    """Reports progress: units completed since the last call, and what is to be shown beside it."""

    def __call__(self, count: int, /, **info: Any) -> None: ...


@dataclass(frozen=True)
class WorkItem:
    """A unit of a stage's work. `size` is its contribution to the progress, in the stage's unit.

    `make` is called with a function to report progress, in units completed since the last call. `ahead`, if set, is
    called while the previous item is being made, to prefetch what `make` will read. `again`, if set, says of the record
    of a complete item whether it is to be made all the same.
    """

    name: str
    fingerprint: str
    size: int
    make: Callable[[Advance], WorkOutput]
    ahead: Callable[[], None] | None = None
    again: Callable[[WorkRecord], bool] | None = None


@dataclass(frozen=True)
class Outcome:
    """What a command did with its share of a stage, in the stage's unit; `--json` prints all but `finished`.

    made, kept, removed, skipped: as `Counts`; what was complete before is kept. seconds: of this call.
    finished: whether the stage is now complete and published.
    """

    made: int
    kept: int
    removed: int
    skipped: int
    unit: str
    seconds: float
    finished: bool = True

    def line(self) -> str:
        """One line of JSON."""
        names = ("made", "kept", "removed", "skipped", "unit", "seconds")
        return json.dumps({name: getattr(self, name) for name in names})


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
    facts: Callable[[Mapping[str, WorkRecord]], Mapping[str, Any]] | Mapping[str, Any] | None = None,
    made_from: MadeFrom = MadeFrom(),
    shard: Shard = Shard(),
    holds: Callable[[WorkRecord], int] | None = None,
) -> Outcome:
    """Makes this worker's missing items; publishes the stage when the items of all workers are complete.

    `own` are this worker's of the `items`, all if None, and `shard` is which worker this is. `check` is called with the
    records of the finished stage and may reject them (DataError); `facts`, which may be made from them, and `made_from`
    are stored in its manifest. `holds` says how many units a record's part has: those of parts that no item makes any
    more are removed, which the worker tells that publishes the stage.
    A worker that has something to make or to publish holds a lease on the folder meanwhile (`store.writers`).
    """
    own = items if own is None else own
    began = time.monotonic()
    fingerprints = {item.name: item.fingerprint for item in items}
    share = _Share(title, unit, ledger, own)
    removed = 0
    with contextlib.ExitStack() as stack:

        def enter() -> Lease:
            found = stack.enter_context(writer(ledger.url, shard.index, shard.count, objects.digest(fingerprints)))
            ledger.confirm(fingerprints)
            return found

        lease: Lease | None = None
        if share.missing:
            lease = enter()
            if lease.waited:
                share = _Share(title, unit, ledger, own)
            if share.missing:
                share.make(lease)
        if share.bad:
            raise DataError("\n".join(dict.fromkeys(str(e) for e in share.bad)))  # an object that many items read, once
        records = ledger.finished(fingerprints)
        if records is not None:
            if check is not None:
                check(records)
            found = facts(records) if callable(facts) else facts
            removed = sum(map(holds, ledger.dropped(fingerprints))) if holds is not None else 0
            if lease is None and not _is_published(ledger, fingerprints):
                lease = enter()
            if lease is not None:
                lease.check()
            ledger.publish(records, found, made_from)
    counts, seconds = share.counts + Counts(removed=removed), round(time.monotonic() - began, 3)
    return Outcome(
        counts.made, counts.kept, counts.removed, counts.skipped, unit, seconds, finished=records is not None
    )


def _is_published(ledger: Ledger, fingerprints: Mapping[str, str]) -> bool:
    """Whether the manifest has these very parts, so that publishing writes no tables."""
    if ledger.published is None or ledger.published.document["parts"]["count"] != len(fingerprints):
        return False
    before = {part: ledger.previous(part) for part in fingerprints}
    return all(record is not None and record.fingerprint == fingerprints[part] for part, record in before.items())


class _Share:
    """A worker's items of a stage: those that are whole are counted, the others made and recorded.

    bad: the errors of items whose data is.
    """

    def __init__(self, title: str, unit: str, ledger: Ledger, own: Sequence[WorkItem]) -> None:
        self.title, self.unit, self.ledger, self.own = title, unit, ledger, own
        self.missing: list[WorkItem] = []
        self.bad: list[DataError] = []
        self.counts = Counts()
        for item in own:
            try:
                record = ledger.whole(item.name, item.fingerprint)
            except DataError as error:
                self.bad.append(error)
            else:
                if record is None or (item.again is not None and item.again(record)):
                    self.missing.append(item)
                else:
                    skipped = int(record.facts.get("skipped", 0))
                    self.counts += Counts(kept=item.size - skipped, skipped=skipped)
        if not self.missing:
            self.make(None)  # shows that nothing is left to do

    def make(self, lease: Lease | None) -> None:
        """Makes what is missing, each item when the one before is recorded."""
        total = sum(item.size for item in self.own)
        done = total - sum(item.size for item in self.missing)
        with Progress(self.title, total, self.unit, done=done) as progress:
            for item, following in zip_longest(self.missing, self.missing[1:]):
                advanced = 0
                for each in (item, following):
                    if each is not None and each.ahead is not None:
                        each.ahead()

                def advance(count: int, /, **info: Any) -> None:
                    nonlocal advanced
                    advanced += count
                    progress.advance(count, **info)

                try:
                    output = item.make(advance)
                except DataError as error:
                    self.bad.append(error)
                    continue
                if lease is not None:
                    lease.check()
                self.ledger.commit(item.name, item.fingerprint, output.files, output.facts, output.rows)
                skipped = int(output.facts.get("skipped", 0))
                self.counts += output.counts or Counts(made=item.size - skipped, skipped=skipped)
                progress.advance(item.size - advanced)
