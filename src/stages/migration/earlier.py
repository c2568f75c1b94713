"""What releases before the sealed listing have left: manifests and records of format 1, and how these were made.

    manifest.json        {"version": 1, "digest", "parts": {part: fingerprint}, "facts"}
    _parts/<part>.json   {"part", "fingerprint", "files", "facts"}

A fingerprint of format 1 is the digest of a part's settings and of the content that it was made from: it says whether
a part is what a spec and a source describe, and of another one nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from captionless.clip import checkpoints
from captionless.errors import DataError
from captionless.precompute.sources import ObjectRef
from captionless.runtime.thread_pools import thread_pool
from captionless.spec.clip import ClipSpec
from captionless.spec.data import DataSpec
from captionless.store import objects
from captionless.store.ledger import Ledger
from captionless.store.manifest import MANIFEST, MadeFrom, WorkRecord
from captionless.store.work_records import PARTS, is_record_name

_REQUESTS = 16


@dataclass(frozen=True)
class EarlierStage:
    """A stage's folder of format 1.

    manifest: `manifest.json` as it is stored, None if the stage was not finished. facts: its facts. records: of the
    finished parts, by name.
    """

    url: str
    manifest: bytes | None
    facts: Mapping[str, Any]
    records: Mapping[str, WorkRecord]

    @cached_property
    def lost(self) -> dict[str, list[str]]:
        """The parts with files that are missing, truncated or modified since they were recorded, and these files."""
        with thread_pool(_REQUESTS) as pool:
            found = zip(self.records, pool.map(self._lost, self.records.values()), strict=True)
            return {part: files for part, files in found if files}

    @property
    def whole(self) -> dict[str, WorkRecord]:
        """The records of all other parts."""
        return {part: record for part, record in self.records.items() if part not in self.lost}

    @property
    def lost_files(self) -> list[str]:
        return sorted(file for files in self.lost.values() for file in files)

    def _lost(self, record: WorkRecord) -> list[str]:
        recorded = objects.modified(_record_url(self.url, f"{record.part}.json")) or 0.0
        return [name for name, expected in record.files.items() if not self._is_whole(name, expected, recorded)]

    def _is_whole(self, name: str, expected: Mapping[str, Any], recorded: float) -> bool:
        url = objects.join(self.url, name)
        found = objects.status(url)
        if found is None or found.size != expected["size"]:
            return False
        return found.modified <= recorded or objects.sha256(url) == expected["sha256"]


def read_earlier(url: str) -> EarlierStage | None:
    """What a folder has of format 1; None if it has nothing of it. DataError for a record that is none."""
    target = objects.join(url, MANIFEST)
    manifest, document = None, None
    try:
        manifest = objects.read_bytes(target)
        document = objects.parse_json(manifest, target)
    except FileNotFoundError:
        pass
    if manifest is not None and (not isinstance(document, dict) or document.get("version") != 1):
        return None
    names = [n for n in objects.list_names(objects.join(url, PARTS)) if _is_earlier(n)]
    if manifest is None and not names:
        return None
    with thread_pool(_REQUESTS) as pool:
        found = list(pool.map(lambda name: _record(_record_url(url, name)), names))
    facts = document.get("facts") if document is not None else None
    return EarlierStage(url, manifest, facts or {}, {record.part: record for record in found})


def _is_earlier(name: str) -> bool:
    return name.endswith(".json") and not is_record_name(name)


def _record_url(url: str, name: str) -> str:
    return objects.join(url, PARTS, name)


def _record(url: str) -> WorkRecord:
    document = objects.read_json(url)
    try:
        return WorkRecord(document["part"], document["fingerprint"], document["files"], document["facts"])
    except (KeyError, TypeError) as error:
        raise DataError(f"{url}: not a record of finished work ({error}); delete it") from error


class LedgerOver(Ledger):
    """A ledger that takes the place of a folder's manifest and records of format 1."""

    def __init__(self, earlier: EarlierStage, *arguments: Any) -> None:
        super().__init__(earlier.url, *arguments)
        self._earlier = earlier
        self.__dict__["_began"] = (None, earlier.manifest)

    def _check_names(self, names: Iterable[str]) -> None:
        """Records of format 1 are what is expected here."""

    def take_over(
        self, records: Mapping[str, WorkRecord], facts: Mapping[str, Any], made_from: MadeFrom = MadeFrom()
    ) -> None:
        """Publishes the records if the stage was finished, else leaves each beside the others; removes the earlier."""
        for record in records.values():
            if record.rows is not None or self._earlier.manifest is None:
                self.store(record)
        if self._earlier.manifest is not None:
            self.publish(records, facts, made_from)
        for name in objects.list_names(objects.join(self.url, PARTS)):
            if _is_earlier(name):
                objects.remove(_record_url(self.url, name))


def pack_fingerprint(data: DataSpec, known: Iterable[tuple[ObjectRef, str]]) -> str:
    """The fingerprint of a packed shard of some objects, in the order of their keys, each with its content's digest."""
    listed = [[ref.key, ref.category, ref.source, ref.licence, ref.text, content] for ref, content in known]
    return objects.digest(1, data.views, data.image_size, data.elevation, data.points, listed)


def embed_fingerprint(packed_sha256: str, model: str) -> str:
    """The fingerprint of an embedded shard, by its packed one's checksum and the embeddings' model."""
    return objects.digest(1, packed_sha256, model)


def landmarks_fingerprint(category: str, count: int, model: str, origin: Any) -> str:
    """The fingerprint of a category's landmarks, by the embeddings' model and what the texts come from."""
    return objects.digest(1, category, count, model, origin)


def weights_identity(clip: ClipSpec) -> str:
    """What told a CLIP model from others: a local one's bytes, a URL's version where its storage has one, a name."""
    return checkpoints.earlier_identity(clip.model, clip.pretrained or None)


def embeddings_identity(clip: ClipSpec) -> str:
    """What told the embeddings of a CLIP model from others': the weights and the precision."""
    return objects.digest(weights_identity(clip), clip.precision)
