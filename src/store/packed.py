"""What pack and embed agree on: the names of their shards, the columns of their manifests' tables (see
`store.manifest`), and the digest by which embed knows what pack has made."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from captionless.errors import DataError
from captionless.store import objects
from captionless.store.ledger import Ledger
from captionless.store.manifest import WorkRecord
from captionless.store.shards import ShardReader

if TYPE_CHECKING:
    import pyarrow as pa

_FENCE = re.compile(r"(-[0-9a-f]{8})?\.tar$")

SUFFIXES = (".tar", ".index")
"""Of the files of a stage that writes shards."""

RENDERER, EARLIER_RENDERER = "captionless 4", "OpenGL"
"""What has read an object and drawn its views, as the index of its shard notes; the latter in runs of an earlier
release that were migrated. "captionless" came before materials were drawn as their authors meant them, "captionless 2"
before colours of single exporters were read as they mean them, "captionless 3" before enlarged texels had edges where
they should. A run keeps what it has, and says of which kinds it has
some (the fact `renderers`)."""


def shard_file(part: str, fingerprint: str) -> str:
    """The file of a part's shard below the stage's folder: another one whenever the fingerprint changes."""
    return f"{part.replace('-', '/', 1)}-{fingerprint[:8]}.tar"


def part_of(file: str) -> str:
    """The part whose shard a file is, in whichever stage's folder: the same for an object's packed and embedded one."""
    split, _, name = file.rpartition("/")
    return f"{split}-{_FENCE.sub('', name)}"


class PackedShards:
    """The shards of a finished pack stage. DataError if it is not."""

    def __init__(self, url: str) -> None:
        self._url, self._records = url, Ledger(url).manifest().records

    @lru_cache(maxsize=256)  # noqa: B019  # lives as long as a page is made
    def beside(self, embedded: str) -> ShardReader:
        """The packed shard of the objects of an embedded one, given by its file."""
        record = self._records.get(part_of(embedded))
        if record is None:
            raise DataError(f"{self._url}: has no shard of the objects of {embedded}; rerun pack and embed")
        return ShardReader(objects.join(self._url, record.facts["shard"]))

    def of(self, keys: Iterable[str]) -> dict[str, ShardReader]:
        """The shard of each of some keys that are packed."""
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = Ledger(self._url).manifest().rows(["key", "part", "reason"])
        wanted = rows.filter(pc.is_in(rows["key"], pa.array(list(keys), pa.string()))).to_pylist()
        return {
            row["key"]: ShardReader(objects.join(self._url, self._records[row["part"]].facts["shard"]))
            for row in wanted
            if not row["reason"]
        }


def content_digest(members: Mapping[str, bytes]) -> str:
    """The digest of a packed object's views and points: of what it is embedded from."""
    whole = hashlib.sha256()
    for name in sorted(members):
        if name != "json":
            whole.update(hashlib.sha256(members[name]).digest())
    return whole.hexdigest()


def renderers(records: Mapping[str, WorkRecord]) -> dict[str, list[str]]:
    """The fact of a finished pack stage: what has drawn its objects' views."""
    return {"renderers": sorted({name for record in records.values() for name in record.facts["renderers"]})}


def packed_objects(record: WorkRecord) -> int:
    """How many objects are in a part's shard."""
    return int(record.facts["objects"])


def packed_rows() -> pa.Schema:
    """An object's `reason` is why it was left out, empty if it was not. version: of its
    content, as it was listed. made: the digest of what it was rendered from.
    files: JSON, path, version and sha256 of each file that was read for it. faces, textured: of its mesh.
    losses: JSON, kind and detail of each thing that its file has and its mesh lacks; none if there is none, or if an
    earlier release has read it."""
    import pyarrow as pa

    return pa.schema(
        {
            "key": pa.string(),
            "category": pa.dictionary(pa.int32(), pa.string()),
            "split": pa.dictionary(pa.int32(), pa.string()),
            "part": pa.dictionary(pa.int32(), pa.string()),
            "reason": pa.string(),
            "version": pa.string(),
            "made": pa.binary(32),
            "files": pa.string(),
            "faces": pa.int64(),
            "textured": pa.bool_(),
            "losses": pa.string(),
        }
    )


def embedded_rows() -> pa.Schema:
    """views, points: sha256 of an object's members `views.npy` and `points.npy`, and where these are in its shard."""
    import pyarrow as pa

    return pa.schema(
        {
            "key": pa.string(),
            "category": pa.dictionary(pa.int32(), pa.string()),
            "split": pa.dictionary(pa.int32(), pa.string()),
            "shard": pa.dictionary(pa.int32(), pa.string()),
            "part": pa.dictionary(pa.int32(), pa.string()),
            "views": pa.binary(32),
            "points": pa.binary(32),
            "views_offset": pa.int64(),
            "views_size": pa.int64(),
            "points_offset": pa.int64(),
            "points_size": pa.int64(),
        }
    )
