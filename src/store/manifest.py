"""The manifest of a finished stage: what its output is, and what it was made from.

    manifest.json                   small: what a reader needs to know whether this is the output that it wants
    _manifest/parts-<digest>.json   the stage's parts: fingerprint, files and facts of each
    _manifest/rows-<digest>.parquet what the stage says of every object, if it does: a table, in the order of the parts

`manifest.json` holds `settings` (the spec's fields that the output depends on, by name), `inputs` (the stages that were
read, and those that these had read: settings and digest of each), `digest` (of the settings, the parts and their files'
checksums), the names of the other two files, and `after`: which manifest it has replaced. Replacing `manifest.json`,
which is done by compare-and-swap, replaces everything at once, and a reader that has opened a manifest reads the tables
that belong to it: these are named by their content and by `after`, and never change.

So settings that are changed and changed back give a manifest of the same digest, but other bytes and other tables. A
worker of the earlier run that goes on then neither takes the manifest for the one that it has read, nor has a late
request of its own that removes a table that is read today.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from captionless.errors import DataError
from captionless.store import objects

if TYPE_CHECKING:
    import pyarrow as pa

    from captionless.store.table import TableReader

MANIFEST = "manifest.json"
FOLDER = "_manifest"
VERSION = 2


@dataclass(frozen=True)
class InputRecord:
    """A stage that was read: its settings and its manifest's digest at that time."""

    settings: Mapping[str, Any]
    digest: str


@dataclass(frozen=True)
class MadeFrom:
    """What a stage's output is made from: fields of the spec by name, and the stages that were read."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, InputRecord] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkRecord:
    """A finished part.

    files: paths below the stage's URL -> `size` in bytes and `sha256`. facts: plain values. rows: what the part says of
    its objects, columns of equal length; None once it is published (see `Manifest.rows`).
    """

    part: str
    fingerprint: str
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, Sequence[Any]] | None = None


@dataclass(frozen=True)
class Header:
    """`manifest.json` of the stage whose output is under `url`."""

    url: str
    document: Mapping[str, Any]

    @property
    def digest(self) -> str:
        return str(self.document["digest"])

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts of the stage as a whole."""
        return dict(self.document["facts"])

    @property
    def made_from(self) -> MadeFrom:
        inputs = {name: InputRecord(i["settings"], i["digest"]) for name, i in self.document["inputs"].items()}
        return MadeFrom(self.document["settings"], inputs)

    @property
    def recorded(self) -> InputRecord:
        """This stage as its readers record it."""
        return InputRecord(self.document["settings"], self.digest)

    def says(self, document: Mapping[str, Any]) -> bool:
        """Whether it says this, whatever it comes after."""
        own = {name: value for name, value in self.document.items() if name != "after"}
        return objects.json_bytes(own) == objects.json_bytes(document)

    @property
    def parts_url(self) -> str:
        return objects.join(self.url, str(self.document["parts"]["file"]))

    def rows(self, columns: Sequence[str] | None = None) -> pa.Table:
        """What the stage says of every object, with the column `part`. DataError if it says nothing."""
        return self.rows_reader().read(columns)

    def rows_reader(self) -> TableReader:
        """The same, to be read in pieces."""
        from captionless.store.table import TableReader

        if self.rows_url is None:
            raise DataError(f"{self.url}: has no table of objects; rerun the stage that writes it")
        return TableReader(self.rows_url, int(self.document["rows"]["bytes"]))

    @property
    def rows_url(self) -> str | None:
        rows = self.document["rows"]
        return None if rows is None else objects.join(self.url, str(rows["file"]))

    def entries(self) -> dict[str, dict[str, Any]]:
        """The parts as they are stored: fingerprint, files, facts and `rows`, a part's first row and their number."""
        try:
            return dict(objects.read_json(self.parts_url))
        except FileNotFoundError:
            raise DataError(
                f"{self.parts_url}: missing; delete {MANIFEST} there and rerun the stage that writes {self.url}"
            ) from None


@dataclass(frozen=True)
class Manifest:
    """A finished stage: its header, and its parts' records by name."""

    header: Header
    records: Mapping[str, WorkRecord]

    @property
    def url(self) -> str:
        return self.header.url

    @property
    def digest(self) -> str:
        return self.header.digest

    @property
    def own(self) -> Mapping[str, Any]:
        """Facts of the stage as a whole."""
        return self.header.facts

    def facts(self) -> list[Mapping[str, Any]]:
        """The parts' facts, in the order of their names."""
        return [self.records[name].facts for name in sorted(self.records)]

    def rows(self, columns: Sequence[str] | None = None) -> pa.Table:
        """See `Header.rows`."""
        return self.header.rows(columns)


def identity(manifest: bytes | None) -> str | None:
    """What a manifest that replaces this one, given by its bytes, says that it comes `after`; None for the first."""
    return None if manifest is None else hashlib.sha256(manifest).hexdigest()[:16]


def read_header(url: str) -> tuple[Header | None, bytes | None]:
    """The manifest of the stage under `url` and its bytes; None and None if it has none.

    Raises:
        DataError: it is not one, or of a release that wrote another version.
    """
    target = objects.join(url, MANIFEST)
    data = objects.read_if_any(target)
    if data is None:
        return None, None
    document = objects.parse_json(data, target)
    if isinstance(document, dict) and document.get("version") == 1:
        raise DataError(
            f"{target}: version 1, of an earlier release; run `captionless migrate` on the run's folder once"
        )
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise DataError(f"{target}: not the manifest of a stage (version {VERSION}); delete it and rerun")
    needed = ("settings", "inputs", "digest", "facts", "parts", "rows")
    missing = [name for name in needed if name not in document]
    if missing:
        raise DataError(f"{target}: not the manifest of a stage (no {missing[0]}); delete it and rerun")
    return Header(url, document), data


def read_finished(url: str) -> Header:
    """The manifest of the stage under `url`. DataError when it is not finished."""
    header, _ = read_header(url)
    if header is None:
        raise DataError(
            f"{objects.join(url, MANIFEST)}: not found: the stage that writes {url} is not finished; run it first"
        )
    return header


def read_manifest(url: str) -> Manifest:
    """The same, with its parts."""
    header = read_finished(url)
    try:
        entries = header.entries()
    except DataError:
        if read_finished(url).document == header.document:
            raise
        return read_manifest(url)  # it was replaced in between
    return Manifest(header, {part: record_of(part, entry) for part, entry in entries.items()})


def write_parts(url: str, entries: Mapping[str, Mapping[str, Any]], after: str | None) -> dict[str, Any]:
    """Stores the parts of the stage under `url`; what a `manifest.json` that comes `after` that one is to say of them.

    In one line: it is read by every worker, and written many times as fast as an indented document.
    """
    data = json.dumps(entries, sort_keys=True, separators=(",", ":")).encode()
    file = f"{FOLDER}/parts-{hashlib.sha256(data + (after or '').encode()).hexdigest()[:16]}.json"
    objects.renew_bytes(objects.join(url, file), data)
    return {"file": file, "count": len(entries)}


def record_of(part: str, entry: Mapping[str, Any]) -> WorkRecord:
    """The record of a published part."""
    return WorkRecord(part, str(entry["fingerprint"]), entry["files"], entry["facts"])


def contents(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """What the parts are: their fingerprints and their files' checksums, or in place of these the fact `content` of a
    part whose file also holds what only its own stage reads."""

    def of_files(entry: Mapping[str, Any]) -> list[str]:
        if "content" in entry["facts"]:
            return [entry["facts"]["content"]]
        return [file["sha256"] for _, file in sorted(entry["files"].items())]

    return {part: [entry["fingerprint"], *of_files(entry)] for part, entry in entries.items()}
