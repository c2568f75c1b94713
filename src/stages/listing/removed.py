"""What was listed once and is not any more: of each object its split, for good, and for a while its key.

    list/removed-<digest>.parquet    a row an object: its key's `hash` (`layout.order_of`), by which they are sorted,
                                     `split`, and `hex`, its key in hexadecimal

An object that comes back gets the split that it had, since it may have shaped the weights. The keys are what pruning
searches for, and written so that who searches the run's files for one finds it only where it should not be. Once
pruning has proved that nothing names them, it empties them, so that of what was taken down no name is left. The file
belongs to the same part of the stage as the listing's table, with which it is published, but is no part of what the
listing says: the listing's digest stays the same. Where nothing was removed there is no file, and it is read only where
something is new or removed.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.runtime import temporary_files
from captionless.stages.listing.gathered import Gathered
from captionless.stages.listing.layout import NONE, SPLITS, order_of
from captionless.store.ledger import Ledger
from captionless.store.listing import REMOVED, TABLE, Listing, open_listing, store_table
from captionless.store.table import GROUP_ROWS, TableReader, write_table

_NAME = pa.dictionary(pa.int32(), pa.string())
ROWS = pa.schema({"hash": pa.uint64(), "split": _NAME, "key": pa.string()})
_STORED = pa.schema({"hash": pa.uint64(), "split": _NAME, "hex": pa.string()})


def rows_of(batch: pa.Table) -> pa.Table:
    """The rows of objects that are not listed any more; batch: their rows in the listing."""
    hashes = pa.array(map(order_of, batch["key"].to_pylist()), pa.uint64())
    splits = batch["split"].cast(pa.string()).dictionary_encode()
    return pa.table([hashes, splits.cast(_NAME), batch["key"]], schema=ROWS)


def renewed(listing: Listing, gone: pa.Table, gathered: Gathered, splits: NDArray[np.int8]) -> pa.Table | None:
    """What is to be recorded when `gone` are no longer listed; None if it is what `listing` has recorded.

    splits: (n,) of what was gathered, NONE for what is new; filled in for objects that are back.
    """
    new = np.flatnonzero(splits == NONE)
    if not len(gone) and (listing.removed_url is None or not len(new)):
        return None
    before = read(listing)
    hashes = before["hash"].to_numpy()
    if len(hashes) and len(new):
        at = np.searchsorted(hashes, gathered.order[new]).clip(max=len(hashes) - 1)
        back = hashes[at] == gathered.order[new]
        at, new = at[back], new[back]
        splits[new] = [SPLITS.index(split) for split in before["split"].take(pa.array(at)).to_pylist()]
        before = before.filter(pa.array(~np.isin(np.arange(len(before)), at)))
    # Of two objects of the same key the last one counts: those that were left out come first.
    rows = pa.concat_tables([before, gone]).combine_chunks()
    rows = rows.take(pa.array(np.arange(len(rows))[::-1]))
    _, order = np.unique(rows["hash"].to_numpy(), return_index=True)
    return rows.take(pa.array(order))


def read(listing: Listing) -> pa.Table:
    """The rows beside a listing."""
    url = listing.removed_url
    if url is None:
        return ROWS.empty_table()
    try:
        stored = TableReader(url).read(_STORED.names).cast(_STORED)
    except FileNotFoundError:
        raise DataError(f"{url}: missing; restore it: it says in which split objects were that may come back") from None
    return _with(stored, [text and bytes.fromhex(text).decode() for text in stored["hex"].to_pylist()], ROWS)


def keys(listing: Listing) -> set[str]:
    """The keys that pruning has not proved to be gone."""
    return {key for key in read(listing)["key"].to_pylist() if key is not None}


def store(url: str, scratch: str, rows: pa.Table) -> dict[str, dict[str, Any]]:
    """Stores the table beside the listing under `url`; its file as the record has it, none if there are no rows.
    scratch: a folder for temporary files."""
    if not len(rows):
        return {}
    path = os.path.join(scratch, "removed.parquet")
    rows = _with(rows, [key and key.encode().hex() for key in rows["key"].to_pylist()], _STORED)
    parts = (rows.slice(start, GROUP_ROWS) for start in range(0, len(rows), GROUP_ROWS))
    return store_table(url, REMOVED, path, write_table(path, parts, _STORED))


def _with(rows: pa.Table, texts: list[str | None], schema: pa.Schema) -> pa.Table:
    """The rows with other texts in the last column."""
    return pa.table([*rows.columns[:-1], pa.chunked_array([pa.array(texts, pa.string())])], schema=schema)


def forget_keys(url: str) -> None:
    """Empties the keys beside the listing under `url`, and changes nothing else. To be called under its lease."""
    ledger, listing = Ledger(url, (".parquet",)), open_listing(url)
    rows = read(listing)
    if rows["key"].null_count == len(rows):
        return
    rows = _with(rows, [None] * len(rows), ROWS)
    with tempfile.TemporaryDirectory(prefix=temporary_files.prefix()) as scratch:
        stored = store(url, scratch, rows)
    manifest = ledger.manifest()
    table = manifest.records[TABLE]
    files = {name: file for name, file in table.files.items() if name not in listing.removed}
    records = {**manifest.records, TABLE: replace(table, files={**files, **stored})}
    ledger.publish(records, manifest.own, manifest.header.made_from)
