"""The sealed listing of a run's objects: which there are, and of each its split, its shard and its content's
version.

    list/objects-<digest>.parquet   a row an object, sorted by shard and key
    list/removed-<digest>.parquet   what was listed once, for `list` and `prune` (`stages.listing.removed`)
    list/manifest.json              see `ledger`: the shards, each with the fingerprint of its rows

Row groups hold whole shards, so that a worker reads the rows of its own shards by a ranged read or two, however many
objects there are. Objects that were left out have rows as well, first and without a shard: `verdict` names the gate
that dropped them, `reason` says why. A row's split never changes once it is published.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from captionless.errors import DataError
from captionless.mesh import Up
from captionless.store import objects
from captionless.store.atomic_writes import store_file
from captionless.store.ledger import Ledger

if TYPE_CHECKING:
    import pyarrow as pa

    from captionless.store.table import TableInfo, TableReader

Split = Literal["train", "test"]

VERDICTS = ("name", "denied", "filter", "licence", "duplicate", "category")
"""What may drop an object, in the order in which it is asked."""

TABLE = "objects"
"""The part of the stage that is the table; the others are the shards."""

REMOVED = "removed"
"""What the name of that part's other file begins with."""


@dataclass(frozen=True)
class ObjectRef:
    """An object's name and what is known before reading it.

    key: unique in its source, and a valid WebDataset key (no dot in its last segment).
    source, licence: its origin and terms of use, as the source states them.
    text, attributes: its structure in words, where the source knows it. url: its file.
    up: its file's up axis, where the source states it; None for the one of the file's format.
    """

    key: str
    category: str
    split: Split
    source: str
    licence: str
    text: str | None = None
    attributes: dict[str, str] | None = None
    url: str | None = None
    up: Up | None = None


@dataclass(frozen=True)
class ListedObject:
    """An object of a listing, and the version of its content: a text that changes when its content does."""

    ref: ObjectRef
    version: str

    @property
    def key(self) -> str:
        return self.ref.key

    @property
    def up(self) -> Up | None:
        return self.ref.up


@dataclass(frozen=True)
class ListedShard:
    """A shard of the listing: `<split>-<number>`, how many objects it has, the fingerprint of their rows, and the row
    group that they are in."""

    name: str
    fingerprint: str
    objects: int
    group: int

    @property
    def split(self) -> str:
        return self.name.partition("-")[0]


class Listing:
    """A published listing for reading; the rows are read when they are asked for.

    facts: of the listing as a whole, as `stages.listing.summary` has them. digest: of all of it. file: the table's
    name. size: its bytes. removed: the file of what was listed once, as its record has it; empty if there is none.
    """

    def __init__(
        self,
        url: str,
        shards: Sequence[ListedShard],
        facts: Mapping[str, Any],
        digest: str,
        file: str,
        size: int,
        removed: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ):
        self.url, self.shards, self.facts, self.digest = url, tuple(shards), facts, digest
        self.removed = removed
        self._table_url, self._size = objects.join(url, file), size
        self._held: tuple[int, pa.Table] | None = None

    @property
    def table_url(self) -> str:
        """The file of the table."""
        return self._table_url

    @property
    def removed_url(self) -> str | None:
        """The file of what was listed once, if there is one."""
        return next((objects.join(self.url, name) for name in self.removed), None)

    @property
    def objects(self) -> int:
        """How many objects there are, without those that were left out."""
        return sum(shard.objects for shard in self.shards)

    @property
    def categories(self) -> list[str]:
        """The categories of these objects, sorted."""
        return sorted(self.facts["categories"])

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many objects each category has in each split."""
        return {name: {"train": train, "test": test} for name, (train, test) in self.facts["categories"].items()}

    @cached_property
    def reader(self) -> TableReader:
        """The table, opened."""
        from captionless.store.table import TableReader

        try:
            return TableReader(self._table_url, self._size)
        except FileNotFoundError:
            raise DataError(f"{self._table_url}: missing; rerun `captionless list`") from None

    def rows(self, shard: ListedShard) -> list[ListedObject]:
        """A shard's objects, sorted by key. Neighbouring shards share a ranged read."""
        import pyarrow.compute as pc

        if self._held is None or self._held[0] != shard.group:
            self._held = (shard.group, self.reader.read(_OF_OBJECTS, [shard.group]))
        table = self._held[1]
        return _listed(table.filter(pc.equal(table["shard"], shard.name)))

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All rows, those of left-out objects first, some at a time."""
        return self.reader.batches(columns)


_OF_OBJECTS = (
    "key", "category", "split", "shard", "source", "licence", "text", "attributes", "url", "up", "version",
)  # fmt: skip


def open_listing(url: str) -> Listing:
    """The listing in a run's folder `list`. DataError when there is none."""
    manifest = Ledger(url).manifest()
    if TABLE not in manifest.records:
        raise DataError(f"{url}: not a listing; delete it and rerun `captionless list`")
    files = manifest.records[TABLE].files
    removed = {name: files[name] for name in files if name.startswith(f"{REMOVED}-")}
    ((file, stored),) = ((name, files[name]) for name in files if name not in removed)
    shards = [
        ListedShard(name, record.fingerprint, record.facts["objects"], record.facts["group"])
        for name, record in sorted(manifest.records.items())
        if name != TABLE
    ]
    return Listing(url, shards, manifest.own, manifest.digest, file, int(stored["size"]), removed)


def store_table(url: str, name: str, path: str, table: TableInfo) -> dict[str, dict[str, Any]]:
    """Stores a local table in a listing's folder, named by its content; the file as its record is to have it."""
    file = f"{name}-{table.sha256[:16]}.parquet"
    target = objects.join(url, file)
    if objects.size(target) != table.bytes:
        store_file(target, path)
    return {file: {"size": table.bytes, "sha256": table.sha256}}


def _listed(table: pa.Table) -> list[ListedObject]:
    found = []
    for row in table.to_pylist():
        attributes = None if row["attributes"] is None else json.loads(row["attributes"])
        ref = ObjectRef(
            row["key"], row["category"], row["split"], row["source"], row["licence"], row["text"], attributes,
            row["url"], row["up"],
        )  # fmt: skip
        found.append(ListedObject(ref, row["version"]))
    return found


def listing_rows() -> pa.Schema:
    """The columns of the table.

    url: without signatures; null if the object has no file. size: bytes of its file, -1 if unknown. attributes: a JSON
    object, or null. token, content, files: what the next listing compares with. `token` is the version of the object's
    own file, `content` its sha256 or ETag where one was needed or known, and `files` lists path, version and sha256 of
    the object's files, where these were written again since pack has read them, but with the same content.
    """
    import pyarrow as pa

    name = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        {
            "key": pa.string(), "category": name, "split": name, "shard": name, "url": pa.string(),
            "version": pa.string(), "size": pa.int64(), "source": name, "licence": name, "text": pa.string(),
            "attributes": pa.string(), "up": name, "verdict": name, "reason": pa.string(),
            "token": pa.string(), "content": pa.string(), "files": pa.string(),
        }
    )  # fmt: skip
