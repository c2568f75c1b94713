"""Versions from listings: what is found where, and how many requests that takes."""

from __future__ import annotations

import os
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from captionless.errors import Retryable, SpecError
from captionless.store import objects, scan, storage_retry
from captionless.store.guarded_http import Guard
from captionless.store.scan import Found
from captionless.store.versions import of_stat
from tests.store.faulty_s3 import Fault, FaultyS3, reached_by_environment
from tests.store.web import serving

BUCKET = "captionless-scan"


def listed(url: str) -> dict[str, Found]:
    return {found.url: found for page in scan.scan(url) for found in page}


def looked_up(urls: list[str]) -> dict[str, Found]:
    seen = {found.url: found for page in scan.look_up(sorted(urls)) for found in page}
    return {url: seen[url] for url in urls if url in seen}


def put(root: str, *paths: str) -> None:
    for path in paths:
        objects.write_bytes(objects.join(root, path), path.encode())


def test_a_folder(root: str) -> None:
    put(root, "a/x.obj", "a/deep/y.obj", "b/.hidden/z.obj", "b/.z.obj", "top.txt", "b/ä 1%.glb")
    found = listed(root)
    assert sorted(found) == [f"{root}/{p}" for p in ("a/deep/y.obj", "a/x.obj", "b/ä 1%.glb", "top.txt")]
    assert found[f"{root}/a/x.obj"].size == 7
    assert looked_up([*found, f"{root}/gone"]) == found
    assert listed(objects.join(root, "nowhere")) == {}
    hidden: set[str] = set()
    list(scan.scan(root, hidden.add))
    assert hidden == {"b/.hidden", "b/.z.obj"}


def test_a_local_version_is_the_stat_and_links_do_not_trap(tmp_path: Path) -> None:
    put(str(tmp_path), "a/x.obj")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "loop.obj").symlink_to(tmp_path / "a" / "loop.obj")
    (tmp_path / "a" / "link.obj").symlink_to(tmp_path / "a" / "x.obj")
    found = listed(str(tmp_path))
    version = of_stat(os.stat(tmp_path / "a" / "x.obj"))
    assert {os.path.relpath(url, tmp_path): f.version for url, f in found.items()} == {
        "a/x.obj": version, "a/link.obj": version, "a/loop.obj": "",
    }  # fmt: skip
    assert looked_up([f"{tmp_path}/a/loop.obj", f"{tmp_path}/a\0b", f"{tmp_path}/{'n' * 300}"]) == {}


def test_links_to_the_kernels_files_are_told_and_not_followed(tmp_path: Path) -> None:
    put(str(tmp_path), "a/x.obj")
    for name in ("proc", "sys", "dev"):
        (tmp_path / "a" / name).symlink_to(f"/{name}")
    told: set[str] = set()
    assert [found.url for page in scan.scan(str(tmp_path), told.add) for found in page] == [f"{tmp_path}/a/x.obj"]
    assert told == {"a/proc", "a/sys", "a/dev"}


def test_members_of_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("m/a.obj", "abc")
    urls = [f"zip://m/{name}.obj::{tmp_path}/m.zip" for name in "ab"]
    found = looked_up([*urls, f"zip://a::{tmp_path}/gone.zip"])
    assert list(found) == urls[:1]
    assert found[urls[0]].size == 3
    assert found[urls[0]].version.startswith("crc:352441c2-3-")


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyS3]:
    with reached_by_environment(BUCKET) as server:
        yield server


@pytest.fixture
def s3(server: FaultyS3) -> Iterator[tuple[FaultyS3, str]]:
    yield server, f"s3://{BUCKET}/{uuid.uuid4()}"
    server.faults.clear()


def _many(server: FaultyS3, root: str, categories: int, each: int) -> list[str]:
    prefix = root.split("/", 3)[3]
    paths = [f"c{c}/{i:04d}/{name}" for c in range(categories) for i in range(each) for name in ("m.obj", "t.png")]
    for path in paths:
        server.client.put_object(Bucket=BUCKET, Key=f"{prefix}/{path}", Body=path.encode())
    server.requests.clear()
    return [f"{root}/{path}" for path in paths]


def test_a_folder_on_s3_takes_a_request_a_page(s3: tuple[FaultyS3, str], monkeypatch: pytest.MonkeyPatch) -> None:
    server, root = s3
    urls = _many(server, root, 2, 700)  # two pages a category
    put(root, "c0/.tmp/x.obj", ".c/x.obj", "top.obj")
    server.requests.clear()
    found = listed(root)
    assert sorted(found) == sorted([*urls, f"{root}/top.obj"])
    assert {m for m, _ in server.requests} == {"GET"}
    assert len(server.requests) == 1 + 2 * 2
    url = urls[3]
    etag = server.client.head_object(Bucket=BUCKET, Key=url.split("/", 3)[3])["ETag"].strip('"')
    assert found[url] == Found(url, f"etag:{etag}-13", 13)
    # What is looked up is what is listed, for no more requests than there are pages, or files where they are few.
    server.requests.clear()
    meshes = [u for u in urls if u.endswith(".obj")]
    assert looked_up(meshes) == {u: found[u] for u in meshes}
    assert len(server.requests) <= 4
    server.requests.clear()
    few = [meshes[0], meshes[699], meshes[1399]]
    assert looked_up(few) == {u: found[u] for u in few}
    assert len(server.requests) <= 3
    monkeypatch.setattr(scan, "_PAGE", 100)  # several stretches side by side
    assert looked_up(meshes) == {u: found[u] for u in meshes}


def test_missing_files_and_denied_listings_on_s3(s3: tuple[FaultyS3, str]) -> None:
    server, root = s3
    put(root, "a.obj", "b.obj")
    assert list(looked_up([f"{root}/a.obj", f"{root}/aa.obj", f"{root}/b.obj"])) == [f"{root}/a.obj", f"{root}/b.obj"]
    server.faults.append(Fault(403, "AccessDenied", 1000, lambda method, path: "list-type=2" in path))
    assert len(looked_up([f"{root}/a.obj", f"{root}/b.obj"])) == 2, "they may be read, but not listed"
    with pytest.raises(SpecError, match=BUCKET):
        listed(root)
    assert looked_up([f"s3://{BUCKET}-other/a.obj", "nonsense://a/b.obj"]) == {}


def test_files_on_web_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(str(tmp_path), "a.obj", "b.obj")
    monkeypatch.setattr(storage_retry, "RETRY_SECONDS", 0.2)
    with serving(tmp_path) as url:
        urls = [f"{url}/{name}.obj" for name in "abc"]
        found = looked_up(urls)
        assert {f.url: f.size for f in found.values()} == {urls[0]: 5, urls[1]: 5}
        assert all(f.version for f in found.values())
        exempt, other = Guard([url]), Guard()
        assert {f.url for page in scan.look_up(urls, exempt) for f in page} == set(urls[:2])
        assert [f for page in scan.look_up(urls, other) for f in page] == [], "its address is private"
    with pytest.raises(Retryable, match=r"a\.obj"):
        looked_up(urls)
