"""What is known of the objects from before: the previous listing's seal, and the files that pack has read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from captionless.stages.listing import removed
from captionless.stages.listing.duplicates import Digests
from captionless.stages.listing.gathered import Gathered
from captionless.stages.listing.layout import NONE, SPLITS, Numbers, shard_of
from captionless.store.listing import Listing
from captionless.store.manifest import read_header
from captionless.store.spill import Spill
from captionless.store.table import TableReader

DIGEST_BYTES = 32

RECORDS = pa.schema({"key": pa.string(), "version": pa.string(), "files": pa.string(), "by_list": pa.bool_()})
"""What is recorded of an object's files: by pack when it read them, or by the previous listing, which found them
written again with the same content. files: JSON, a list of path, version and sha256. version: that of the object
then."""


@dataclass(frozen=True)
class Before:
    """The previous listing, as arrays (n,) in the order of what was gathered.

    splits: as they are sealed, NONE where nothing is. shards: NONE for what was not in one. versions: as numbers, 0 for
    none. contents: what is known of the files' content, zeros where nothing is. packable: how many objects it had,
    those that are gone included. removed: see `removed.renewed`.
    """

    splits: NDArray[np.int8]
    shards: Numbers
    versions: NDArray[np.uint64]
    contents: Digests
    packable: int
    removed: pa.Table | None = None


def read_before(gathered: Gathered, listing: Listing | None) -> Before:
    """What the previous listing says of the gathered objects, and of those that are gone."""
    count = len(gathered)
    found = Before(
        np.full(count, NONE, np.int8), np.full(count, NONE, np.int32), np.zeros(count, np.uint64),
        np.zeros((count, DIGEST_BYTES), np.uint8), 0 if listing is None else listing.objects,
    )  # fmt: skip
    if listing is None:
        return found
    gone = [removed.ROWS.empty_table()]
    for batch in listing.batches(["key", "split", "shard", "version", "token", "content"]):
        places = gathered.places(batch["key"])
        if (places < 0).any():
            gone.append(removed.rows_of(batch.filter(pa.array(places < 0))))
        rows = np.flatnonzero(places >= 0)
        for place, row in zip(places[rows].tolist(), batch.take(pa.array(rows)).to_pylist(), strict=True):
            found.splits[place] = SPLITS.index(row["split"])
            found.shards[place] = shard_of(row["shard"])[1] if row["shard"] else NONE
            found.versions[place] = int(row["version"], 16)
            if row["content"] and int(row["token"], 16) == int(gathered.tokens[place]):
                content = bytes.fromhex(row["content"])
                found.contents[place, : len(content)] = np.frombuffer(content, np.uint8)
    return replace(found, removed=removed.renewed(listing, pa.concat_tables(gone), gathered, found.splits))


def deal_records(gathered: Gathered, buckets: Numbers, listing: Listing | None, pack: str | None, spill: Spill) -> None:
    """Deals what is recorded of the objects' files to the buckets of the objects. pack: that stage's folder, if any."""
    for batch in _recorded(listing, pack):
        places = gathered.places(batch["key"])
        spill.deal(batch, np.where(places >= 0, buckets[places], NONE))


def _recorded(listing: Listing | None, pack: str | None) -> Iterator[pa.Table]:
    header = read_header(pack)[0] if pack is not None else None
    if header is not None and header.rows_url is not None:
        reader = TableReader(header.rows_url)
        if {"version", "files"} <= set(reader.schema.names):
            for batch in reader.batches(["key", "version", "files"]):
                yield _records(batch, by_list=False)
    for batch in listing.batches(["key", "version", "files"]) if listing is not None else ():
        yield _records(batch, by_list=True)


def _records(batch: pa.Table, by_list: bool) -> pa.Table:
    known = batch.filter(pc.is_valid(batch["files"]))
    return known.append_column("by_list", pa.array([by_list] * len(known), pa.bool_())).cast(RECORDS)
