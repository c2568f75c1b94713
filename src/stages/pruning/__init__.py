"""Pruning: what the listing no longer describes is gone from everything below a run's folder, and a search proves it.

Stages remove what they supersede when they publish. What remains is what was left by killed workers, by earlier specs
and by stores that no stage renews: galleries, neighbours, the metrics and trainings of another spec. Of these,

    files that no manifest references                     are deleted
    a store of no stage of the spec that describes an
    object that is not listed any more                    is deleted as a whole, what says so last
    drafts of texts for categories that are gone          are deleted, as are log files and a data card that name such
                                                          an object
    trainings that the spec does not have any more        are deleted if asked for: they hold no objects

A stage's own output is never deleted while its manifest references it: a stage that still describes what is not listed
has to be rerun first. Nothing is at work meanwhile: pruning holds the lease on the run, on every store, and on every
other folder in which there is one, which it refuses to take over from a live writer; and it looks at what is stored
only then. So what is unfinished, and was begun before it looked, is of a dead writer. At the end every file is searched
for the keys that were removed.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from captionless.errors import DataError
from captionless.runtime.thread_pools import thread_pool
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import LANDMARKS, LIST, TRAIN, plan
from captionless.stages import chain
from captionless.stages.listing import removed
from captionless.stages.listing.card import FILE as CARD
from captionless.stages.listing.gate import denied_keys
from captionless.stages.model_records import PART
from captionless.stages.pruning.stores import MANIFESTS, Contents, Store, contents, keys_in
from captionless.store import objects
from captionless.store.file_names import earlier_stem, file_stem
from captionless.store.key_index import KeyIndex
from captionless.store.key_search import KeySearch
from captionless.store.ledger import Ledger
from captionless.store.listing import Listing, open_listing
from captionless.store.manifest import FOLDER, read_header
from captionless.store.sweeping import sweep
from captionless.store.writers import writer
from captionless.telemetry.progress import Progress
from captionless.trainer.run_folder import of_other_runs

_REQUESTS = 16
_SEARCHED_AT_ONCE = 4  # files, which are read whole
LOGS = "logs"
_DRAFTS = "drafts"  # below the landmarks
_DRAFT = re.compile(r"(-[0-9a-f]{16})?\.json$")


@dataclass
class Deleted:
    """What is deleted of a store, or of other files: how many, their bytes, and why."""

    where: str
    files: int
    bytes: int
    why: str


@dataclass
class Report:
    """What pruning did.

    deleted: by store. left: what it leaves and why. swept: temporary files and uploads of killed writers. keys: that
    were searched for. searched: files and bytes. found: files, and a key that is in each.
    """

    deleted: list[Deleted] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    swept: int = 0
    keys: int = 0
    searched: tuple[int, int] = (0, 0)
    found: list[tuple[str, str]] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **asdict(self),
            "searched": {"files": self.searched[0], "bytes": self.searched[1]},
            "found": [{"file": file, "key": key} for file, key in self.found],
        }

    def lines(self) -> list[str]:
        """All of it in words."""
        found = [f"{d.where}: {_count(d.files, 'file')}, {d.bytes:,} bytes: {d.why}" for d in self.deleted]
        found += [f"left: {line}" for line in self.left]
        if self.swept:
            found.append(
                f"{_count(self.swept, 'temporary file or upload', 'temporary files and uploads')} of killed processes"
            )
        files, size = self.searched
        if files:
            hits = f"found in {_count(len(self.found), 'file')}" if self.found else "found in none"
            found.append(
                f"searched {_count(files, 'file')}, {size:,} bytes, for {_count(self.keys, 'removed key')}: {hits}"
            )
        found = found or ["nothing to delete"]
        if not self.keys:
            found.append("searched for no key: none is in data.deny, and none was removed since the last proof")
        return found

    def check(self) -> None:
        """DataError if a removed key is still stored somewhere."""
        if self.found:
            file, key = self.found[0]
            more = f" and {len(self.found) - 1} more files" if len(self.found) > 1 else ""
            raise DataError(
                f'{file}{more}: still names "{key}", which is not listed any more; rerun the stage that writes it, or '
                "delete it"
            )


def prune(spec: AlignmentSpec, dry_run: bool = False, trainings: bool = False) -> Report:
    """Deletes what the run's listing does not describe, and searches for it. dry_run: only says what would be deleted.
    trainings: also those that the spec does not have.

    Raises:
        DataError: a stage has not been rerun since the listing changed, or a denied object is still listed.
        Retryable: another process is writing there.
    """
    return _Pruning(spec, dry_run, trainings).run()


class _Pruning:
    def __init__(self, spec: AlignmentSpec, dry_run: bool, trainings: bool) -> None:
        self.spec, self.dry_run, self.trainings = spec, dry_run, trainings
        self.root = spec.root
        self.stages = {stage.output: stage.name for stage in plan(spec)}
        self.report = Report()
        self.gone: set[str] = set()

    def run(self) -> Report:
        open_listing(objects.join(self.root, LIST))
        with contextlib.ExitStack() as leases:
            began, found = self._alone(leases)
            listing = open_listing(objects.join(self.root, LIST))
            self.listed = _listed(listing)
            self._check_denied()
            self.gone |= removed.keys(listing)
            for name in self.stages.values():
                self._check_current(name)
            for store in found.stores:
                self._prune(store, listing)
            self._drafts(found.stores, listing)
            self._logs(found.others)
            self._card(found.stores)
            if not self.dry_run:
                self.report.swept = sweep(self.root, older=time.monotonic() - began)
        self.report.keys = len(self.gone)
        if not self.dry_run:
            self._search(listing)
        return self.report

    def _alone(self, leases: contextlib.ExitStack) -> tuple[float, Contents]:
        """Takes the leases on all folders; what is stored once they are held, and the time before it was looked at."""
        held = set[str]()
        while True:
            began, found = time.monotonic(), contents(self.root)
            missing = {"", *(store.folder for store in found.stores), *found.leased} - held
            if not missing:
                return began, found
            for folder in sorted(missing):
                leases.enter_context(writer(objects.join(self.root, folder), settings="prune"))
            held |= missing

    # -- whether the stages are those of the listing

    def _check_denied(self) -> None:
        """What is denied is not listed, and is what is searched for."""
        denied = sorted(denied_keys(self.spec.data.deny))
        for key, place in zip(denied, self.listed.places(denied), strict=True):
            if place >= 0:
                url = objects.join(self.root, LIST)
                raise DataError(f'{url}: "{key}" is denied, but still listed; rerun the stages')
        self.gone |= set(denied)

    def _check_current(self, name: str) -> None:
        """NotReady unless a stage, if it has run, is made from what is stored before it."""
        header, _ = read_header(objects.join(self.root, self._output(name)))
        if header is None:
            return
        inputs = chain.verify(self.spec, name)
        if {n: i.digest for n, i in header.made_from.inputs.items() if n in inputs} != {
            n: i.digest for n, i in inputs.items()
        }:
            raise chain.NotReady(f"{header.url}: made from another listing than there is now; rerun {name}")

    def _output(self, name: str) -> str:
        return next(output for output, stage in self.stages.items() if stage == name)

    # -- what is deleted

    def _prune(self, store: Store, listing: Listing) -> None:
        files = [name for name in store.files if name.endswith((".parquet", ".index", ".json"))]
        with thread_pool(_REQUESTS) as pool:
            keys = dict(zip(files, pool.map(lambda name: self._unlisted(store, name), files), strict=True))
        for unlisted in keys.values():
            self.gone |= unlisted
        own = self._stage_of(store.folder)
        described = sorted({key for name in store.referenced for key in keys.get(name, ())})
        if store.folder == LIST:
            described = []  # objects that are left out are listed as such
        if own is not None and described:
            raise DataError(f'{store.url}: still describes "{described[0]}", which is not listed any more; rerun {own}')
        if described:
            why = f"describes {_count(len(described), 'object')} that the listing does not have, such as {described[0]}"
            self._delete(store, sorted(store.files), why, {name for name in store.referenced if keys.get(name)})
        elif own is None and self._is_training(store.folder):
            if self.trainings:
                self._delete(store, sorted(store.files), "a training that the spec does not have")
            else:
                self.report.left.append(f"{store.folder}: a training that the spec does not have (--trainings)")
        else:
            self._delete(store, store.superseded(), "superseded")
            self._other_settings(store)

    def _other_settings(self, store: Store) -> None:
        """What is stored of trainings with other settings beside the one that is published."""
        record = Ledger(store.url).previous(PART) if self._is_training(store.folder) else None
        names = of_other_runs(store.files, record.fingerprint) if record is not None else []
        if names and self.trainings:
            self._delete(store, names, "trainings with other settings")
        elif names:
            count = _count(len(names), "file")
            self.report.left.append(f"{store.folder}: {count} of trainings with other settings (--trainings)")

    def _unlisted(self, store: Store, name: str) -> set[str]:
        """The keys that a file holds of objects that are not listed."""
        url, found = objects.join(store.url, name), set[str]()
        keys = iter(keys_in(url))
        while some := [key for _, key in zip(range(1 << 16), keys, strict=False)]:
            found |= {key for key, place in zip(some, self.listed.places(some), strict=True) if place < 0}
        return found

    def _stage_of(self, folder: str) -> str | None:
        """The stage of the plan whose output a folder is, or is part of."""
        return next((n for output, n in self.stages.items() if f"{folder}/".startswith(f"{output}/")), None)

    def _is_training(self, folder: str) -> bool:
        return folder.startswith(f"{TRAIN}/")

    def _drafts(self, found: Sequence[Store], listing: Listing) -> None:
        """Texts for categories that are gone."""
        names = {stem(category) for category in listing.categories for stem in (file_stem, earlier_stem)}
        for store in found:
            if store.folder == LANDMARKS:
                drafts = [name for name in store.files if name.startswith(f"{_DRAFTS}/")]
                gone = [name for name in drafts if _DRAFT.sub("", name.removeprefix(f"{_DRAFTS}/")) not in names]
                self._delete(store, gone, "drafts for categories that are not listed any more")

    def _logs(self, others: dict[str, int]) -> None:
        """Logs that name an object that is gone."""
        store = Store("", self.root, others)
        naming = self._naming(store, [name for name in others if name.startswith(f"{LOGS}/")])
        self._delete(store, naming, "logs that name objects that are not listed any more")

    def _card(self, found: Sequence[Store]) -> None:
        """A data card that names an object that is gone."""
        for store in found:
            if store.folder == LIST:
                naming = self._naming(store, [name for name in store.files if name == CARD])
                self._delete(store, naming, "a data card that names objects that are not listed any more")

    def _naming(self, store: Store, names: Sequence[str]) -> list[str]:
        """The files that name an object that is gone."""
        search = KeySearch(self.gone, self.listed)
        return [name for name in names if search.in_file(objects.join(store.url, name))]

    def _delete(self, store: Store, names: Sequence[str], why: str, telling: Collection[str] = ()) -> None:
        """Deletes files of a store, or of none; `telling`: those by which it is known that the store has to go.

        These and the manifests are the last, so that a pruning that is killed before is made good by the next one. The
        parts of a manifest go after it, since whoever finds it reads them.
        """
        if not names:
            return
        where = store.folder or LOGS
        self.report.deleted.append(Deleted(where, len(names), sum(store.files[name] for name in names), why))
        if self.dry_run:
            return
        turns = [[name for name in names if _turn(name, telling) == turn] for turn in range(4)]
        for some in turns:
            with thread_pool(_REQUESTS) as pool:
                list(pool.map(lambda name: objects.remove(objects.join(store.url, name)), some))

    # -- the proof

    def _search(self, listing: Listing) -> None:
        """Searches every file for the keys that are gone; the listing's own table says of denied ones that they are."""
        if not self.gone:
            return
        found = contents(self.root)
        files = {objects.join(store.url, name): size for store in found.stores for name, size in store.files.items()}
        files |= {objects.join(self.root, name): size for name, size in found.others.items()}
        files.pop(listing.table_url, None)
        search = KeySearch(self.gone, self.listed)
        with Progress("search", len(files), "file") as progress, thread_pool(_SEARCHED_AT_ONCE) as pool:

            def look(url: str) -> set[str]:
                hits = search.in_file(url)
                progress.advance(1)
                return hits

            for url, hits in zip(files, pool.map(look, files), strict=True):
                if hits:
                    self.report.found.append((url, min(hits)))
        self.report.searched = (len(files), sum(files.values()))
        if not self.report.found:
            removed.forget_keys(listing.url)


def _turn(name: str, telling: Collection[str]) -> int:
    """When a file of a store is deleted, see `_Pruning._delete`."""
    if name in telling:
        return 1
    return 2 if name in MANIFESTS else 3 if name.startswith(f"{FOLDER}/") else 0


def _count(number: int, of: str, more: str = "") -> str:
    return f"{number:,} {of if number == 1 else more or f'{of}s'}"


def _listed(listing: Listing) -> KeyIndex:
    """The keys of the objects that are listed and kept."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = [batch.filter(pc.equal(batch["verdict"], ""))["key"] for batch in listing.batches(["key", "verdict"])]
    chunks = [chunk for column in kept for chunk in column.chunks]
    return KeyIndex(pa.chunked_array(chunks, pa.string()).combine_chunks())
