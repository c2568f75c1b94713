"""embed: packed shards -> shards of view embeddings and point clouds, the input of training.

    embed/<split>/00000.tar    per object: views.npy (R, F) float16, points.npy, json

Views are decoded in threads while the model embeds the shard's batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from captionless.clip import openclip
from captionless.errors import DataError
from captionless.runtime.thread_pools import thread_pool
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.clip import ClipSpec
from captionless.spec.plan import EMBED, PACK
from captionless.stages.clip_model import clip_identity, load_clip
from captionless.stages.work_items import Outcome, Shard, WorkItem, WorkOutput, work
from captionless.store import objects
from captionless.store.embeddings import check_views
from captionless.store.ledger import Ledger
from captionless.store.shards import ShardReader, encode_array, index_url, write_shard
from captionless.store.views import decode_view, on_white, view_name

VERSION = 1
_OBJECTS_AT_ONCE = 32


def run(spec: AlignmentSpec, shard: Shard = Shard()) -> Outcome:
    """Embeds this worker's shards."""
    packed = Ledger(objects.join(spec.root, PACK)).manifest()
    url = objects.join(spec.root, EMBED)
    model = clip_identity(spec.clip)
    embedder = _Embedder(packed.url, url, spec.clip, spec.data.views)
    items = [
        embedder.work_item(name, record.facts, objects.digest(VERSION, record.facts["sha256"], model))
        for name, record in sorted(packed.records.items())
    ]
    return work("embed", "object", Ledger(url), items, shard.of(items))


class _Embedder:
    def __init__(self, source: str, url: str, spec: ClipSpec, views: int):
        self.source, self.url, self.spec, self.views = source, url, spec, views
        self._clip: openclip.Clip | None = None

    def work_item(self, name: str, packed: Mapping[str, Any], fingerprint: str) -> WorkItem:
        categories = {o["key"]: o["category"] for o in packed["objects"]}

        def make(advance: Callable[[int], None]) -> WorkOutput:
            if self._clip is None:
                self._clip = load_clip(self.spec)
            digests: dict[str, dict[str, str]] = {}
            tar = packed["shard"]
            info = write_shard(objects.join(self.url, tar), self._samples(tar, digests, advance))
            facts = {
                "split": packed["split"],
                "shard": tar,
                "clip": self._clip.digest,
                "objects": [{"key": k, "category": categories[k], **d} for k, d in digests.items()],
            }
            return WorkOutput({tar: info.sha256, index_url(tar): ""}, facts)

        return WorkItem(name, fingerprint, len(categories), make)

    def _samples(
        self, tar: str, digests: dict[str, dict[str, str]], advance: Callable[[int], None]
    ) -> Iterator[tuple[str, dict[str, bytes]]]:
        assert self._clip is not None
        where = objects.join(self.source, tar)
        names = [view_name(i) for i in range(self.views)]

        def decode(item: tuple[str, dict[str, bytes]]) -> tuple[str, dict[str, bytes], np.ndarray[Any, Any]]:
            key, members = item
            missing = [n for n in names if n not in members]
            if missing:
                raise DataError(f"{where}: object {key!r} has no {missing[0]}; expected {self.views} views")
            return key, members, on_white(np.stack([decode_view(members[n], f"{where}: {key}.{n}") for n in names]))

        with thread_pool(2) as pool:
            batch: list[Any] = []
            for decoded in _ahead(pool, decode, ShardReader(where).samples(), _OBJECTS_AT_ONCE):
                batch.append(decoded)
                if len(batch) == _OBJECTS_AT_ONCE:
                    yield from self._embed(batch, where, digests, advance)
                    batch = []
            yield from self._embed(batch, where, digests, advance)

    def _embed(
        self, batch: list[Any], where: str, digests: dict[str, dict[str, str]], advance: Callable[[int], None]
    ) -> Iterator[tuple[str, dict[str, bytes]]]:
        assert self._clip is not None
        if not batch:
            return
        pixels = np.concatenate([views for _, _, views in batch])
        embedded = self._clip.images(pixels, self.spec.batch_size).reshape(len(batch), self.views, -1)
        for (key, members, _), rows in zip(batch, embedded, strict=True):
            views = rows.astype(np.float16)
            check_views(views, key, where)
            stored = {"views.npy": encode_array(views), "points.npy": members["points.npy"], "json": members["json"]}
            digests[key] = {
                "views": hashlib.sha256(stored["views.npy"]).hexdigest(),
                "points": hashlib.sha256(stored["points.npy"]).hexdigest(),
            }
            yield key, stored
            advance(1)


def _ahead(pool: ThreadPoolExecutor, function: Callable[[Any], Any], items: Iterator[Any], depth: int) -> Iterator[Any]:
    """A threaded `map` that prefetches at most `depth` items."""
    waiting: list[Any] = []
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= depth:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()
