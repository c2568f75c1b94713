"""Rows put aside on this machine's disk, in buckets, to be read again in any order of the buckets.

What is too large for memory is dealt to buckets that are not. The files are in the folder for temporary files and
disappear with the process's use of them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from captionless.errors import CaptionlessError
from captionless.runtime import temporary_files
from captionless.store.storage_errors import explain

_AT_ONCE = 4096  # rows that are held of a bucket before they are written


class Spill:
    """A context manager. `count` buckets, which keep the order in which rows are added."""

    def __init__(self, schema: pa.Schema, count: int = 1):
        self.schema, self._count = schema, count
        self._held: list[list[pa.Table]] = [[] for _ in range(count)]
        self._rows = [0] * count
        self._files: dict[int, tuple[pa.OSFile, pa.ipc.RecordBatchStreamWriter]] = {}

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix=temporary_files.prefix())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for file, _ in self._files.values():
            file.close()
        self._folder.cleanup()

    def add(self, rows: pa.Table, bucket: int = 0) -> None:
        """Appends rows to a bucket."""
        self._held[bucket].append(rows)
        self._rows[bucket] += len(rows)
        if self._rows[bucket] >= _AT_ONCE:
            self._flush(bucket)

    def deal(self, rows: pa.Table, buckets: NDArray[np.integer]) -> None:
        """Appends each row to its bucket, one of `buckets` (n,); rows of negative ones are dropped."""
        order = np.argsort(buckets, kind="stable")
        ends = np.searchsorted(buckets[order], np.arange(self._count + 1))
        sorted_rows = rows.take(pa.array(order))
        for bucket in range(self._count):
            if ends[bucket + 1] > ends[bucket]:
                # a copy: a slice would keep all of the rows that it is of
                part = sorted_rows.slice(ends[bucket], ends[bucket + 1] - ends[bucket])
                self.add(part.take(pa.array(np.arange(len(part)))), bucket)

    def batches(self, bucket: int = 0) -> Iterator[pa.Table]:
        """A bucket's rows, some at a time."""
        self._flush(bucket)
        if bucket in self._files:
            file, writer = self._files.pop(bucket)
            writer.close()
            file.close()
        if os.path.exists(self._path(bucket)):
            with pa.memory_map(self._path(bucket)) as source, pa.ipc.open_stream(source) as reader:
                for batch in reader:
                    yield pa.Table.from_batches([batch], self.schema)

    def read(self, bucket: int = 0) -> pa.Table:
        """A bucket's rows."""
        return pa.concat_tables([self.schema.empty_table(), *self.batches(bucket)]).combine_chunks()

    def _path(self, bucket: int) -> str:
        return os.path.join(self._folder.name, str(bucket))

    def _flush(self, bucket: int) -> None:
        if not self._rows[bucket]:
            return
        rows = pa.concat_tables(self._held[bucket]).combine_chunks()
        self._held[bucket], self._rows[bucket] = [], 0
        try:
            if bucket not in self._files:
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                file = pa.OSFile(self._path(bucket), "wb")
                self._files[bucket] = file, pa.ipc.new_stream(file, self.schema, options=options)
            self._files[bucket][1].write_table(rows)
        except OSError as error:
            explained = explain(self._folder.name, error)
            raise explained if isinstance(explained, CaptionlessError) else error from error
