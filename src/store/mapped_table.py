"""A table of objects in a local file that several processes map: it is made once, and takes its memory once.

An Arrow file of one batch, so that columns are used as they lie there; the digest of all objects is in its metadata.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from captionless.store.columns import Named, Strings
from captionless.store.object_table import ObjectTable

_DIGEST = b"digest"


def mapped(folder: str, identity: str, make: Callable[[], ObjectTable]) -> ObjectTable:
    """The table that `make` makes, which one process does for all; others wait for it.

    folder: on a local disk, of nobody else's. identity: says what table it is.
    """
    path = os.path.join(folder, f"objects-{hashlib.sha256(identity.encode()).hexdigest()[:32]}.arrow")
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(path):
            _write(f"{path}.partial", make())
            os.replace(f"{path}.partial", path)
    return _map(path)


def _write(path: str, table: ObjectTable) -> None:
    columns = {
        "key": table.keys.column,
        "category": _dictionary(table.categories),
        "shard": _dictionary(table.shards),
        "views": _fixed(table.views),
        "points": _fixed(table.points),
        **{name: pa.array(places) for name, places in table.places.items()},
    }
    batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    batch = batch.replace_schema_metadata({_DIGEST: table.digest().encode()})
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)


def _map(path: str) -> ObjectTable:
    with pa.memory_map(path) as file:  # the columns keep the mapping
        reader = pa.ipc.open_file(file)
        batch = reader.get_batch(0)
    digest = batch.schema.metadata[_DIGEST].decode()
    places = {name: batch[name].to_numpy() for name in batch.schema.names[5:]}
    return ObjectTable(
        Strings(batch["key"]),
        _named(batch["category"]),
        _named(batch["shard"]),
        _digests(batch["views"]),
        _digests(batch["points"]),
        places,
        digest,
    )


def _dictionary(column: Named) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(column.codes), pa.array(column.names, pa.large_string()))


def _named(column: Any) -> Named:
    return Named(column.dictionary.to_pylist(), column.indices.to_numpy())


def _fixed(digests: NDArray[np.uint8]) -> pa.Array:
    data = pa.py_buffer(np.ascontiguousarray(digests))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(digests), [None, data])


def _digests(column: Any) -> NDArray[np.uint8]:
    return np.frombuffer(column.buffers()[1], np.uint8).reshape(-1, 32)[: len(column)]
