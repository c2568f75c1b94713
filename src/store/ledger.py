"""Records of the work that a stage has finished, so that a rerun does only what is missing.

A stage's work is divided into parts (a shard, a category, a training run). A finished part has a record (see
`work_records`). Its `fingerprint` is the digest of everything the part was made from: settings, the content of its
inputs, and the version of the code's output format. A part is complete if it has a record of the current fingerprint
and its files are the recorded ones. The record is written after the files, so that a process killed at any point leaves
either a complete part or none. A file newer than its record was modified since, so only such files need to be read to
verify them.

Whoever finds all parts complete publishes them (see `manifest`): their records become the manifest's tables and are
removed, as is every file that no part has any more. Nobody waits for anybody, and nobody overwrites anything: names of
records and files contain fingerprints, and `manifest.json` is replaced only if it is still the one that was there when
the publisher began. What is to be removed is listed before that, so that nothing of a newer run is among it, and is
removed only while the manifest is the publisher's. So a worker of an old run that goes on after a newer one has
finished cannot undo it. A request that it has sent before, and that is served after, may at worst remove a file that
the newer run has made again: readers miss it by name, and a rerun makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from captionless.errors import DataError, Retryable
from captionless.runtime.thread_pools import thread_pool
from captionless.store import objects
from captionless.store.conditional import replace_if
from captionless.store.manifest import (
    FOLDER,
    MANIFEST,
    VERSION,
    Header,
    MadeFrom,
    Manifest,
    WorkRecord,
    contents,
    identity,
    read_finished,
    read_header,
    read_manifest,
    record_of,
    write_parts,
)  # fmt: skip
from captionless.store.removal import leftovers_of, remove_while
from captionless.store.sweeping import sweep
from captionless.store.work_records import PARTS, is_record_name, read_record, record_name, record_url, write_record

if TYPE_CHECKING:
    import pyarrow as pa

_REQUESTS = 16


class Ledger:
    """The records and the manifest of the stage whose outputs are under `url`.

    owns: suffixes of the stage's files; publishing removes all files of these that no part has. schema: the columns of
    the parts' rows, if they have any.
    """

    def __init__(self, url: str, owns: Sequence[str] = (), schema: Callable[[], pa.Schema] | None = None):
        self.url, self._owns, self._schema = url, tuple(owns), schema
        self._records: set[str] | None = None

    @cached_property
    def _began(self) -> tuple[Header | None, bytes | None]:
        """The manifest as this process found it: what it may replace."""
        return read_header(self.url)

    @property
    def published(self) -> Header | None:
        """The manifest as this process found it; None if there was none."""
        return self._began[0]

    @cached_property
    def _entries(self) -> Mapping[str, Mapping[str, Any]]:
        if self.published is None:
            return {}
        try:
            return self.published.entries()
        except DataError:
            self._check_current()
            raise

    @cached_property
    def _entries_time(self) -> float:
        assert self.published is not None
        return objects.modified(self.published.parts_url) or 0.0

    # -- one part

    def record(self, part: str, fingerprint: str) -> WorkRecord | None:
        """The record of a part with this fingerprint, published or not; None when it has none."""
        if self._is_loose(part, fingerprint):
            return self._unpublished(part, fingerprint)
        entry = self._entries.get(part)
        return record_of(part, entry) if entry is not None and entry["fingerprint"] == fingerprint else None

    def everything(self) -> Iterator[WorkRecord]:
        """Every record there is, published or not, of whatever fingerprint; the latter with their rows."""
        for part, entry in self._entries.items():
            yield record_of(part, entry)
        for name in objects.list_names(objects.join(self.url, PARTS)):
            record = read_record(objects.join(self.url, PARTS, name)) if is_record_name(name) else None
            if record is not None:  # else published meanwhile, or of an earlier release
                yield record

    def previous(self, part: str) -> WorkRecord | None:
        """A part as it was last published, whatever its fingerprint."""
        entry = self._entries.get(part)
        return None if entry is None else record_of(part, entry)

    def dropped(self, parts: Container[str]) -> list[WorkRecord]:
        """What was last published of other parts than these: publishing these removes it."""
        return [record_of(part, entry) for part, entry in self._entries.items() if part not in parts]

    def _unpublished(self, part: str, fingerprint: str) -> WorkRecord | None:
        record = read_record(record_url(self.url, part, fingerprint))
        return record if record is not None and record.fingerprint == fingerprint else None

    def whole(self, part: str, fingerprint: str) -> WorkRecord | None:
        """The part's record if it is complete and up to date, None if it must be made.

        A file that is missing is recreated. A file that differs from its record was
        modified from outside: DataError, since only its owner knows what happened.
        """
        record = self.record(part, fingerprint)
        if record is None:
            return None
        recorded = self._recorded_at(record)
        for name, expected in record.files.items():
            url = objects.join(self.url, name)
            found = objects.status(url)
            if found is None:
                return None
            if found.size != expected["size"]:
                raise DataError(
                    f"{url}: truncated or modified: {found.size:,} bytes, expected {expected['size']:,}; "
                    "delete it and rerun to recreate it"
                )
            if found.modified > recorded and objects.sha256(url) != expected["sha256"]:
                raise DataError(
                    f"{url}: modified since it was recorded (sha256 differs); delete it and rerun to recreate it"
                )
        return record

    def _recorded_at(self, record: WorkRecord) -> float:
        if self._is_loose(record.part, record.fingerprint):
            return objects.modified(record_url(self.url, record.part, record.fingerprint)) or 0.0
        return self._entries_time

    def commit(
        self,
        part: str,
        fingerprint: str,
        files: Mapping[str, str],
        facts: Mapping[str, Any],
        rows: Mapping[str, Sequence[Any]] | None = None,
    ) -> WorkRecord:
        """Records a part whose `files` (path below the stage's URL -> sha256, empty if unknown) are all stored."""
        stored: dict[str, dict[str, Any]] = {}
        for name, sha256 in files.items():
            url = objects.join(self.url, name)
            size = objects.size(url)
            if size is None:
                raise DataError(f"{url}: disappeared before {part} was recorded")
            stored[name] = {"size": size, "sha256": sha256 or objects.sha256(url)}
        record = WorkRecord(part, fingerprint, stored, facts, rows)
        self.store(record)
        return record

    def store(self, record: WorkRecord) -> None:
        """Stores a record as it is."""
        write_record(self.url, record)
        self._loose.add(record_name(record.part, record.fingerprint))

    # -- the stage

    def finished(self, fingerprints: Mapping[str, str]) -> dict[str, WorkRecord] | None:
        """The records of all parts by name, without their rows; None unless every one has its fingerprint.

        Published ones are known already and the others are found by one listing, so that a thousand workers that look
        whether they are the last do not read a million records. What is recorded again, since a file was lost, counts.
        """
        found = self._finished(fingerprints)
        if found is None and self._adopted(fingerprints):
            found = self._finished(fingerprints)
        return found

    def _finished(self, fingerprints: Mapping[str, str]) -> dict[str, WorkRecord] | None:
        published = {part for part, entry in self._entries.items() if entry["fingerprint"] == fingerprints.get(part)}
        if self._records != set() or len(published) < len(fingerprints):  # else others can record nothing new
            self._records = None
        loose = [part for part, fingerprint in fingerprints.items() if self._is_loose(part, fingerprint)]
        if not published.union(loose) >= set(fingerprints):
            return None

        def record(part: str) -> WorkRecord | None:
            found = self._unpublished(part, fingerprints[part])
            return None if found is None else WorkRecord(part, found.fingerprint, found.files, found.facts)

        with thread_pool(_REQUESTS) as pool:
            found = dict(zip(loose, pool.map(record, loose), strict=True))
        records: dict[str, WorkRecord] = {}
        for part in fingerprints:
            each = found[part] if part in found else record_of(part, self._entries[part])
            if each is None:
                return None  # published by another worker a moment ago
            records[part] = each
        return records

    def _is_loose(self, part: str, fingerprint: str) -> bool:
        """Whether a part had a record of its own when all were looked for; it is newer than what is published."""
        return record_name(part, fingerprint) in self._loose

    @property
    def _loose(self) -> set[str]:
        """The records that are not part of a manifest, as they were last listed."""
        if self._records is None:
            names = objects.list_names(objects.join(self.url, PARTS))
            self._check_names(names)
            self._records = set(names)
        return self._records

    def _check_names(self, names: Iterable[str]) -> None:
        """DataError for a record of an earlier release: what it says is done must not be done again unasked."""
        for name in names:
            if name.endswith(".json") and not is_record_name(name):
                raise DataError(
                    f"{objects.join(self.url, PARTS, name)}: version 1, of an earlier release; run `captionless "
                    "migrate` on the run's folder once"
                )

    def confirm(self, fingerprints: Mapping[str, str]) -> None:
        """To be called once a lease on the folder is held: what was known before may be of before another's work.

        Raises:
            Retryable: another run has published other results since this process began.
        """
        self._records = None
        if not self._adopted(fingerprints):
            self._check_current()

    def _check_current(self) -> None:
        """Retryable if the manifest is no longer the one that this process found, whose tables are then gone."""
        if read_header(self.url)[1] != self._began[1]:
            raise self._superseded()

    def _superseded(self) -> Retryable:
        return Retryable(
            f"{objects.join(self.url, MANIFEST)}: another run has published its results here since this one began, and "
            "this one's were not published; rerun to bring the stage up to date"
        )

    def _adopted(self, fingerprints: Mapping[str, str]) -> bool:
        """Whether another worker has just published these very parts; then its manifest is what this process knows.

        A manifest of other parts is not taken over: it is a newer run's, which this process must not replace.
        """
        header, data = read_header(self.url)
        if header is None or data == self._began[1]:
            return False
        entries = header.entries()
        if {part: entry["fingerprint"] for part, entry in entries.items()} != dict(fingerprints):
            return False
        self._know(header, data, entries)
        return True

    def _know(self, header: Header, data: bytes | None, entries: Mapping[str, Mapping[str, Any]]) -> None:
        self._began, self._entries, self._records = (header, data), entries, None
        self.__dict__.pop("_entries_time", None)

    def publish(
        self,
        records: Mapping[str, WorkRecord],
        facts: Mapping[str, Any] | None = None,
        made_from: MadeFrom = MadeFrom(),
    ) -> Header:
        """Writes the manifest of a stage whose parts are all complete; `records` are those of `finished`.

        Any worker may call it, any number of times: equal records give an equal manifest. Leftovers of a worker that
        was killed while another one made the same part are removed, and so is what the earlier manifest had.

        Raises:
            Retryable: another run has published other results since this process began.
        """
        try:
            header, data = self._written(records, dict(facts or {}), made_from)
        except (DataError, FileNotFoundError):  # of a record or a table, which another may have removed
            if self._adopted({part: record.fingerprint for part, record in records.items()}):
                return self.publish(records, facts, made_from)
            self._check_current()
            raise
        if data == self._began[1]:
            # what a process has left that was killed right after publishing; other records may be of a run in progress
            self._remove_while_published(
                f"{PARTS}/{name}" for name in self._loose & {record_name(p, r.fingerprint) for p, r in records.items()}
            )
            return header
        leftovers = leftovers_of(self.url, self._owns, self._entries, header, records)
        if not replace_if(objects.join(self.url, MANIFEST), data, self._began[1]):
            current, stored = read_header(self.url)
            if stored != data:
                self._withdraw(records, current)
                raise self._superseded()
            assert current is not None
            return current
        self._know(header, data, header.entries())
        sweep(self.url)
        self._remove_while_published(leftovers)
        return header

    def manifest(self) -> Manifest:
        """See `read_manifest`."""
        return read_manifest(self.url)

    def header(self) -> Header:
        """See `read_finished`."""
        return read_finished(self.url)

    # -- publishing

    def _written(
        self, records: Mapping[str, WorkRecord], facts: dict[str, Any], made_from: MadeFrom
    ) -> tuple[Header, bytes]:
        """Stores the tables of a manifest; its header, and what `manifest.json` is to hold."""
        entries: dict[str, dict[str, Any]] = {
            part: {"fingerprint": r.fingerprint, "files": r.files, "facts": r.facts}
            for part, r in sorted(records.items())
        }
        before, replaced = self._began
        after = identity(replaced)
        if before is not None and {p: dict(e, rows=None) for p, e in self._entries.items()} == {
            p: dict(e, rows=None) for p, e in entries.items()
        }:
            parts, rows = before.document["parts"], before.document["rows"]
        else:
            rows = self._write_rows(entries, after) if self._schema is not None else None
            parts = write_parts(self.url, entries, after)
        document = {
            "version": VERSION,
            "settings": dict(made_from.settings),
            "inputs": {n: {"settings": dict(i.settings), "digest": i.digest} for n, i in made_from.inputs.items()},
            "digest": objects.digest(VERSION, dict(made_from.settings), contents(entries), facts),
            "facts": facts,
            "parts": parts,
            "rows": rows,
        }
        if before is not None and replaced is not None and before.says(document):
            return before, replaced
        data = objects.json_bytes({**document, "after": after})
        return Header(self.url, objects.parse_json(data, self.url)), data

    def _write_rows(self, entries: dict[str, dict[str, Any]], after: str | None) -> dict[str, Any]:
        """Stores the table of all parts' rows, and notes in `entries` which rows are whose."""
        from captionless.store.manifest_rows import write_rows

        def rows(part: str) -> Mapping[str, Sequence[Any]] | None:
            if not self._is_loose(part, entries[part]["fingerprint"]):
                if self._entries.get(part, {}).get("fingerprint") != entries[part]["fingerprint"]:
                    raise _no_record(self.url, part)
                return None
            record = self._unpublished(part, entries[part]["fingerprint"])
            if record is None or record.rows is None:
                raise _no_record(self.url, part)
            return record.rows

        assert self._schema is not None
        file = f"{FOLDER}/rows-{objects.digest(contents(entries), after)[:16]}.parquet"
        earlier = None if self.published is None else self.published.rows_url
        spans = {part: entry["rows"] for part, entry in self._entries.items() if "rows" in entry}
        target = objects.join(self.url, file)
        info, of_parts = write_rows(target, sorted(entries), rows, earlier, spans, self._schema())
        for part, span in of_parts.items():
            entries[part]["rows"] = span
        return {"file": file, "sha256": info.sha256, "bytes": info.bytes, "count": info.count}

    def _withdraw(self, records: Mapping[str, WorkRecord], current: Header | None) -> None:
        """Removes what this process' run has made, after another's was published: nobody would read it but a glob."""
        kept = {name for entry in (current.entries() if current else {}).values() for name in entry["files"]}
        own = {name for record in records.values() for name in record.files} if self._owns else set()
        own -= kept
        own |= {f"{PARTS}/{record_name(part, record.fingerprint)}" for part, record in records.items()}
        self._remove_while(own, _document(current))

    def _remove_while_published(self, names: Iterable[str]) -> None:
        self._remove_while(names, _document(self.published))

    def _remove_while(self, names: Iterable[str], manifest: Mapping[str, Any] | None) -> None:
        remove_while(self.url, names, lambda: _document(read_header(self.url)[0]) == manifest)


def _document(header: Header | None) -> Mapping[str, Any] | None:
    return None if header is None else header.document


def _no_record(url: str, part: str) -> DataError:
    """Another worker has published it a moment ago, or it was deleted."""
    return DataError(f"{url}: the record of {part} is missing; rerun the stage")
