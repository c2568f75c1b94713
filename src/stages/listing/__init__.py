"""list: one pass over the source -> the sealed listing by which every later stage deals its work.

    list/objects-<digest>.parquet    see store.listing
    list/removed-<digest>.parquet    see `removed`

Every object passes the gate (`gate`, `duplicates`), gets its split and its shard, which it keeps for good (`layout`),
and the version of its content (`versions`), which stays the same until the content changes. Only what the source lists
is read, and of the objects' files those that other files' size or version leave in doubt. So the next listing of an
unchanged source takes no more requests than its storage needs to name the files.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from captionless.clip.class_names import alike
from captionless.errors import DataError, SpecError, did_you_mean
from captionless.precompute.object_files import Scope
from captionless.precompute.sources import MeshLoader, ObjectRef, Source, open_source
from captionless.runtime import temporary_files
from captionless.runtime.redaction import public_address
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.data import DataSpec, SourceKind
from captionless.spec.plan import LIST, PACK
from captionless.stages import chain
from captionless.stages.listing import removed, summary
from captionless.stages.listing.before import Before, read_before
from captionless.stages.listing.decisions import decide
from captionless.stages.listing.gate import Gate
from captionless.stages.listing.gathered import ROWS, Gathered, LookUp, gather
from captionless.stages.listing.layout import NONE
from captionless.stages.listing.writing import Written, write_listing
from captionless.stages.work_items import Counts, Outcome
from captionless.store import objects, scan
from captionless.store.ledger import Ledger
from captionless.store.listing import TABLE, Listing, open_listing, store_table
from captionless.store.manifest import MadeFrom, WorkRecord
from captionless.store.scan import Found
from captionless.store.spill import Spill
from captionless.store.writers import Lease, writer
from captionless.telemetry.progress import Progress, say

Files = Mapping[str, Mapping[str, Any]]
"""As a record has them."""


def run(spec: AlignmentSpec, earlier: Listing | None = None) -> Outcome:
    """Lists the objects of the source and publishes the listing.

    earlier: what to take for the previous listing, and for all that is known from before, in the place of what is
    stored.
    """
    began = time.monotonic()
    url = objects.join(spec.root, LIST)
    objects.check(url)
    made_from = chain.made_from(spec, "list")
    with writer(url, settings=objects.digest(made_from.settings)) as lease:
        counts = _list(spec, url, made_from, lease, earlier)
    return Outcome(
        counts.made, counts.kept, counts.removed, counts.skipped, "object", round(time.monotonic() - began, 3), True
    )


def _list(spec: AlignmentSpec, url: str, made_from: MadeFrom, lease: Lease, earlier: Listing | None) -> Counts:
    ledger = Ledger(url, (".parquet",))
    previous = earlier or (None if ledger.published is None else open_listing(url))
    sealed = sealed_fields(spec.data)
    if previous is not None:
        _check_seal(url, previous.facts["sealed"], sealed)
    source = open_source(spec.data)
    files = _Files(source, spec.data)
    with Spill(ROWS) as rows, tempfile.TemporaryDirectory(prefix=temporary_files.prefix()) as scratch:
        gate = Gate(spec.data)
        gathered = _gathered(source, gate, rows, files.look_up, spec.data.source.kind is SourceKind.folder)
        told = gate.check()
        before = read_before(gathered, previous)
        layout, groups = decide(spec.data, gathered, before, files.own)
        told += (
            _without_objects(spec.data, gathered.categories)
            + _reading_alike(spec.data, gathered)
            + summary.lines(gathered, layout, groups)
        )
        if not gathered.kept.any():
            raise DataError(f"data: all {len(gathered):,} objects are left out; {'; '.join(told)}")
        path = os.path.join(scratch, "objects.parquet")
        pack = None if earlier else objects.join(spec.root, PACK)
        written = write_listing(path, gathered, layout, before, previous, pack, files.look_up, files.named)
        told += files.told()
        for line in told:
            say(f"list: {line}")
        facts = {"sealed": sealed, **summary.facts(gathered, layout, groups)}
        lease.check()
        gone = _removed(url, scratch, previous, before)
        _publish(ledger, path, written, gone, facts, made_from)
    kept = int(gathered.kept.sum())
    stayed = int((gathered.kept & (before.shards != NONE)).sum())
    return Counts(kept - written.unchanged, written.unchanged, before.packable - stayed, len(gathered) - kept)


def _without_objects(data: DataSpec, categories: Sequence[str]) -> list[str]:
    """Says which of the categories that `data.classNames` names have no object, listed or left out."""
    named = {entry.partition("=")[0] for entry in data.class_names}
    return [
        f"data.classNames: no object is of category {name!r}{did_you_mean(name, categories)}"
        for name in sorted(named.difference(categories))
    ]


def _reading_alike(data: DataSpec, gathered: Gathered) -> list[str]:
    """Says which categories with objects CLIP could not tell apart: an evaluation refuses them."""
    categories = sorted(gathered.categories[code] for code in np.unique(gathered.category[gathered.kept]).tolist())
    names = [data.display_name(category) for category in categories]
    return [
        f"the categories {categories[one]!r} and {categories[other]!r} both read {names[other]!r} to CLIP; name them "
        "apart by data.classNames before they are evaluated"
        for one, other in alike(names)
    ]


def _gathered(source: Source, gate: Gate, rows: Spill, look_up: LookUp, keys_of_files: bool) -> Gathered:
    with Progress("list", 0) as progress:

        def advance(count: int) -> None:
            progress.state.total += count  # how many there are is known at the end
            progress.advance(count)

        return gather(source, gate, rows, look_up, advance, keys_of_files)


def _removed(url: str, scratch: str, previous: Listing | None, before: Before) -> Files:
    """The file of what was listed once, stored if it is another than before."""
    if before.removed is None:
        return {} if previous is None else previous.removed
    return removed.store(url, scratch, before.removed)


def _publish(
    ledger: Ledger, path: str, written: Written, gone: Files, facts: Mapping[str, Any], made_from: MadeFrom
) -> None:
    """Stores the table, and publishes it with what was `removed` and with the shards that it holds."""
    stored = {**store_table(ledger.url, TABLE, path, written.table), **gone}
    facts_of_table = {"count": written.table.count, "content": written.content}
    records = {TABLE: WorkRecord(TABLE, written.content, stored, facts_of_table)}
    for shard in written.shards:
        facts_of_shard = {"objects": shard.objects, "group": shard.group}
        records[shard.name] = WorkRecord(shard.name, shard.fingerprint, {}, facts_of_shard)
    ledger.publish(records, facts, made_from)


def sealed_fields(data: DataSpec) -> dict[str, Any]:
    """The fields of the spec that a listing seals: those that say which split an object is in."""
    if data.source.kind is SourceKind.parametric:
        return {}
    return {"data.split": data.split} | ({"data.testFraction": data.test_fraction} if data.split == "hash" else {})


def _check_seal(url: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name in now:
        if name in before and before[name] != now[name]:
            raise SpecError(
                f"{name}: {now[name]}, but the split of {url} is sealed at {before[name]}: no object may move between "
                f"training and test; set it back, or choose another `output`"
            )


class _Files:
    """Finds files of the objects, and reads their digests, where these may be read."""

    def __init__(self, source: Source, data: DataSpec):
        self._source, self._origin = source, data.source.url
        self._unanswered: list[str] = []

    def look_up(self, urls: Sequence[str]) -> Iterator[list[Found]]:
        scope = Scope(origin=self._origin)
        if isinstance(self._source, MeshLoader) and urls:
            scope = self._source.mesh_file(_ref(urls[0])).scope
        for page in scan.look_up([url for url in urls if _may_be_asked(scope, url)], scope.guard):
            self._unanswered += [found.url for found in page if found.version == scan.UNANSWERED]
            yield page

    def told(self) -> list[str]:
        """What there is to say of files of silent servers."""
        if not self._unanswered:
            return []
        return [
            f"{len(self._unanswered):,} files, of which no server says anything, are taken for what they were "
            f"({public_address(self._unanswered[0])}, ...)"
        ]

    def own(self, url: str, algorithm: Literal["md5", "sha256"]) -> bytes:
        """The digest of an object's own file. DataError when it is missing or must not be read."""
        assert isinstance(self._source, MeshLoader)
        return self._source.mesh_file(_ref(url)).open().own_digest(algorithm)

    def named(self, url: str, path: str) -> bytes | None:
        """The sha256 of a file that the one at `url` names; None when there is none, or it must not be read: pack will
        say why."""
        assert isinstance(self._source, MeshLoader)
        try:
            return self._source.mesh_file(_ref(url)).open().named_digest(path)
        except DataError:
            return None


def _may_be_asked(scope: Scope, url: str) -> bool:
    """Whether the storage of a file may be asked for it: pack will say why not."""
    try:
        scope.check_address(url, url)
    except DataError:
        return False
    return True


def _ref(url: str) -> ObjectRef:
    return ObjectRef("", "", "train", "", "", url=url)
