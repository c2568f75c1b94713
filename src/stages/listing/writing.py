"""The listing's table: rows dealt to buckets of neighbouring shards, which are sorted and settled in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from captionless.runtime.redaction import public_address
from captionless.stages.listing.before import RECORDS, Before, deal_records
from captionless.stages.listing.gathered import KEPT, ROWS, Gathered, LookUp
from captionless.stages.listing.layout import NONE, SPLITS, Layout, Numbers, shard_name
from captionless.stages.listing.versions import Listed, Settled, settle, text
from captionless.store import objects
from captionless.store.listing import VERDICTS, ListedShard, Listing, listing_rows
from captionless.store.spill import Spill
from captionless.store.table import GROUP_ROWS, Groups, TableInfo, write_table

_BUCKET = 100_000
"""Objects that are sorted in memory."""

_DROPPED = -1  # instead of a shard's number
_DEALT = ROWS.append(pa.field("place", pa.int64()))
_OF_FINGERPRINT = ("key", "category", "source", "licence", "text", "attributes", "up")
"""What a shard's fingerprint covers of its rows, beside the versions: all that is packed of an object."""

_MD5_DIGITS = 32


@dataclass
class Written:
    """What was written, and how many kept objects are as they were in the previous listing.

    content: a digest of what the table says to readers, without what only the next listing compares with: that changes
    when pack has noted which files it read, and nothing needs to be made again for it.
    """

    table: TableInfo
    content: str
    shards: list[ListedShard] = field(default_factory=list)
    unchanged: int = 0


def write_listing(
    path: str,
    gathered: Gathered,
    layout: Layout,
    before: Before,
    previous: Listing | None,
    pack: str | None,
    look_up: LookUp,
    read: Callable[[str, str], bytes | None],
) -> Written:
    """Writes the table of what was gathered to a local file.

    previous: the listing before. pack: that stage's folder, if any. look_up: finds files. read: see `versions.settle`.
    """
    order = _shard_order(layout, gathered.kept)
    buckets = _buckets(gathered, order)
    count = int(buckets.max(initial=0)) + 1
    shards: list[ListedShard] = []
    unchanged, groups, dropped = 0, Groups(GROUP_ROWS), hashlib.sha256()

    def batches(rows: Spill, records: Spill) -> Iterator[pa.Table]:
        nonlocal unchanged
        for bucket in range(count):
            table = _sorted(rows.read(bucket), order)
            places = table["place"].to_numpy()
            if not len(places):
                continue
            codes = order[places]
            if codes[0] == _DROPPED:
                settled = [Settled(text(token)) for token in gathered.tokens[places].tolist()]
            else:
                listed = zip(
                    table["key"].to_pylist(), table["url"].to_pylist(), gathered.tokens[places].tolist(), strict=True
                )
                settled = settle(
                    [Listed(*each) for each in listed], records.read(bucket), gathered.files, look_up, read
                )
                versions = np.array([int(one.version, 16) for one in settled], np.uint64)
                unchanged += int(((versions == before.versions[places]) & (before.shards[places] != NONE)).sum())
            finished = _finished(table, places, settled, gathered, layout)
            ends = [*(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
            start = 0
            for end in ends:
                part = finished.slice(start, end - start)
                if codes[start] == _DROPPED:
                    for at in range(0, len(part), GROUP_ROWS):
                        groups.place(len(some := part.slice(at, GROUP_ROWS)))
                        dropped.update(_fingerprint(some, (*_OF_FINGERPRINT, "verdict", "reason")).encode())
                        yield some
                else:
                    name = part["shard"][0].as_py()
                    shards.append(ListedShard(name, _fingerprint(part), len(part), groups.place(len(part))))
                    yield part
                start = end

    with Spill(_DEALT, count) as rows, Spill(RECORDS, count) as records:
        for where, batch in gathered.batches():
            numbered = batch.append_column("place", pa.array(np.arange(where.start, where.stop)))
            rows.deal(numbered, buckets[where])
        deal_records(gathered, buckets, previous, pack, records)
        table = write_table(path, batches(rows, records), listing_rows())
    content = objects.digest([(shard.name, shard.fingerprint) for shard in shards], dropped.hexdigest())
    return Written(table, content, shards, unchanged)


def _shard_order(layout: Layout, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n,) numbers that order the objects as their shards' names do; `_DROPPED` for those that are in none."""
    rank = np.array([sorted(SPLITS).index(name) for name in SPLITS])
    found: NDArray[np.int64] = np.where(kept, (rank[layout.splits] << 32) + layout.shards, _DROPPED)
    return found


def _buckets(gathered: Gathered, order: NDArray[np.int64]) -> Numbers:
    """(n,) the bucket of each object, in the order of the table: dropped ones by key, then whole shards."""
    found = np.zeros(len(order), np.int32)
    dropped = np.flatnonzero(order == _DROPPED)
    by_key = pc.sort_indices(gathered.keys.take(pa.array(dropped))).to_numpy()
    found[dropped[by_key]] = np.arange(len(dropped)) // _BUCKET
    first = -(-len(dropped) // _BUCKET)
    codes, counts = np.unique(order[order != _DROPPED], return_counts=True)
    of_code = first + (np.cumsum(counts) - counts) // _BUCKET
    kept = order != _DROPPED
    found[kept] = of_code[np.searchsorted(codes, order[kept])]
    return found


def _sorted(rows: pa.Table, order: NDArray[np.int64]) -> pa.Table:
    keys = pa.table({"code": pa.array(order[rows["place"].to_numpy()]), "key": rows["key"]})
    return rows.take(pc.sort_indices(keys, sort_keys=[("code", "ascending"), ("key", "ascending")]))


def _finished(
    table: pa.Table, places: NDArray[np.int64], settled: list[Settled], gathered: Gathered, layout: Layout
) -> pa.Table:
    """The rows as the listing has them."""
    splits, shards = layout.splits[places].tolist(), layout.shards[places].tolist()
    verdicts = gathered.verdict[places].tolist()
    columns: dict[str, Any] = {
        **{name: table[name] for name in ("key", "category", "source", "licence", "text", "attributes", "up")},
        "split": [SPLITS[split] for split in splits],
        "shard": [
            shard_name(split, shard) if verdict == KEPT else ""
            for split, shard, verdict in zip(splits, shards, verdicts, strict=True)
        ],
        "url": [url if url is None else public_address(url) for url in table["url"].to_pylist()],
        "version": [one.version for one in settled],
        "size": gathered.sizes[places],
        "verdict": ["" if verdict == KEPT else VERDICTS[verdict - 1] for verdict in verdicts],
        "reason": [
            layout.reasons.get(place) or reason
            for place, reason in zip(places.tolist(), table["reason"].to_pylist(), strict=True)
        ],
        "token": [text(token) for token in gathered.tokens[places].tolist()],
        "content": [_content(digest) for digest in layout.contents[places]],
        "files": [one.files for one in settled],
    }
    arrays = []
    for column in listing_rows():
        values = columns[column.name]
        array = values if isinstance(values, pa.ChunkedArray) else pa.array(values)
        arrays.append(array.cast(column.type))
    return pa.Table.from_arrays(arrays, schema=listing_rows())


def _content(digest: NDArray[np.uint8]) -> str | None:
    digits = digest.tobytes().hex()
    if not digits.strip("0"):
        return None
    return digits if digits[_MD5_DIGITS:].strip("0") else digits[:_MD5_DIGITS]


def _fingerprint(rows: pa.Table, of: Sequence[str] = (*_OF_FINGERPRINT, "version")) -> str:
    digest = hashlib.sha256()
    columns = [rows[name].to_pylist() for name in of]
    for row in zip(*columns, strict=True):
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()
