"""Versions by URL."""

from __future__ import annotations

from captionless.store.file_index import FileIndex, token_of
from captionless.store.scan import Found


def test_what_was_added_is_found() -> None:
    index = FileIndex()
    assert not index.find(["s3://b/a"]).known.any()
    md5 = "0" * 31 + "f"
    index.add([Found("s3://b/a", f"etag:{md5}-7", 7), Found("s3://b/parts", f"etag:{md5}-3-9", 9)])
    index.add([Found("http://h/a", f"etag:{md5}-7", 7), Found("x/\udcff", "stat:1", 1), Found("x/gone", "", -1)])
    found = index.find(["x/\udcff", "s3://b/a", "none", "s3://b/parts", "http://h/a", "x/gone"])
    assert found.known.tolist() == [True, True, False, True, True, True]
    assert found.sizes.tolist() == [1, 7, -1, 9, 7, -1]
    assert found.tokens.tolist() == [
        token_of("stat:1"), token_of(f"etag:{md5}-7"), 0, token_of(f"etag:{md5}-3-9"), token_of(f"etag:{md5}-7"), 0,
    ]  # fmt: skip
    assert found.of_content.tolist() == [False, True, False, False, False, False], "an MD5 of S3's alone"


def test_two_versions_of_one_are_none() -> None:
    index = FileIndex()
    index.add([Found("a", "1", 1), Found("a", "1", 1), Found("b", "1", 1), Found("b", "2", 1)])
    assert index.find(["a", "b"]).known.tolist() == [True, False]
