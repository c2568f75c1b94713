"""embed: packed shards -> shards of view embeddings and point clouds, the input of training.

    embed/<split>/00000-<fingerprint>.tar    per object: views.npy (R, F) float16, points.npy, json

A shard is made when its packed one has changed; then only the objects whose views or model have changed are embedded,
and the views of the others, as well as everybody's points, are copied by ranges. An object's embedding depends on its
own views and the model alone (see `embedding_pipeline`), so what was appended to is what would be made at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from captionless.clip import openclip
from captionless.errors import DataError
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.clip import ClipSpec
from captionless.spec.plan import EMBED, PACK
from captionless.stages import chain
from captionless.stages.clip_model import FACT, clip_facts, clip_identity, load_clip
from captionless.stages.embedding_pipeline import embed_views
from captionless.stages.work_items import Counts, Outcome, Shard, WorkItem, WorkOutput, work
from captionless.store import objects
from captionless.store.embeddings import check_views
from captionless.store.ledger import Ledger
from captionless.store.manifest import WorkRecord
from captionless.store.packed import SUFFIXES, content_digest, embedded_rows, packed_objects, shard_file
from captionless.store.shards import ShardReader, encode_array, index_url, write_shard

_COPIED_AT_ONCE = 256


def run(spec: AlignmentSpec, shard: Shard = Shard()) -> Outcome:
    """Embeds the objects of this worker's shards."""
    made_from = chain.made_from(spec, "embed")
    packed = Ledger(objects.join(spec.root, PACK)).manifest()
    url = objects.join(spec.root, EMBED)
    ledger = Ledger(url, SUFFIXES, embedded_rows)
    embedder = Embedder(packed.url, url, spec.clip, spec.data.views, ledger)
    items = [embedder.work_item(name, record) for name, record in sorted(packed.records.items())]
    own = [items[i] for i in shard.range(len(items))]
    facts = partial(clip_facts, spec.clip, embedder.model, url)
    return work(
        "embed", "object", ledger, items, own, facts=facts, made_from=made_from, shard=shard, holds=packed_objects
    )


@dataclass
class _Shard:
    """What becomes of a shard's objects while it is written: notes on each, and how many were copied."""

    notes: dict[str, dict[str, str]] = field(default_factory=dict)
    categories: dict[str, str] = field(default_factory=dict)
    copied: int = 0


class Embedder:
    def __init__(self, source: str, url: str, spec: ClipSpec, views: int, ledger: Ledger):
        self.source, self.url, self.spec, self.views, self.ledger = source, url, spec, views, ledger
        self.model = clip_identity(spec)
        self.identity = self.model.embeddings
        self._clip: openclip.Clip | None = None

    def work_item(self, name: str, packed: WorkRecord) -> WorkItem:
        source = packed.facts["shard"]
        fingerprint = self.fingerprint(packed)
        split, tar = packed.facts["split"], shard_file(name, fingerprint)

        def make(advance: Callable[[int], None]) -> WorkOutput:
            shard, before, done = ShardReader(objects.join(self.source, source)), self._before(name), _Shard()
            info = write_shard(objects.join(self.url, tar), self._samples(shard, before, done, advance), done.notes)
            gone = set(before.keys if before is not None else ()) - set(shard.keys)
            facts = {"split": split, "shard": tar, "objects": len(info.keys), FACT: self._weights(name, done.copied)}
            counts = Counts(len(info.keys) - done.copied, done.copied, len(gone))
            rows = _rows(split, tar, info.index, done)
            return WorkOutput({tar: info.sha256, index_url(tar): ""}, facts, counts, rows)

        return WorkItem(name, fingerprint, packed.facts["objects"], make)

    def fingerprint(self, packed: WorkRecord) -> str:
        """Of a shard, of everything it is made from."""
        sha256 = packed.files[packed.facts["shard"]]["sha256"]
        return objects.digest(chain.FORMATS[EMBED], sha256, self.identity)

    def made_of(self, packed: WorkRecord) -> dict[str, str]:
        """The digests of what a packed shard's objects are embedded from, by key."""
        shard = ShardReader(objects.join(self.source, packed.facts["shard"]))
        return {key: self._made(shard, key) for key in shard.keys}

    def _before(self, name: str) -> ShardReader | None:
        """The shard as it was last published, if it still is."""
        record = self.ledger.previous(name)
        if record is None or not objects.exists(url := objects.join(self.url, record.facts["shard"])):
            return None
        return ShardReader(url)

    def _weights(self, name: str, copied: int) -> str:
        """The digest of the weights that have embedded a shard, of which so many objects were copied."""
        before = self.ledger.previous(name)
        noted = str(before.facts.get(FACT, "")) if before is not None and copied else ""
        loaded = self._clip.digest if self._clip is not None else ""
        if noted and loaded and noted != loaded:
            raise DataError(
                f"{self.url}: {name} was embedded by the CLIP weights {noted[:12]}, but {self.spec.model} now has "
                f"{loaded[:12]} under the same name; delete {self.url} and rerun"
            )
        return loaded or noted

    def _made(self, shard: ShardReader, key: str) -> str:
        """The digest of what an object is embedded from; of one without notes, as earlier releases packed, nothing."""
        packed = shard.note(key, "content")
        return "" if packed is None else objects.digest(chain.FORMATS[EMBED], packed, self.identity)

    def _samples(
        self, shard: ShardReader, before: ShardReader | None, done: _Shard, advance: Callable[[int], None]
    ) -> Iterator[tuple[str, dict[str, bytes]]]:
        for start in range(0, len(shard.keys), _COPIED_AT_ONCE):
            some = shard.keys[start : start + _COPIED_AT_ONCE]
            copies = self._copies(some, shard, before)
            done.copied += len(copies)
            new = iter(self._embedded([key for key in some if key not in copies], shard))
            light = _light_members(shard, list(copies))
            for key in some:
                views, members = (copies[key], light[key]) if key in copies else next(new)
                points = hashlib.sha256(members["points.npy"]).hexdigest()
                if key in copies and before is not None and before.note(key, "points") != points:
                    raise shard.altered(key)  # the same digest of both was noted for the views that are copied
                done.categories[key] = str(json.loads(members["json"])["category"])
                done.notes[key] = {
                    "made": self._made(shard, key),
                    "views": hashlib.sha256(views).hexdigest(),
                    "points": points,
                }
                yield key, {"views.npy": views, "points.npy": members["points.npy"], "json": members["json"]}
                advance(1)

    def _copies(self, keys: Sequence[str], shard: ShardReader, before: ShardReader | None) -> dict[str, bytes]:
        """The embedded views of those objects that the earlier shard has as they would be made now, if undamaged."""
        if before is None:
            return {}
        same = [k for k in keys if k in before.index and before.note(k, "made") == self._made(shard, k) != ""]
        found = dict(zip(same, before.read_many(same, "views.npy"), strict=True))
        return {k: data for k, data in found.items() if hashlib.sha256(data).hexdigest() == before.note(k, "views")}

    def _embedded(self, keys: Sequence[str], shard: ShardReader) -> Iterator[tuple[bytes, Mapping[str, bytes]]]:
        if not keys:
            return
        if self._clip is None:
            self._clip = load_clip(self.spec, self.model)
        samples = shard.samples() if len(keys) == len(shard.keys) else _some(shard, keys)
        for found in embed_views(self._clip, samples, self.views, self.spec.batch_size, shard.url):
            views = found.rows.astype(np.float16)
            check_views(views, found.key, shard.url)
            yield encode_array(views), found.members


def _some(shard: ShardReader, keys: Sequence[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Some of a shard's samples, a few at a time, each checked against the digest that pack noted."""
    for start in range(0, len(keys), 16):
        for key, members in shard.members(keys[start : start + 16]).items():
            noted = shard.note(key, "content")
            if noted is not None and content_digest(members) != noted:
                raise shard.altered(key)
            yield key, members


def _light_members(shard: ShardReader, keys: Sequence[str]) -> dict[str, dict[str, bytes]]:
    """What is copied of packed objects whose views need not be read."""
    found: dict[str, dict[str, bytes]] = {key: {} for key in keys}
    for name in ("points.npy", "json"):
        for key, data in zip(keys, shard.read_many(keys, name), strict=True):
            found[key][name] = data
    return found


def _rows(split: str, tar: str, index: Mapping[str, Mapping[str, Sequence[int]]], done: _Shard) -> dict[str, list[Any]]:
    """The shard's rows of `store.packed.embedded_rows`."""
    columns: dict[str, list[Any]] = {
        "key": list(index),
        "category": [done.categories[key] for key in index],
        "split": [split] * len(index),
        "shard": [tar] * len(index),
        "views": [done.notes[key]["views"] for key in index],
        "points": [done.notes[key]["points"] for key in index],
    }
    for name in ("views", "points"):
        for place, what in enumerate(("offset", "size")):
            columns[f"{name}_{what}"] = [members[f"{name}.npy"][place] for members in index.values()]
    return columns
