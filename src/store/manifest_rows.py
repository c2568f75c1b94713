"""The table of a manifest: what every part of a stage says of its objects, merged into one when the stage is published.

New parts' rows come from their records, a few read ahead, and those of parts that stay from the earlier table, which is
read once, a row group at a time. So memory holds some thousand rows, however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from captionless.runtime.thread_pools import thread_pool
from captionless.store.table import TableInfo, TableReader, write_table

_AHEAD = 16
_AT_ONCE = 1 << 14

Columns = Mapping[str, Sequence[Any]]
Span = list[int]
"""A part's first row, and how many it has."""


def write_rows(
    url: str,
    parts: Sequence[str],
    rows: Callable[[str], Columns | None],
    earlier: str | None,
    spans: Mapping[str, Span],
    schema: pa.Schema,
) -> tuple[TableInfo, dict[str, Span]]:
    """Stores the rows of the parts, in this order; the written table, and which rows of it are whose.

    rows: a part's as columns, None if they are in the table at `earlier`, where `spans` says which they are; the parts
    have the same order there. schema: of the table, with the column `part`.
    """
    found: dict[str, Span] = {}

    def tables() -> Iterator[pa.Table]:
        slices = _Slices(earlier) if earlier is not None else None
        first, held, size = 0, [], 0
        for part, columns in _ahead(parts, rows):
            if columns is not None:
                table = _table(part, columns, schema)
            else:
                assert slices is not None
                table = _with_all_columns(slices.read(*spans[part]), schema)
            found[part] = [first, len(table)]
            first += len(table)
            held.append(table)
            size += len(table)
            if size >= _AT_ONCE:
                yield pa.concat_tables(held)
                held, size = [], 0
        if held:
            yield pa.concat_tables(held)

    return write_table(url, tables(), schema), found


def _ahead(parts: Sequence[str], rows: Callable[[str], Columns | None]) -> Iterator[tuple[str, Columns | None]]:
    with thread_pool(_AHEAD) as pool:
        for start in range(0, len(parts), _AHEAD):
            some = parts[start : start + _AHEAD]
            yield from zip(some, pool.map(rows, some), strict=True)


class _Slices:
    """Slices of a stored table, which are asked for in its order."""

    def __init__(self, url: str) -> None:
        self._batches = TableReader(url).batches()
        self._held: pa.Table | None = None
        self._first = 0

    def read(self, first: int, count: int) -> pa.Table:
        while self._held is None or self._first + len(self._held) < first + count:
            batch = next(self._batches)
            if self._held is None or self._first + len(self._held) <= first:
                self._first += 0 if self._held is None else len(self._held)
                self._held = batch
            else:  # what is wanted begins in one group and ends in another
                kept = self._held.slice(first - self._first)
                self._held, self._first = pa.concat_tables([kept, batch]), first
        return self._held.slice(first - self._first, count)


def _with_all_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows of an earlier table, without a value in the columns that came since."""
    for column in schema:
        if column.name not in table.schema.names:
            table = table.append_column(column, pa.nulls(len(table), column.type))
    return table.select(schema.names).cast(schema)


def _table(part: str, rows: Columns, schema: pa.Schema) -> pa.Table:
    """A part's rows; digests, which JSON holds in hex, become bytes where the schema says so."""
    count = len(next(iter(rows.values()), ()))
    columns = []
    for column in schema:
        values: Sequence[Any] = [part] * count if column.name == "part" else rows.get(column.name) or [None] * count
        if pa.types.is_fixed_size_binary(column.type):
            values = [None if value is None else bytes.fromhex(value) for value in values]
        plain = pa.string() if pa.types.is_dictionary(column.type) else column.type
        columns.append(pa.array(values, plain).cast(column.type))
    return pa.Table.from_arrays(columns, schema=schema)
