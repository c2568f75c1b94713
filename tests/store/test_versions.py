"""Versions of files: the same from a listing and from metadata, changed by every write."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from captionless.store import objects
from captionless.store.urls import filesystem
from captionless.store.versions import version_of
from tests.store.faulty_s3 import reached_by_environment


def of(url: str) -> str:
    fs, path = filesystem(url)
    return version_of(fs.info(path))


def listed(folder: str) -> list[str]:
    fs, path = filesystem(folder)
    return [version_of(entry) for entry in fs.find(path, detail=True).values()]


def agree_and_change(url: str, write: Callable[[bytes], object]) -> None:
    """Listing and metadata give one version; other content of the same size gives another."""
    write(b"one")
    first = of(url)
    assert first
    assert listed(url.rpartition("/")[0]) == [first]
    assert of(url) == first
    write(b"two")
    assert of(url) != first
    assert listed(url.rpartition("/")[0]) == [of(url)]


def test_of_every_local_storage(root: str) -> None:
    url = objects.join(root, "a.bin")
    agree_and_change(url, partial(objects.write_bytes, url))


def test_on_s3() -> None:
    with reached_by_environment("versions"):
        url = "s3://versions/run/a.bin"
        agree_and_change(url, partial(objects.write_bytes, url))
        objects.write_bytes(url, b"one")
        first = of(url)
        objects.write_bytes(url, b"two")
        objects.write_bytes(url, b"one")
        assert of(url) == first  # equal content, equal ETag


def test_of_a_link_is_that_of_the_file_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"one")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    fs, _ = filesystem(str(tmp_path))
    entries = fs.ls(str(tmp_path), detail=True)
    assert {version_of(entry) for entry in entries} == {of(str(tmp_path / "data"))}
    (tmp_path / "data").unlink()
    assert {version_of(entry) for entry in entries} == {""}


def test_of_a_local_file_tells_a_restored_time_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    before, stat = of(str(path)), path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert of(str(path)) != before


def test_in_a_zip(tmp_path: Path) -> None:
    versions = []
    for content in (b"one", b"two", b"one"):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
            file.writestr(zipfile.ZipInfo("a/b.obj"), content)
        fsspec.filesystem("zip", fo=str(tmp_path / "x.zip")).clear_instance_cache()
        versions.append(of(f"zip://a/b.obj::{tmp_path}/x.zip"))
    assert versions[0] == versions[2] != versions[1]


def test_over_http(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"one")

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Not on the tests' stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/a.bin"
        first = of(url)
        assert first
        assert of(url) == first
        os.utime(tmp_path / "a.bin", (1, 1))
        assert of(url) != first
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("info", [{"name": "x", "size": 3}, {"name": "x", "size": 3, "ETag": ""}])
def test_is_empty_where_the_storage_tells_nothing(info: dict[str, object]) -> None:
    assert version_of(info) == ""


def test_weak_and_quoted_tags_are_one() -> None:
    assert version_of({"ETag": 'W/"abc"', "size": 3}) == version_of({"ETag": '"abc"', "size": 3}) == "etag:abc-3"
