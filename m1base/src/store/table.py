"""Tables of many rows as Parquet: written whole, read by the columns and row groups that are wanted.

A table is written as a stream of batches, so that memory holds one row group however many rows there are, and read by
ranged requests: one for the footer, which says where every column of every row group is, and as few as
`ranged_reads` needs for those. Every page carries a checksum that is verified when it is read, so that a damaged part
is found without reading the rest.
"""

from __future__ import annotations

import bisect
import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from captionless.errors import DataError, one_line
from captionless.store import objects, ranged_reads
from captionless.store.atomic_writes import open_write
from captionless.store.hashing_file import HashingFile

GROUP_ROWS = 8192
"""Rows from which on a row group is written. A group is what one reader takes at a time: a few hundred KB a column."""
_FOOTER = 64 << 10  # bytes read from the end: the whole footer of all but tables of hundreds of row groups
_PIECE = 12 << 20  # bytes that are read together of a table that is read whole
_MAGIC = b"PAR1"


@dataclass(frozen=True)
class TableInfo:
    """A written table: its file's name (the URL's last segment), sha256 (hex), size in bytes and number of rows."""

    file: str
    sha256: str
    bytes: int
    count: int


class Groups:
    """Numbers the row groups as batches come: a group is full when it has `rows` rows or more."""

    def __init__(self, rows: int = GROUP_ROWS):
        self._rows, self._held, self.current = rows, 0, 0

    def place(self, count: int) -> int:
        """The group of a batch of `count` rows, which is not empty; `current` is the one of the next batch."""
        placed, self._held = self.current, self._held + count
        if self._held >= self._rows:
            self.current, self._held = self.current + 1, 0
        return placed


def write_table(
    url: str, batches: Iterable[pa.RecordBatch | pa.Table], schema: pa.Schema, group_rows: int = GROUP_ROWS
) -> TableInfo:
    """Writes the rows of all batches, in their order, atomically. Equal batches give equal bytes.

    A row group holds whole batches, of `group_rows` rows or more: what is to be read together comes as one batch.
    The schema's metadata is stored.
    """
    pending: list[pa.Table] = []
    count, groups = 0, Groups(group_rows)
    with open_write(url) as raw:
        file = HashingFile(raw)
        options: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True, "write_page_index": False}
        with pq.ParquetWriter(file, schema, **options) as writer:

            def flush() -> None:
                if pending:
                    rows = pa.concat_tables(pending)
                    writer.write_table(rows, row_group_size=len(rows))

            for batch in batches:
                if not len(batch):
                    continue
                pending.append(pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch)
                count += len(batch)
                if groups.place(len(batch)) != groups.current:
                    flush()
                    pending = []
            flush()
    return TableInfo(url.rsplit("/", 1)[-1], file.hash.hexdigest(), file.position, count)


class TableReader:
    """A stored table, opened by reading its footer. FileNotFoundError when there is none, DataError when it is damaged.

    `size`: of the file in bytes, where it is known, which saves asking for it.
    """

    def __init__(self, url: str, size: int | None = None):
        self.url = url
        size = objects.size(url) if size is None else size
        if size is None:
            raise FileNotFoundError(url)
        self._tail, self._size = self._read_footer(size), size
        with _explained(self.url):
            self.metadata = pq.read_metadata(_Spans(size, [self._tail]))

    @property
    def schema(self) -> pa.Schema:
        return self.metadata.schema.to_arrow_schema()

    @property
    def count(self) -> int:
        """How many rows there are."""
        return int(self.metadata.num_rows)

    @property
    def groups(self) -> int:
        """How many row groups there are."""
        return int(self.metadata.num_row_groups)

    def bounds(self, column: str) -> list[tuple[Any, Any]]:
        """The least and the greatest value of a column in every row group, (None, None) where not recorded."""
        place = self._places([column])[0]
        found: list[tuple[Any, Any]] = []
        for group in range(self.groups):
            statistics = self.metadata.row_group(group).column(place).statistics
            known = statistics is not None and statistics.has_min_max
            found.append((statistics.min, statistics.max) if known else (None, None))
        return found

    def read(self, columns: Sequence[str] | None = None, groups: Sequence[int] | None = None) -> pa.Table:
        """The rows of the row groups, all if None, with these columns, all if None, in the order of the file."""
        wanted = range(self.groups) if groups is None else groups
        names = self.schema.names if columns is None else list(columns)
        file = self._opened(names, wanted)
        with _explained(self.url):
            return file.read_row_groups(list(wanted), columns=names, use_threads=False).select(names)

    def _opened(self, columns: Sequence[str], groups: Sequence[int]) -> pq.ParquetFile:
        """The file, of which these columns of these row groups are in memory."""
        places = self._places(columns)
        spans = [self._span(group, place) for group in groups for place in places]
        try:
            found = ranged_reads.read_ranges(self.url, spans)
        except FileNotFoundError:
            raise DataError(f"{self.url}: disappeared while it was read") from None
        held = [(start, data) for (start, _), data in zip(spans, found, strict=True)]
        with _explained(self.url):
            return pq.ParquetFile(
                _Spans(self._size, [*held, self._tail]),
                metadata=self.metadata,
                pre_buffer=False,  # it would read across the spans
                page_checksum_verification=True,
            )

    def stream(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of one row group after the other, as `batches`, but with a request for many: for a whole table.
        Memory holds `_PIECE` bytes of the file."""
        for groups in self._in_pieces(columns):
            file = self._opened(columns, groups)
            with _explained(self.url):
                for group in groups:
                    yield file.read_row_group(group, columns=columns, use_threads=False).select(columns)
            del file
            pa.default_memory_pool().release_unused()  # else what is decoded next takes other memory

    def _in_pieces(self, names: Sequence[str]) -> Iterator[list[int]]:
        """The row groups, as many at a time as have `_PIECE` bytes in these columns."""
        places, piece, size = self._places(names), list[int](), 0
        for group in range(self.groups):
            piece.append(group)
            size += sum(stop - start for start, stop in (self._span(group, place) for place in places))
            if size >= _PIECE:
                yield piece
                piece, size = [], 0
        if piece:
            yield piece

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows of one row group after the other: memory holds one."""
        for group in range(self.groups):
            yield self.read(columns, [group])

    def _places(self, columns: Sequence[str]) -> list[int]:
        """The numbers of these columns' leaves in the file: one for a plain column, several for one of lists."""
        leaves = [self.metadata.schema.column(i).path for i in range(self.metadata.num_columns)]
        found: list[int] = []
        for column in columns:
            places = [i for i, leaf in enumerate(leaves) if leaf == column or leaf.startswith(f"{column}.")]
            if not places:
                raise DataError(f"{self.url}: no column {column!r}; it has {', '.join(self.schema.names)}")
            found += places
        return found

    def _span(self, group: int, place: int) -> tuple[int, int]:
        chunk = self.metadata.row_group(group).column(place)
        start = chunk.data_page_offset
        if chunk.has_dictionary_page and chunk.dictionary_page_offset:
            start = min(start, chunk.dictionary_page_offset)
        return int(start), int(start + chunk.total_compressed_size)

    def _read_footer(self, size: int) -> tuple[int, bytes]:
        """The offset and the bytes of the file's end, which hold the whole footer."""
        start = max(0, size - _FOOTER)
        tail = objects.read_bytes(self.url, start, size)
        if len(tail) != size - start or len(tail) < 12 or tail[-4:] != _MAGIC:
            raise DataError(f"{self.url}: truncated, or not a Parquet file; delete it and rerun the stage")
        footer = int.from_bytes(tail[-8:-4], "little") + 8
        if footer > size:
            raise DataError(f"{self.url}: damaged: its footer of {footer:,} bytes exceeds the file")
        if footer > len(tail):
            tail = objects.read_bytes(self.url, size - footer, start) + tail
            start = size - footer
        return start, tail


def read_table(
    url: str, columns: Sequence[str] | None = None, groups: Sequence[int] | None = None, sha256: str = ""
) -> pa.Table:
    """A stored table's rows of these columns and row groups, all if None.

    `sha256`: what the whole file must be, which takes reading it; each page's own checksum is verified anyway.
    FileNotFoundError when there is no such file; DataError, which names it, when it is damaged.
    """
    if sha256 and objects.sha256(url) != sha256:
        raise DataError(f"{url}: its content is not what was written (sha256 differs); delete it and rerun the stage")
    return TableReader(url).read(columns, groups)


@contextlib.contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turns what pyarrow raises for a damaged file into a DataError that names it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{url}: damaged, or not a Parquet file ({one_line(error)}); delete it and rerun the stage"
        ) from error


class _Spans(io.RawIOBase):
    """A file of which only some spans, given by offset, are in memory; to read outside them is an error."""

    def __init__(self, size: int, spans: Sequence[tuple[int, bytes]]):
        self._size, self._spans, self._at = size, sorted(spans), 0
        self._starts = [start for start, _ in self._spans]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def size(self) -> int:
        return self._size

    def read(self, count: int = -1) -> bytes:
        stop = self._size if count < 0 else min(self._at + count, self._size)
        place = bisect.bisect_right(self._starts, self._at) - 1
        start, data = self._spans[place] if place >= 0 else (0, b"")
        found = data[self._at - start : stop - start]
        if len(found) != stop - self._at:
            raise OSError(f"bytes {self._at} to {stop} were not read")
        self._at = stop
        return found
