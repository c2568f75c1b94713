"""The embeddings among which nearest neighbours are searched: one vector per object.

    views              the R views one after the other, (R * F,), read from the data set as they are
    mean               the mean of the views, (F,)
    <URL>/model.pt     what a trained encoder makes of the point cloud, (embed_dim,)

The last two are computed once and stored, since every worker needs those of all objects:

    <out>/embeddings/<group>.<row>-<digest>.npy    (rows, D) float32, in the order of the group

A worker computes its share of them and then whatever is missing, instead of waiting for workers that may be late or not
running at all. If all keep pace, nothing is computed twice; and every worker would write the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError, SpecError, did_you_mean
from captionless.runtime.thread_pools import thread_pool
from captionless.stages.work_items import Shard, WorkItem, WorkOutput, work
from captionless.store import objects
from captionless.store.embeddings import Embeddings, Indices
from captionless.store.file_names import earlier_stem
from captionless.store.ledger import Ledger
from captionless.store.manifest import WorkRecord
from captionless.store.neighbour_store import FORMAT, block_name
from captionless.store.shards import decode_array, encode_array

VERSION = 1
FOLDER = "embeddings"

_ROWS = 512  # objects in a stored file
_AT_ONCE = 64  # objects read and embedded at a time
_REQUESTS = 8  # files read at a time


def part_name(ledger: Ledger, group: str, row: int) -> str:
    """The work item of a group's rows from `row` on: as an earlier release has called it, if it has made it."""
    earlier = f"{earlier_stem(group)}.{row}"
    return earlier if ledger.previous(earlier) is not None else block_name(group, row)


class Vectors(Protocol):
    """The embeddings of a data set's objects by group and row."""

    most_rows: int
    """The most rows that a worker may hold for a block."""

    def sources(self, indices: Indices) -> list[str]:
        """Digests of what some objects' embeddings are made from."""

    def prepare(self, shard: Shard) -> None:
        """Make sure that all are stored; workers that call it share the work."""

    def read(self, group: str, start: int, stop: int) -> NDArray[Any]:
        """(stop - start, D): those of the group's objects [start, stop), as they are stored; all are made now if
        nothing was prepared."""


def vectors(of: str, data: Embeddings, groups: Mapping[str, Indices], out: str, model_digest: str | None) -> Vectors:
    """The embeddings that `of` names, by the objects' indices in `data`; computed ones are stored under `out`.

    model_digest: of the model file, if `of` is one. SpecError for anything but views, mean and such a URL.
    """
    if of == "views":
        return _Views(data, groups)
    if of == "mean":
        return _Stored(data, groups, out, _Mean(data))
    if model_digest is not None:
        return _Stored(data, groups, out, EncodedClouds(data, of, model_digest))
    raise SpecError(
        f'--of: expected views, mean, or the URL of a model.pt, found "{of}"{did_you_mean(of, ("views", "mean"))}'
    )


class _Views:
    most_rows = 2048  # of 30 views of width 512: 120 MiB in float32

    def __init__(self, data: Embeddings, groups: Mapping[str, Indices]) -> None:
        self._data, self._groups = data, groups

    def sources(self, indices: Indices) -> list[str]:
        return self._data.views_digests(indices)

    def prepare(self, shard: Shard) -> None:
        pass

    def read(self, group: str, start: int, stop: int) -> NDArray[np.float16]:
        return self._data.views(self._groups[group][start:stop]).reshape(stop - start, -1)


class _Model(Protocol):
    """Makes embeddings of objects."""

    def sources(self, indices: Indices) -> list[str]: ...

    def embed(self, indices: Indices) -> NDArray[np.float32]:
        """(n, D) float32."""


class _Mean:
    def __init__(self, data: Embeddings) -> None:
        self._data = data

    def sources(self, indices: Indices) -> list[str]:
        return [objects.digest(VERSION, "mean", digest) for digest in self._data.views_digests(indices)]

    def embed(self, indices: Indices) -> NDArray[np.float32]:
        mean: NDArray[np.float64] = self._data.views(indices).mean(axis=1, dtype=np.float64)
        return mean.astype(np.float32)


class EncodedClouds:
    """What the encoder of a model file, whose digest is given, makes of a data set's clouds: unit rows."""

    def __init__(self, data: Embeddings, url: str, model_digest: str) -> None:
        self._data, self._url, self.model_digest = data, url, model_digest

    def sources(self, indices: Indices) -> list[str]:
        """Digests of what some objects' embeddings are made from."""
        return [objects.digest(VERSION, self.model_digest, digest) for digest in self._data.points_digests(indices)]

    @property
    def about(self) -> Mapping[str, Any]:
        """The model file's own facts, see `trainer.checkpoint`; reads it."""
        return self._model[1]

    def embed(self, indices: Indices) -> NDArray[np.float32]:
        from captionless.trainer.infer import encode_points  # heavy, and needed only where there is work

        model, about = self._model
        count = int(about["points"])
        points = self._data.points(indices)
        if points.shape[1] < count:
            key = self._data.keys[indices[0]]
            raise DataError(f'{self._url}: requires {count:,} points; object "{key}" has {points.shape[1]:,}')
        return encode_points(model, points, count)

    @cached_property
    def _model(self) -> tuple[Any, dict[str, Any]]:
        from captionless.trainer.model_file import load_model

        return load_model(self._url, self.model_digest)


class _Stored:
    most_rows = 8192  # of width 512: 16 MiB

    def __init__(self, data: Embeddings, groups: Mapping[str, Indices], out: str, model: _Model) -> None:
        self._data, self._groups, self._model = data, groups, model
        self._ledger = Ledger(objects.join(out, FOLDER))
        self._records: Mapping[str, WorkRecord] = {}
        self.sources = model.sources

    def prepare(self, shard: Shard) -> None:
        items = [
            self._work_item(group, start, indices[start : start + _ROWS])
            for group, indices in sorted(self._groups.items())
            for start in range(0, len(indices), _ROWS)
        ]
        if self._ledger.finished({item.name: item.fingerprint for item in items}) is None:
            self._model.embed([0])  # fails early on what would fail every item
        own = shard.of(items)
        names = {item.name for item in own}
        if not work("neighbours: embed", "object", self._ledger, items, own, shard=shard).finished:
            others = [
                item for item in reversed(items) if item.name not in names
            ]  # meets a late worker from the other end
            work("neighbours: embed", "object", self._ledger, items, others, shard=shard)
        self._records = self._ledger.manifest().records

    def read(self, group: str, start: int, stop: int) -> NDArray[np.float32]:
        if not self._records:
            self.prepare(Shard())
        first = start - start % _ROWS
        with thread_pool(_REQUESTS) as pool:
            names = [part_name(self._ledger, group, row) for row in range(first, stop, _ROWS)]
            rows = np.concatenate(list(pool.map(self._file, names)))
        return rows[start - first : stop - first]

    def _work_item(self, group: str, row: int, indices: Indices) -> WorkItem:
        name = part_name(self._ledger, group, row)
        held = zip(self._data.keys.some(np.asarray(indices)), self._model.sources(indices), strict=True)
        fingerprint = objects.digest([list(each) for each in held])

        def make(advance: Callable[[int], None]) -> WorkOutput:
            rows = []
            for start in range(0, len(indices), _AT_ONCE):
                rows.append(self._model.embed(indices[start : start + _AT_ONCE]))
                advance(len(rows[-1]))
            data = encode_array(np.concatenate(rows))
            file = f"{block_name(group, row)}-{fingerprint[:8]}.npy"
            objects.write_bytes(objects.join(self._ledger.url, file), data)
            return WorkOutput({file: hashlib.sha256(data).hexdigest()}, {})

        return WorkItem(name, fingerprint, len(indices), make)

    def _file(self, name: str) -> NDArray[np.float32]:
        [(file, stored)] = self._records[name].files.items()
        url = objects.join(self._ledger.url, file)
        return decode_array(FORMAT.read_file(url, stored["sha256"]), url)
