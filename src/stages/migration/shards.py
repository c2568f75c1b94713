"""Shards of an earlier release: which of them are what spec and source describe, and their records of today.

An earlier release dealt objects to shards by a hash, and recorded of a shard a fingerprint and its objects. So a shard
is compared as a whole: if its fingerprint, computed from the spec and from the objects' files as they are now, is the
recorded one, all of its objects are current. Then its index gets what today's stages look for there, and the objects
stay where they are: the listing seals the shards that it finds. A shard that is not current stays stored, without such
notes, until pack makes it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa

from captionless.errors import DataError
from captionless.precompute import meshfile
from captionless.precompute.object_files import FileSeen, broken_by
from captionless.precompute.sources import MeshLoader, ObjectRef, Source, open_source
from captionless.runtime.thread_pools import thread_pool
from captionless.spec.data import DataSpec, SourceKind
from captionless.stages.clip_model import FACT
from captionless.stages.migration.earlier import EarlierStage, pack_fingerprint
from captionless.store import objects
from captionless.store.listing import Listing
from captionless.store.manifest import WorkRecord
from captionless.store.packed import EARLIER_RENDERER, content_digest
from captionless.store.shards import ShardReader, index_url

_READERS = 8
_NAMED = 5  # broken objects of a shard that its record names
_AT_ONCE = 64  # objects whose members are hashed together


@dataclass(frozen=True)
class Content:
    """What an object is made from now: the digest that an earlier release would have had, and its files."""

    digest: str
    files: tuple[FileSeen, ...] = ()
    beyond: bool = False


@dataclass
class EarlierShards:
    """The packed shards of an earlier release beside the source as it is now.

    current: the parts that are what the spec describes. contents: of their objects, by key.
    """

    stage: EarlierStage
    data: DataSpec
    contents: dict[str, Content] = field(default_factory=dict)
    current: set[str] = field(default_factory=set)

    @cached_property
    def source(self) -> Source:
        return open_source(self.data)

    @cached_property
    def refs(self) -> dict[str, ObjectRef]:
        """The source's objects as they are now, by key."""
        return {ref.key: ref for ref in self.source.refs()}

    def compare(self) -> None:
        """Reads the source, once, and finds `current`."""
        refs = self.refs
        for name, record in sorted(self.stage.records.items()):
            keys = keys_of(record)
            if not all(key in refs and refs[key].split == record.facts["split"] for key in keys):
                continue
            with thread_pool(_READERS) as pool:
                found = dict(zip(keys, pool.map(lambda key: self._content(refs[key]), keys), strict=True))
            known = [(refs[key], found[key].digest) for key in keys]
            if pack_fingerprint(self.data, known) == record.fingerprint:
                self.current.add(name)
                self.contents |= found

    def files(self, key: str) -> str:
        """The files of a current shard's object, as pack notes them."""
        return json.dumps([[f.path, f.version, f.sha256] for f in self.contents[key].files])

    def _content(self, ref: ObjectRef) -> Content:
        if not isinstance(self.source, MeshLoader):
            return Content(self.source.digest(ref))
        files = self.source.mesh_file(ref).open()
        axis = self.data.source.up if self.data.source.kind is SourceKind.folder else ref.up
        try:
            return Content(objects.digest(meshfile.digest(files), axis), tuple(files.seen), files.beyond)
        except DataError as error:
            return Content(f"unreadable: {error}", tuple(files.seen))
        except Exception as error:  # whatever a damaged file makes a parser stumble over
            return Content(f"unreadable: {broken_by(error)}", tuple(files.seen))


class SealedBefore(Listing):
    """The listing that the shards of an earlier release imply: where each of their objects is."""

    def __init__(self, url: str, stage: EarlierStage, sealed: Mapping[str, Any]):
        super().__init__(url, (), {"sealed": sealed, "categories": {}}, "", "", 0)
        self._records = stage.records

    @property
    def objects(self) -> int:
        return sum(len(keys_of(record)) for record in self._records.values())

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        for name, record in sorted(self._records.items()):
            keys = keys_of(record)
            nothing = pa.nulls(len(keys), pa.string())
            known = {"key": keys, "split": [record.facts["split"]] * len(keys), "shard": [name] * len(keys)}
            known |= dict.fromkeys(("version", "token"), ["0" * 16] * len(keys))
            table = pa.table({**known, **dict.fromkeys(("content", "files"), nothing)})
            yield table if columns is None else table.select(list(columns))


def keys_of(record: WorkRecord) -> list[str]:
    """The keys of a packed shard's objects, the broken ones included, sorted."""
    return sorted([o["key"] for o in record.facts["objects"]] + [s["key"] for s in record.facts["skipped"]])


def packed_record(
    compared: EarlierShards, record: WorkRecord, made: Mapping[str, str], versions: Mapping[str, str]
) -> WorkRecord:
    """Today's record of a packed shard, but for its fingerprint; writes its index.

    made: the digests of what its objects are rendered from, by key, empty for a shard that is not current. versions: of
    these, as they are listed.
    """
    tar, url = str(record.facts["shard"]), compared.stage.url
    shard = ShardReader(objects.join(url, tar))
    files = {key: compared.files(key) for key in made}
    notes = {}
    for start in range(0, len(shard.keys), _AT_ONCE):
        for key, members in shard.members(shard.keys[start : start + _AT_ONCE]).items():
            if key in made:
                notes[key] = {
                    "made": made[key], "content": content_digest(members), "renderer": EARLIER_RENDERER,
                    "files": files[key], "faces": "", "textured": "",
                    **({"beyond": "True"} if compared.contents[key].beyond else {}),
                }  # fmt: skip
    index = _noted(shard, notes)
    reasons = {str(s["key"]): str(s["reason"]) for s in record.facts["skipped"]}
    categories = {str(o["key"]): str(o["category"]) for o in record.facts["objects"]}
    keys = keys_of(record)
    refs = compared.refs
    rows = {
        "key": keys,
        "category": [categories.get(key) or (refs[key].category if key in refs else "") for key in keys],
        "split": [record.facts["split"]] * len(keys),
        "reason": [reasons.get(key, "") for key in keys],
        "version": [versions.get(key) for key in keys],
        "made": [made.get(key) if key in notes else None for key in keys],
        "files": [files.get(key) for key in keys],
        "faces": [None] * len(keys),
        "textured": [None] * len(keys),
    }
    facts = {
        "split": record.facts["split"], "shard": tar, "objects": len(categories), "skipped": len(reasons),
        "broken": [{"key": k, "reason": r} for k, r in list(reasons.items())[:_NAMED]],
        "renderers": [EARLIER_RENDERER] if shard.keys else [],
    }  # fmt: skip
    return WorkRecord(record.part, record.fingerprint, _files(record, tar, index), facts, rows)


def embedded_record(url: str, record: WorkRecord, made: Mapping[str, str]) -> WorkRecord:
    """Today's record of an embedded shard, but for its fingerprint; writes its index. `made` as for a packed one."""
    tar, listed = str(record.facts["shard"]), record.facts["objects"]
    shard = ShardReader(objects.join(url, tar))
    notes = {
        o["key"]: {"made": made[o["key"]], "views": o["views"], "points": o["points"]}
        for o in listed
        if o["key"] in made
    }
    index = _noted(shard, notes)
    spans = [shard.index[o["key"]] for o in listed]
    rows: dict[str, list[Any]] = {name: [o[name] for o in listed] for name in ("key", "category", "views", "points")}
    rows |= {"split": [record.facts["split"]] * len(listed), "shard": [tar] * len(listed)}
    for name in ("views", "points"):
        for place, what in enumerate(("offset", "size")):
            rows[f"{name}_{what}"] = [members[f"{name}.npy"][place] for members in spans]
    facts = {
        "split": record.facts["split"], "shard": tar, "objects": len(listed), FACT: str(record.facts.get(FACT, "")),
    }  # fmt: skip
    return WorkRecord(record.part, record.fingerprint, _files(record, tar, index), facts, rows)


def _noted(shard: ShardReader, notes: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    data = shard.write_notes(notes)
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _files(record: WorkRecord, tar: str, index: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The files of a shard's record, with another index."""
    return {tar: record.files[tar], index_url(tar): index}
