"""Keys are found wherever they are stored, and only whole ones."""

from __future__ import annotations

import gzip
import io
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from captionless.store import escapes, key_search, objects
from captionless.store.key_index import KeyIndex
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
        ("chair/1", "read /m/chair/1.obj", True),
        ("chair/1", "s3://meshes/chair/1.obj", True),
        ("chair/1", "GET /m%2Fchair%2F1.obj HTTP/1.1", True),
        ("chair/1", "GET /m/chair%2f1.obj HTTP/1.1", True),
        ("chair/1", "GET /chair%2F12.obj HTTP/1.1", False),
        ("chair/1", "GET /armchair%2F1.obj HTTP/1.1", False),
        ("chair/1", r'{"url": "\/m\/chair\/1.obj"}', True),
        ("chair/1", r'{"key": "armchair\/1"}', False),
        ("стул/1", r'{"key": "\u0441\u0442\u0443\u043b\/1"}', True),
        ("стул/1", "%D1%81%D1%82%D1%83%D0%BB/1.obj", True),
        ("my chair/1", "my%20chair/1", True),
        ("1", "%4", False),
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


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("train/chair/1.obj", False),
        ("/m/train/chair/1.obj", False),
        ("/m/test/chair/1.obj", True),
        ("/m/train%2Fchair%2F1.obj", False),
        (r'"train\/chair\/1"', False),
        ("my arm/chair/1", False),
        ("my%20arm/chair/1", False),
        ("an arm/chair/1", True),
        (json.dumps("стулья/chair/1"), False),
        (json.dumps("столы/chair/1"), True),
        ("a&amp;b/chair/1", False),
        ("\xff/chair/1", True),
    ],
)
def test_the_end_of_another_key_that_is_listed_is_no_key(text: str, there: bool) -> None:
    listed = KeyIndex(pa.array(["train/chair/1", "my arm/chair/1", "стулья/chair/1", "a&b/chair/1"]))
    assert KeySearch(["chair/1"], listed).in_bytes(text.encode("latin-1" if "\xff" in text else "utf-8")) == (
        {"chair/1"} if there else set()
    )


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


@pytest.mark.parametrize("padding", [".", "%2E", "\\/ ", "стул "])
def test_a_file_in_blocks_is_searched_as_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, padding: str
) -> None:
    monkeypatch.setattr(key_search, "_BLOCK", 64)
    monkeypatch.setattr(escapes, "_APART", 0)
    listed = KeyIndex(pa.array(["train/chair/0001"]))
    search = KeySearch(["chair/0001", "chair/0002"], listed)
    for before in range(0, 30, 3):
        for path in ("/m/{}", "/m/train/{}", "train%2F{}", "{}2", r"\/{}"):
            name = path.format("chair/0001").replace("/", "%2F" if "%" in path else "/")
            data = (padding * 70 + "." * before + name + ".obj" + padding * 40).encode()
            for file, stored in (("x.log", data), ("x.log.gz", gzip.compress(data))):
                objects.write_bytes(f"{tmp_path}/{file}", stored)
                assert search.in_file(f"{tmp_path}/{file}") == search.in_bytes(data), (file, before, name)
            assert search.in_bytes(data) == (set() if "train" in path or "2" in path[-1] else {"chair/0001"}), name


def test_what_a_gzip_file_holds_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_search, "_BLOCK", 1 << 10)
    search, text = KeySearch(["chair/0001"]), b"." * 100_000 + b" chair/0001 "
    taken: list[int] = []
    in_bytes = KeySearch.in_bytes
    monkeypatch.setattr(
        KeySearch, "in_bytes", lambda self, data, *ends: (taken.append(len(data)), in_bytes(self, data, *ends))[1]
    )
    members = gzip.compress(b"nothing") + gzip.compress(text) + gzip.compress(b"nothing")
    for name, data in {
        "members.gz": members,
        "cut.gz": gzip.compress(text * 2)[:-20],
        "no.gz": b"chair/0001 as it is",
        "half.gz": gzip.compress(b"nothing") + b" chair/0001",
    }.items():
        objects.write_bytes(f"{tmp_path}/{name}", data)
        assert search.in_file(f"{tmp_path}/{name}") == {"chair/0001"}, name
    objects.write_bytes(f"{tmp_path}/none.gz", gzip.compress(b"." * 1_000_000))
    assert search.in_file(f"{tmp_path}/none.gz") == set()
    assert max(taken) < 2 << 10


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
