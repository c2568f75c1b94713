"""Keys are found wherever they are stored, and only whole ones."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from captionless.store import key_search, objects
from captionless.store.key_search import KeySearch
from captionless.store.shards import write_shard
from captionless.store.table import write_table


@pytest.mark.parametrize(
    ("key", "text", "there"),
    [
        ("chair/1", '{"key": "chair/1"}', True),
        ("chair/1", "chair/1.json", True),
        ("chair/1", "chair/12.json", False),
        ("chair/1", "armchair/1.json", False),
        ("chair/1", "chair/1/2", False),
        ("1", '["1", "2"]', True),
        ("1", "[1.5, 11]", True),
        ("1", "[0.15, 11]", False),
        ("стул/1", "стул/1", True),
        ("стул/1", json.dumps("стул/1"), True),
        ("стул/1", "кстул/1", False),
        ("a&b/1", "<td>a&amp;b/1</td>", True),
        ("abcdefgh", "xabcdefgh", False),
        ("abcdefgh", "abcdefgh", True),
    ],
)
def test_a_key_is_found_whole(key: str, text: str, there: bool) -> None:
    assert KeySearch([key, "another"]).in_bytes(text.encode()) == ({key} if there else set())


def test_every_key_is_found_and_no_other() -> None:
    draw = random.Random(0)
    keys = [f"{draw.choice(('chair', 'b', 'stool-of-oak'))}/{draw.randrange(10**6):06d}" for _ in range(2000)]
    keys = sorted(set(keys))
    wanted, stored = set(keys[::3]), keys[::2]
    text = json.dumps({key: draw.random() for key in stored}).encode()
    assert KeySearch(wanted).in_bytes(text) == wanted & set(stored)


def test_a_key_between_two_blocks_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_search, "_BLOCK", 64)
    for before in range(40, 80):
        url = str(tmp_path / f"{before}.txt")
        objects.write_bytes(url, b"." * before + b"chair/0001" + b"." * 40)
        assert KeySearch(["chair/0001", "chair/0002"]).in_file(url) == {"chair/0001"}
        objects.write_bytes(url, b"." * before + b"chair/00012" + b"." * 40)
        assert KeySearch(["chair/0001", "chair/0002"]).in_file(url) == set()


def test_formats_that_hide_text_are_read(tmp_path: Path) -> None:
    keys = [f"chair/{i:04d}" for i in range(500)]
    name = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema({"key": pa.string(), "twin": name})
    write_table(
        f"{tmp_path}/x.parquet",
        [pa.table({"key": keys, "twin": pa.array(keys[::-1]).dictionary_encode()}, schema)],
        schema,
    )
    twins = pa.table({"key": ["-"] * 2, "twin": pa.array(["chair/0007", "x"]).dictionary_encode()}, schema)
    write_table(f"{tmp_path}/twin.parquet", [twins], schema)
    file = io.BytesIO()
    np.savez_compressed(file, keys=np.array(keys), more=np.arange(3))
    objects.write_bytes(f"{tmp_path}/x.npz", file.getvalue())
    np.save(tmp_path / "x.npy", np.array(keys))
    write_shard(f"{tmp_path}/x.tar", [("chair/0007", {"json": b"{}"})])
    for file_name in ("x.parquet", "twin.parquet", "x.npz", "x.npy", "x.tar", "x.index"):
        assert KeySearch(["chair/0007", "table/0007"]).in_file(f"{tmp_path}/{file_name}") == {"chair/0007"}, file_name
        assert KeySearch(["chair/000", "hair/0007"]).in_file(f"{tmp_path}/{file_name}") == set(), file_name
    (tmp_path / "no.npz").write_bytes(b"chair/0007")
    (tmp_path / "no.parquet").write_bytes(b"chair/0007 but not a table")
    for file_name in ("no.npz", "no.parquet"):
        assert KeySearch(["chair/0007"]).in_file(f"{tmp_path}/{file_name}") == {"chair/0007"}, file_name
    assert KeySearch(["chair/0007"]).in_file(f"{tmp_path}/missing.tar") == set()
