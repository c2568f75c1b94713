"""Records of the work that a stage has finished, so that a rerun does only what is missing.

A stage's work is divided into parts (a shard, a category, a training run). A finished
part has a record `<stage>/.../_parts/<part>.json`:

    {"part": "train-00000", "fingerprint": "...",
     "files": {"train/00000.tar": {"size": <bytes>, "sha256": "..."}, ...}, "facts": {...}}

`fingerprint` is the digest of everything the part was made from: settings, the content
of its inputs, and the version of the code's output format. A part is complete if its
record has the current fingerprint and its files are the recorded ones. The record is
written after the files, so that a process killed at any point leaves either a complete
part or none. A file newer than its record was modified since, so only such files need to
be read to verify them. When all parts are complete, `manifest.json` is written, which the
next stage waits for and reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from captionless.errors import DataError
from captionless.runtime.thread_pools import thread_pool
from captionless.store import objects
from captionless.store.atomic_writes import sweep

MANIFEST = "manifest.json"
_PARTS = "_parts"


@dataclass(frozen=True)
class WorkRecord:
    """A finished part. `files` maps paths below the stage's URL to `size` in bytes and `sha256`."""

    part: str
    fingerprint: str
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """A finished stage: its parts' records by name, and one digest over all fingerprints."""

    url: str
    digest: str
    records: Mapping[str, WorkRecord]
    own: Mapping[str, Any] = field(default_factory=dict)
    """Facts of the stage as a whole."""

    def facts(self) -> list[Mapping[str, Any]]:
        """The parts' facts, in the order of their names."""
        return [self.records[name].facts for name in sorted(self.records)]


class Ledger:
    """The records and the manifest of the stage whose outputs are under `url`."""

    def __init__(self, url: str):
        self.url = url

    def _record_url(self, part: str) -> str:
        return objects.join(self.url, _PARTS, f"{part}.json")

    def record(self, part: str) -> WorkRecord | None:
        """The record of a part, None when it has none."""
        try:
            document = objects.read_json(self._record_url(part))
            files = {n: {"size": int(f["size"]), "sha256": str(f["sha256"])} for n, f in document["files"].items()}
            return WorkRecord(document["part"], document["fingerprint"], files, document["facts"])
        except FileNotFoundError:
            return None
        except (KeyError, TypeError) as error:
            raise DataError(f"{self._record_url(part)}: not a record of finished work ({error}); delete it") from error

    def whole(self, part: str, fingerprint: str) -> WorkRecord | None:
        """The part's record if it is complete and up to date, None if it must be made.

        A file that is missing is recreated. A file that differs from its record was
        modified from outside: DataError, since only its owner knows what happened.
        """
        record = self.record(part)
        if record is None or record.fingerprint != fingerprint:
            return None
        recorded = objects.modified(self._record_url(part)) or 0.0
        for name, expected in record.files.items():
            url = objects.join(self.url, name)
            found, time = objects.size(url), objects.modified(url)
            if found is None or time is None:
                return None
            if found != expected["size"]:
                raise DataError(
                    f"{url}: truncated or modified: {found:,} bytes, expected {expected['size']:,}; "
                    "delete it and rerun to recreate it"
                )
            if time > recorded and objects.sha256(url) != expected["sha256"]:
                raise DataError(
                    f"{url}: modified since it was recorded (sha256 differs); delete it and rerun to recreate it"
                )
        return record

    def commit(self, part: str, fingerprint: str, files: Mapping[str, str], facts: Mapping[str, Any]) -> WorkRecord:
        """Records a part whose `files` (path below the stage's URL -> sha256, empty if unknown) are all stored."""
        stored: dict[str, dict[str, Any]] = {}
        for name, sha256 in files.items():
            url = objects.join(self.url, name)
            size = objects.size(url)
            if size is None:
                raise DataError(f"{url}: disappeared before {part} was recorded")
            stored[name] = {"size": size, "sha256": sha256 or objects.sha256(url)}
        record = WorkRecord(part, fingerprint, stored, facts)
        objects.write_json(
            self._record_url(part), {"part": part, "fingerprint": fingerprint, "files": stored, "facts": dict(facts)}
        )
        return record

    def finished(self, fingerprints: Mapping[str, str]) -> dict[str, WorkRecord] | None:
        """The records of all parts by name, None unless every one has its fingerprint."""
        with thread_pool(16) as pool:
            records = dict(zip(fingerprints, pool.map(self.record, fingerprints), strict=True))
        done = {name: r for name, r in records.items() if r is not None and r.fingerprint == fingerprints[name]}
        return done if len(done) == len(fingerprints) else None

    def publish(self, fingerprints: Mapping[str, str], facts: Mapping[str, Any] | None = None) -> None:
        """Writes the manifest of a stage whose parts are all complete.

        Any worker may call it, any number of times: equal records give an equal manifest. Leftovers of a worker that
        was killed while another one made the same part are removed.
        """
        sweep(self.url)
        document = {
            "version": 1,
            "digest": objects.digest(dict(fingerprints), facts or {}),
            "parts": dict(fingerprints),
            "facts": dict(facts or {}),
        }
        objects.renew_json(objects.join(self.url, MANIFEST), document)

    def manifest(self) -> Manifest:
        """The published stage. DataError when it is not finished."""
        url = objects.join(self.url, MANIFEST)
        try:
            document = objects.read_json(url)
        except FileNotFoundError:
            raise DataError(
                f"{url}: not found: the stage that writes {self.url} is not finished; run it first"
            ) from None
        try:
            parts: dict[str, str] = document["parts"]
            digest = str(document["digest"])
        except (KeyError, TypeError) as error:
            raise DataError(f"{url}: not the manifest of a stage (no {error}); delete it and rerun") from error
        with thread_pool(16) as pool:
            records = dict(zip(parts, pool.map(self.record, parts), strict=True))
        missing = [name for name, record in records.items() if record is None]
        if missing:
            raise DataError(f"{self.url}: the record of {missing[0]} is missing; rerun the stage")
        return Manifest(
            self.url, digest, {name: r for name, r in records.items() if r is not None}, document.get("facts", {})
        )
