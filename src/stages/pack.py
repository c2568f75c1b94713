"""pack: objects of a source -> shards of rendered views and point clouds.

    pack/<split>/00000.tar    per object: view00.webp ... (RGBA, alpha is the mask), points.npy, json

Objects are assigned to a power-of-two number of shards by a hash of their key, so that a
new object changes one shard only. Broken objects are skipped and named; more than
`data.maxSkipped` of them fail the stage.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from captionless.errors import DataError
from captionless.precompute.sources import ObjectRef, Source, open_source
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.data import DataSpec
from captionless.spec.plan import PACK
from captionless.stages import broken
from captionless.stages.work_items import Outcome, Shard, WorkItem, WorkOutput, work
from captionless.store import objects
from captionless.store.ledger import Ledger, WorkRecord
from captionless.store.shards import encode_array, index_url, write_shard
from captionless.store.views import encode_view, view_name
from captionless.telemetry import catalog, registry

if TYPE_CHECKING:
    from captionless.precompute.render import Renderer

VERSION = 1
"""Of the shards' contents: increase it when the same source would give other bytes."""


def shard_count(count: int, per_shard: int) -> int:
    """The power of two of shards nearest to `count / per_shard`, at least 1."""
    return 1 << round(math.log2(max(1.0, count / per_shard)))


def _bucket(key: str, shards: int) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % shards


def run(spec: AlignmentSpec, shard: Shard = Shard()) -> Outcome:
    """Renders and samples this worker's shards."""
    url = objects.join(spec.root, PACK)
    objects.check(url)
    registry.add(catalog.STAGE_SKIPPED_OBJECTS, 0, cause="broken")
    source = open_source(spec.data)
    packer = _Packer(url, spec.data, source)
    items = list(packer.items())

    def check(records: Mapping[str, WorkRecord]) -> None:
        broken.refuse([s for item in items for s in records[item.name].facts["skipped"]], spec.data.max_skipped)

    return work("pack", "object", Ledger(url), items, shard.of(items), check)


class _Packer:
    def __init__(self, url: str, data: DataSpec, source: Source):
        self.url, self.data, self.source = url, data, source
        self._renderer: Renderer | None = None

    def items(self) -> Iterator[WorkItem]:
        refs = self.source.refs()
        if not refs:
            raise DataError(f"data.source: {self.data.source.url or self.data.source.kind}: has no objects")
        for split in ("train", "test"):
            members = [r for r in refs if r.split == split]
            if not members:
                continue
            buckets: dict[int, list[ObjectRef]] = {}
            for ref in members:
                buckets.setdefault(_bucket(ref.key, shard_count(len(members), self.data.shard_objects)), []).append(ref)
            for number, held in sorted(buckets.items()):
                yield self._work_item(split, number, held)

    def _work_item(self, split: str, number: int, refs: Sequence[ObjectRef]) -> WorkItem:
        d = self.data
        known: list[list[object]] = []
        for ref in refs:
            made_from = broken.content(self.source, ref)
            known.append([ref.key, ref.category, ref.source, ref.licence, ref.text, made_from])
        fingerprint = objects.digest(VERSION, d.views, d.image_size, d.elevation, d.points, known)
        tar = f"{split}/{number:05d}.tar"

        def make(advance: Callable[[int], None]) -> WorkOutput:
            skipped: list[dict[str, str]] = []
            info = write_shard(objects.join(self.url, tar), self._samples(refs, skipped, advance))
            facts = {
                "split": split, "shard": tar, "sha256": info.sha256, "skipped": skipped,
                "objects": [{"key": r.key, "category": r.category} for r in refs if r.key in set(info.keys)],
            }  # fmt: skip
            return WorkOutput({tar: info.sha256, index_url(tar): ""}, facts)

        return WorkItem(f"{split}-{number:05d}", fingerprint, len(refs), make)

    def _samples(
        self, refs: Sequence[ObjectRef], skipped: list[dict[str, str]], advance: Callable[[int], None]
    ) -> Iterator[tuple[str, dict[str, bytes]]]:
        for ref in refs:
            try:
                sample = self._sample(ref)
            except DataError as error:
                skipped.append({"key": ref.key, "reason": str(error)})
                registry.add(catalog.STAGE_SKIPPED_OBJECTS, cause="broken")
            else:
                yield ref.key, sample
            advance(1)
        broken.refuse(skipped, self.data.max_skipped)

    def _sample(self, ref: ObjectRef) -> dict[str, bytes]:
        loaded = self.source.load(ref)
        if loaded.mesh is None:
            raise DataError("has points but no mesh, so that no views can be rendered")
        from captionless.precompute.pointcloud import cloud  # heavy, and needed only where there is work

        if self._renderer is None:
            from captionless.precompute.render import Renderer

            self._renderer = Renderer(self.data.views, self.data.image_size, self.data.elevation)
        points = cloud(loaded.mesh, self.data.points, ref.key)
        views = self._renderer.render(loaded.mesh)
        about = {
            "key": ref.key, "category": ref.category, "split": ref.split, "source": ref.source,
            "licence": ref.licence, "text": ref.text, "attributes": ref.attributes,
        }  # fmt: skip
        members = {view_name(i): encode_view(v) for i, v in enumerate(views)}
        members["points.npy"] = encode_array(points)
        members["json"] = json.dumps(about, sort_keys=True, ensure_ascii=False).encode()
        return members
