"""The objects of a data set as columns: in the order of their keys, the same from every kind of column."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from captionless.errors import DataError
from captionless.store import object_table, objects
from captionless.store.embeddings import Embeddings, open_embeddings
from captionless.store.object_table import ObjectTable
from captionless.store.shards import ShardReader
from tests.embedded import members, write_embedded

KEYS = ["b", "стул/1", 'a"\\', "a", "😀", "c/d", "\x7f", "\n"]


def rows(keys: list[str] = KEYS, **changed: Any) -> pa.Table:
    n = len(keys)
    columns = {
        "key": pa.array(keys, pa.string()),
        "category": pa.array([f'kind "{i % 3}" ü' for i in range(n)], pa.string()),
        "split": pa.array(["test" if i % 4 == 3 else "train" for i in range(n)], pa.string()),
        "shard": pa.array([f"train/{i % 2:05d}.tar" for i in range(n)], pa.string()),
        "views": pa.array([sha256("views", key) for key in keys], pa.string()),
        "points": pa.array([sha256("points", key) for key in keys], pa.string()),
        "more": pa.array([None] * n, pa.int64()),
    }
    return pa.table(columns | changed)


def sha256(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()


def of(table: pa.Table, split: str = "all") -> ObjectTable:
    return object_table.of_rows(table, split, "s3://bucket/embed")


def in_bytes(table: pa.Table) -> pa.Table:
    """Digests of 32 bytes, and names in dictionaries."""
    for name in ("views", "points"):
        column = pa.array([bytes.fromhex(value) for value in table[name].to_pylist()], pa.binary(32))
        table = table.set_column(table.column_names.index(name), name, column)
    for name in ("category", "split", "shard"):
        table = table.set_column(table.column_names.index(name), name, table[name].dictionary_encode())
    return table


def in_pieces(table: pa.Table) -> pa.Table:
    """Chunks of two rows, each in the midst of longer arrays."""
    return pa.concat_tables([table.slice(start, 2) for start in range(0, len(table), 2)])


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize("binary", [False, True], ids=["text", "bytes and dictionaries"])
def test_objects_are_in_the_order_of_their_keys(binary: bool, pieces: bool) -> None:
    table = in_bytes(rows()) if binary else rows()
    table = in_pieces(table) if pieces else table
    data = Embeddings("s3://bucket/embed", "all", of(table))
    assert list(data.keys) == sorted(KEYS)
    plain = {row["key"]: row for row in rows().to_pylist()}
    for item in data.objects:
        row = plain[item.key]
        assert [item.category, item.shard] == [row["category"], row["shard"]]
        assert [item.views_digest, item.points_digest] == [row["views"], row["points"]]
    assert data.classes == sorted({row["category"] for row in plain.values()})
    assert data.digest == objects.digest([[o.key, o.category, o.views_digest, o.points_digest] for o in data.objects])
    found = {category: [data.keys[i] for i in own] for category, own in data.members().items()}
    assert found == {c: sorted(k for k in plain if plain[k]["category"] == c) for c in data.classes}
    assert list(found) == list(dict.fromkeys(data.categories))


def test_a_split_is_its_own_rows() -> None:
    test = of(rows(), "test")
    assert list(test.keys) == sorted([KEYS[3], KEYS[7]])
    assert test.shards.names == ["train/00001.tar"]
    assert list(of(rows(), "train").keys) == sorted(set(KEYS) - {KEYS[3], KEYS[7]})
    assert len(of(rows(), "validation")) == 0
    assert of(rows([])).digest() == objects.digest([])


def test_many_objects_have_the_digest_of_them_all() -> None:
    keys = [f"{i:07d}" for i in np.random.default_rng(0).permutation(150_000)]
    table = of(rows(keys))
    listed = [[o.key, o.category, o.views_digest, o.points_digest] for o in Embeddings("", "all", table).objects]
    assert table.digest() == objects.digest(listed)


@pytest.mark.parametrize(
    "changed",
    [
        {"key": pa.array([*KEYS[:-1], KEYS[0]])},
        {"views": pa.array(["ab"] * len(KEYS))},
        {"views": pa.array(["g" * 64] * len(KEYS))},
        {"views": pa.array([None, *([b"0" * 32] * (len(KEYS) - 1))], pa.binary(32))},
        {"category": pa.array([None, *(["a"] * (len(KEYS) - 1))])},
        {"views_offset": pa.array([None] * len(KEYS), pa.int64()), "views_size": pa.array([1] * len(KEYS)),
         "points_offset": pa.array([1] * len(KEYS)), "points_size": pa.array([1] * len(KEYS))},
    ],
    ids=["twice", "short", "no hex", "no digest", "no category", "no offset"],
)  # fmt: skip
def test_rows_that_mean_nothing_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="s3://bucket/embed"):
        of(rows(**changed))


@pytest.mark.parametrize("name", object_table.COLUMNS)
def test_a_missing_column_is_named(name: str) -> None:
    with pytest.raises(DataError, match=name):
        of(rows().drop_columns([name]))


def test_objects_whose_places_are_known_are_read_without_their_shards_indices(tmp_path: Path) -> None:
    views = write_embedded(str(tmp_path), {"a": 5, "b": 4}, shards=2, points=7)
    data = open_embeddings(str(tmp_path), "train")
    listed = []
    for item in data.objects:
        entry = ShardReader(str(tmp_path / item.shard)).index[item.key]
        listed.append((item.key, item.category, "train", item.shard, item.views_digest, item.points_digest,
                       *entry["views.npy"], *entry["points.npy"]))  # fmt: skip
    names = (*object_table.COLUMNS, *object_table.PLACES)
    table = pa.table(dict(zip(names, zip(*listed, strict=True), strict=True)))
    for index in (tmp_path / "train").glob("*.index"):
        index.unlink()
    again = Embeddings(str(tmp_path), "train", of(table))
    points = members(tmp_path / "train")
    for _ in range(2):
        np.testing.assert_array_equal(again.views(range(9)), np.stack([views[key] for key in again.keys]))
        np.testing.assert_array_equal(
            again.points([8, 0]), np.stack([points[f"{again.keys[i]}.points.npy"] for i in (8, 0)])
        )
