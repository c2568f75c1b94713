"""Tables as Parquet: what comes back, what is read for it, and what damage is noticed."""

from __future__ import annotations

import pyarrow as pa
import pytest

from captionless.errors import DataError
from captionless.store import objects, ranged_reads
from captionless.store.table import TableReader, read_table, write_table
from tests.store.faulty_s3 import reached_by_environment

SCHEMA = pa.schema(
    [("part", pa.dictionary(pa.int32(), pa.string())), ("key", pa.string()), ("faces", pa.int64()),
     ("names", pa.list_(pa.string()))],
    metadata={"version": "1"},
)  # fmt: skip


def batch(part: str, count: int) -> pa.RecordBatch:
    return pa.record_batch(
        [
            pa.array([part] * count).dictionary_encode(),
            pa.array([f"{part}/{i:04d}" for i in range(count)]),
            pa.array(range(count), pa.int64()),
            pa.array([[f"é{i}", "b"] if i % 2 else [] for i in range(count)], pa.list_(pa.string())),
        ],
        schema=SCHEMA,
    )


BATCHES = [batch("a", 3), batch("b", 4), batch("c", 2), batch("d", 0)]
ROWS = [row for b in BATCHES for row in b.to_pylist()]


def test_rows_and_metadata_come_back(root: str) -> None:
    url = objects.join(root, "rows.parquet")
    info = write_table(url, BATCHES, SCHEMA, group_rows=5)
    assert (info.file, info.count, info.bytes) == ("rows.parquet", 9, objects.size(url))
    assert info.sha256 == objects.sha256(url)
    assert read_table(url, sha256=info.sha256).to_pylist() == ROWS
    assert read_table(url, ["faces", "part"]).to_pylist() == [{k: r[k] for k in ("faces", "part")} for r in ROWS]
    reader = TableReader(url, info.bytes)
    assert (reader.count, reader.groups, reader.schema.metadata[b"version"]) == (9, 2, b"1")
    assert reader.bounds("part") == [("a", "b"), ("c", "c")]
    assert reader.read(groups=[1]).to_pylist() == ROWS[7:]
    assert [len(t) for t in reader.batches(["key"])] == [7, 2]


def test_equal_rows_give_equal_bytes(root: str) -> None:
    infos = [write_table(objects.join(root, f), BATCHES, SCHEMA) for f in ("1.parquet", "2.parquet")]
    assert infos[0].sha256 == infos[1].sha256


def test_no_rows(root: str) -> None:
    url = objects.join(root, "none.parquet")
    assert write_table(url, [], SCHEMA).count == 0
    assert read_table(url).schema.names == SCHEMA.names


def test_damage_is_noticed(root: str) -> None:
    url = objects.join(root, "rows.parquet")
    info = write_table(url, BATCHES, SCHEMA)
    data = objects.read_bytes(url)
    with pytest.raises(FileNotFoundError):
        read_table(objects.join(root, "other.parquet"))
    place = TableReader(url).metadata.row_group(0).column(1).data_page_offset
    for broken in (data[:-5], b"", data[: place + 40] + bytes([data[place + 40] ^ 255]) + data[place + 41 :]):
        objects.write_bytes(url, broken)
        with pytest.raises(DataError, match=r"rows\.parquet"):
            read_table(url)
        with pytest.raises(DataError, match=r"rows\.parquet"):
            read_table(url, sha256=info.sha256)
    objects.write_bytes(url, data)
    with pytest.raises(DataError, match="no column 'colour'"):
        read_table(url, ["colour"])


def test_only_what_is_wanted_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with reached_by_environment("captionless-table") as server:
        url = "s3://captionless-table/rows.parquet"
        info = write_table(url, [batch(f"{n:03d}", 2000) for n in range(20)], SCHEMA, group_rows=2000)
        server.requests.clear()
        found = TableReader(url, info.bytes).read(["key"], [7])
        assert found["key"].to_pylist() == [f"007/{i:04d}" for i in range(2000)]
        assert [r[0] for r in server.requests] == ["GET", "GET"]
        monkeypatch.setattr(ranged_reads, "_MERGE_GAP", 0)
        assert len(read_table(url, ["faces"])) == 40_000
