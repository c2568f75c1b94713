"""What an object may read: its source's folder and what the user allows, however the names are written."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from functools import partial
from pathlib import Path

import pytest

from captionless.errors import DataError
from captionless.precompute import object_files
from captionless.precompute.object_files import FileSeen, ObjectFiles, Scope, beside, path_from, resolved, unsigned
from captionless.store import objects

HOSTILE = [
    "/etc/hostname",
    "../../../../../../../../../../etc/hostname",
    "..\\..\\..\\secret\\a.png",
    "file:///etc/hostname",
    "/dev/zero",
    "/dev/../proc/self/environ",
    "/proc/self/environ",
    "/sys/kernel/notes",
    "http://169.254.169.254/latest/meta-data",
    "ftp://127.0.0.1/x",
    "ssh://127.0.0.1/x",
    "s3://other-bucket/x",
    "zip://a.png::/etc/hostname",
    "a::file:///etc/hostname",
    "a\0b",
    "a\nb",
    "\ud800",
    "a" * 256,
    "a/" * 4000,
    "C:\\" + "a" * 300,
]


def seen(name: str, content: bytes, files: ObjectFiles) -> FileSeen:
    """What was seen of a file, which is compared but for its version."""
    found = next(f for f in files.seen if f.path == name)
    assert found.version
    return FileSeen(name, found.version, hashlib.sha256(content).hexdigest())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`data/chair/a.obj`, files that it may name, and one in `secret` that it may not."""
    for name in ("data/chair/a.obj", "data/chair/a.mtl", "data/textures/t.png", "secret/s.png", "data-2/s.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path


def files(folder: Path, *allow: str, scheme: str = "") -> ObjectFiles:
    return ObjectFiles(f"{scheme}{folder}/data/chair/a.obj", Scope((f"{scheme}{folder}/data", *allow)))


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_files_of_the_folder_are_read_and_remembered(folder: Path, scheme: str) -> None:
    of = files(folder, scheme=scheme)
    assert of.own() == b"data/chair/a.obj"
    assert of.named("a.mtl") == b"data/chair/a.mtl"
    assert of.named("../textures/t.png") == of.named("..\\textures\\t.png") == b"data/textures/t.png"
    assert of.named(f"{folder}/data/textures/t.png") == b"data/textures/t.png"
    assert of.named("none.png") is None
    assert of.named("t.png", by=beside(of.url, "../textures/x.mtl")) == b"data/textures/t.png"
    assert of.seen == [
        seen("a.obj", b"data/chair/a.obj", of),
        seen("a.mtl", b"data/chair/a.mtl", of),
        seen("../textures/t.png", b"data/textures/t.png", of),
        FileSeen("none.png", "", ""),
    ]
    assert of.size == sum(map(len, ["data/chair/a.obj", "data/chair/a.mtl", "data/textures/t.png"]))
    for file in of.seen:
        assert objects.exists(beside(of.url, file.path)) == bool(file.version)
    assert of.own_digest("md5") == hashlib.md5(b"data/chair/a.obj", usedforsecurity=False).digest()
    assert of.named_digest("a.mtl") == hashlib.sha256(b"data/chair/a.mtl").digest()
    assert of.named_digest("none.png") is None
    with pytest.raises(DataError, match=r"none\.obj: no such file"):
        ObjectFiles(beside(of.url, "none.obj")).own_digest("md5")


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_else_is_read(folder: Path, name: str) -> None:
    of = files(folder)
    for read in (of.named, of.named_digest):
        with pytest.raises(DataError, match=r"^refers to "):
            read(name)
    assert of.seen == []
    assert of.size == 0


def test_a_folder_whose_name_begins_alike_is_another(folder: Path) -> None:
    with pytest.raises(DataError, match=r"data\.allow"):
        files(folder).named("../../data-2/s.png")


def test_absolute_paths_of_another_machine_name_no_file(folder: Path) -> None:
    of = ObjectFiles(f"{folder}/data/chair/a.obj", Scope((f"{folder}/data",)))
    for name in ("/media/disk/textures/t.png", "file:///C:/Users/me/t.png"):
        assert of.named(name) is None
    for name in (f"{folder}/secret/s.png", f"file://{folder}/secret/s.png", "../../gone/t.png"):
        with pytest.raises(DataError, match="outside of"):
            of.named(name)
    assert ObjectFiles("s3://bucket/in/a.obj", Scope(("s3://bucket/in",))).named("/media/t.png") is None


def test_links_are_followed_before_it_is_decided(folder: Path) -> None:
    (folder / "data" / "chair" / "link.png").symlink_to(folder / "secret" / "s.png")
    (folder / "data" / "chair" / "inside.png").symlink_to(folder / "data" / "textures" / "t.png")
    (folder / "data" / "chair" / "out").symlink_to(folder / "secret")
    (folder / "data" / "chair" / "zero.png").symlink_to("/dev/zero")
    of = files(folder)
    assert of.named("inside.png") == b"data/textures/t.png"
    for name in ("link.png", "out/s.png", "zero.png"):
        with pytest.raises(DataError):
            of.named(name)
    (folder / "data" / "chair" / "b.obj").symlink_to(folder / "secret" / "s.png")
    outside = ObjectFiles(f"{folder}/data/chair/b.obj", Scope((f"{folder}/data",)))
    for read in (outside.own, partial(outside.own_digest, "md5")):
        with pytest.raises(DataError, match=r"b\.obj: outside of .*data\.allow"):
            read()
    (folder / "link-to-data").symlink_to(folder / "data")  # the source's own folder may be a link
    of = ObjectFiles(f"{folder}/link-to-data/chair/a.obj", Scope((f"{folder}/link-to-data",)))
    assert of.named("../textures/t.png") == b"data/textures/t.png"


def test_what_is_allowed(folder: Path) -> None:
    for allow in (f"{folder}/secret", f"file://{folder}/secret/", f"{folder}/secret/s.png"):
        of = files(folder, allow)
        assert of.named("../../secret/s.png") == b"secret/s.png"
        assert of.seen[0].path == "../../secret/s.png"
        assert of.named(f"file://{folder}/secret/s.png") == b"secret/s.png"
        assert of.seen[1].path == f"file://{folder}/secret/s.png"
    for name in ("/dev/zero", "/proc/self/environ"):
        with pytest.raises(DataError, match="kernel"):
            files(folder, "/").named(name)
    with pytest.raises(DataError, match="not a public address"):
        files(folder, "http://127.0.0.1:9/").named("http://127.0.0.1:9/x.png")


def test_shared_memory_is_a_place_for_data() -> None:
    path = Path(f"/dev/shm/captionless-{os.getpid()}.obj")
    path.write_bytes(b"-")
    try:
        assert ObjectFiles(str(path), Scope(("/dev/shm",))).own() == b"-"
    finally:
        path.unlink()


def test_an_object_names_so_many_files_and_no_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_files, "MAX_FILES", 3)
    of = files(folder)
    of.own()
    for name in ("1", "2", "1", "2"):
        assert of.named(name) is None
    with pytest.raises(DataError, match="more than 3 files"):
        of.named("3")


@pytest.mark.parametrize(
    ("folder_url", "url", "inside"),
    [
        ("s3://bucket/in", "s3://bucket/in/a/b.png", True),
        ("s3://bucket/in", "s3a://bucket/in/a/b.png", True),
        ("s3://bucket/in", "s3://bucket/in2/b.png", False),
        ("s3://bucket/in", "s3://bucket/in/../b.png", False),
        ("s3://bucket/in", "s3://other/in/b.png", False),
        ("s3://bucket", "s3://bucket/x", True),
        ("s3://bucket", "s3://bucket-2/x", False),
        ("https://h.org/in", "https://h.org/in/b.png", True),
        ("https://h.org/in/", "https://me:pw@H.ORG/in/b.png?sig=1", True),
        ("https://h.org?sig=1", "https://h.org/in/b.png?sig=1", True),
        ("https://h.org/in?sig=1", "https://h.org/b.png?sig=1", False),
        ("https://h.org/in", "http://h.org/in/b.png", False),
        ("https://h.org/in", "https://h.org:8443/in/b.png", False),
        ("https://h.org/in", "https://h.org/in/%2e%2e/b.png", False),
        ("https://h.org/in", "https://h.org/in/%252e%252e%252fb.png", False),
        ("https://h.org", "https://h.org.evil.net/b.png", False),
        ("https://h.org", "https://h.org@evil.net/b.png", False),
        ("zip://in::/x.zip", "zip://in/b.png::/x.zip", True),
        ("zip://in::/x.zip", "zip://b.png::/x.zip", False),
        ("zip://in::/x.zip", "zip://in/b.png::/y.zip", False),
        ("zip://.::/x.zip", "zip://b.png::/x.zip", True),
        ("memory://in", "memory://in/b", True),
        ("memory://in", "memory://b", False),
    ],
)
def test_places(folder_url: str, url: str, inside: bool) -> None:
    scope = Scope((folder_url,))
    if inside:
        scope.check(url, "it")
    else:
        with pytest.raises(DataError, match=r"^it: outside of .*data\.allow$"):
            scope.check(url, "it")


def test_in_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("in/a.obj", b"a")
        file.writestr("in/t.png", b"t")
        file.writestr("s.png", b"s")
    of = ObjectFiles(f"zip://in/a.obj::{tmp_path}/x.zip", Scope((f"zip://in::{tmp_path}/x.zip",)))
    assert (of.own(), of.named("t.png")) == (b"a", b"t")
    assert [f.path for f in of.seen] == ["a.obj", "t.png"]
    for name in ("../s.png", f"{tmp_path}/x.zip"):
        with pytest.raises(DataError):
            of.named(name)


def test_what_has_no_version_of_its_content_is_recorded_by_its_whole_address(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in ("in/a.obj", "in/t.png"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    url = f"tar://in/a.obj::{tmp_path}/x.tar"
    of = ObjectFiles(url)
    assert (of.own(), of.named("t.png")) == (b"", b"")
    assert [f.path for f in of.seen] == [url, "t.png"]


@pytest.mark.parametrize(
    ("url", "recorded"),
    [
        ("https://h/get?id=7&X-Amz-Signature=5ecre7", "https://h/get?id=7"),
        ("https://u:5ecre7@h/d/a.obj?sig=5ecre7", "https://h/d/a.obj"),
        ("tar://a.obj::https://h/x.tar?sig=5ecre7&v=2", "tar://a.obj::https://h/x.tar?v=2"),
    ],
)
def test_an_address_without_what_gives_access_leads_back(url: str, recorded: str) -> None:
    assert unsigned(url) == recorded
    assert beside(url, recorded) == url
    assert beside(url, "https://elsewhere/a.obj") == "https://elsewhere/a.obj"


def test_without_a_scope_only_devices_are_refused(folder: Path) -> None:
    of = ObjectFiles(f"{folder}/data/chair/a.obj")
    assert of.named("../../secret/s.png") == b"secret/s.png"
    with pytest.raises(DataError):
        of.named("/dev/zero")


def test_secrets_of_urls_are_neither_in_errors_nor_in_what_was_seen(tmp_path: Path) -> None:
    signed = "https://h.invalid/in/a.obj?X-Amz-Signature=5ecre7&x=1"
    assert beside(signed, "t.png") == "https://h.invalid/in/t.png?X-Amz-Signature=5ecre7&x=1"
    assert path_from(signed, beside(signed, "../t.png")) == "../t.png"
    of = ObjectFiles(signed, Scope(("https://h.invalid/in",)))
    for name in ("https://u:5ecre7@other.invalid/x", "/x?token=5ecre7"):
        with pytest.raises(DataError) as caught:
            of.named(name)
        assert "5ecre7" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "name", "expected"),
    [
        ("/d/a.obj", "t.png", "/d/t.png"),
        ("d/a.obj", "./x/../t.png", "d/t.png"),
        ("/d/a.obj", "x\\t.png", "/d/x/t.png"),
        ("/d/a.obj", "/t.png", "/t.png"),
        ("/d/a.obj", "", "/d"),
        ("s3://b/d/a.obj", "../t.png", "s3://b/t.png"),
        ("s3://b/d/a.obj", "https://h/t.png", "https://h/t.png"),
        ("zip://d/a.obj::/x.zip", "t.png", "zip://d/t.png::/x.zip"),
    ],
)
def test_beside(url: str, name: str, expected: str) -> None:
    assert beside(url, name) == expected
    if "://" not in name and not name.startswith("/"):
        assert beside(url, str(path_from(url, expected))) == expected


def test_resolved() -> None:
    assert resolved("/d/x/../a.obj") == "/d/a.obj"
    assert resolved("s3://b/./d/a.obj") == "s3://b/d/a.obj"
    assert resolved("s3://b/d//a.obj") == "s3://b/d//a.obj"  # another key
    assert resolved("https://h/d/../a.obj?sig=x") == "https://h/a.obj?sig=x"
    assert resolved("zip://d/../a.obj::/x.zip") == "zip://a.obj::/x.zip"
