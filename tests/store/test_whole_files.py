"""Files of unknown origin: read whole with their version, or refused with the reason."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import tracemalloc
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from captionless.errors import DataError, Retryable, SpecError
from captionless.store import objects, storage_retry, whole_files
from captionless.store.guarded_http import Guard, is_public
from captionless.store.scan import UNANSWERED, look_up
from captionless.store.urls import filesystem
from captionless.store.versions import version_of
from captionless.store.whole_files import Content, digest_of_file, read_file
from tests.store.faulty_s3 import Fault, FaultyS3, reached_by_environment

GUARD = Guard()


def version(url: str) -> str:
    fs, path = filesystem(url)
    return version_of(fs.info(path))


def test_of_every_local_storage(root: str) -> None:
    url = objects.join(root, "a.bin")
    objects.write_bytes(url, b"0123")
    assert read_file(url, GUARD) == Content(b"0123", version(url))
    with pytest.raises(FileNotFoundError):
        read_file(objects.join(root, "none"), GUARD)


def test_in_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("a/b.obj", b"0123")
    url = f"zip://a/b.obj::{tmp_path}/x.zip"
    assert read_file(url, GUARD) == Content(b"0123", version(url))
    with pytest.raises(FileNotFoundError):
        read_file(f"zip://c.obj::{tmp_path}/x.zip", GUARD)
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(DataError, match="a device or socket"):
        read_file(f"zip://a/b.obj::{tmp_path}/pipe.zip", GUARD)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda p: os.mkfifo(p), "a device or socket"),
        (_socket, "a device or socket"),
        (lambda p: p.mkdir(), "a folder"),
        (lambda p: p.symlink_to(p), "a loop of symbolic links"),
        (lambda p: p.symlink_to("/dev/zero"), "a device or socket"),
    ],
)
def test_what_is_no_file_is_refused_without_opening_it(tmp_path: Path, make: object, reason: str) -> None:
    make(tmp_path / "x")  # type: ignore[operator]
    with pytest.raises(DataError, match=f"{tmp_path}/x: {reason}"):
        read_file(str(tmp_path / "x"), GUARD)


@pytest.mark.parametrize(
    ("name", "reason"), [("a\0b", "not allowed"), ("a" * 256, "too long"), ("file/x.mtl", "is a file")]
)
def test_names_that_cannot_be(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_bytes(b"-")
    with pytest.raises(DataError, match=reason):
        read_file(f"{tmp_path}/{name}", GUARD)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_denied(tmp_path: Path) -> None:
    (tmp_path / "x").touch(mode=0)
    with pytest.raises(DataError, match="access denied"):
        read_file(str(tmp_path / "x"), GUARD)


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(tmp_path / "x", "wb") as file:
        file.truncate(whole_files.MAX_BYTES + 1)  # sparse
    with pytest.raises(DataError, match=r"has 4,000,000,001 bytes; at most 4,000,000,000 "):
        read_file(str(tmp_path / "x"), GUARD)


def digests(url: str, guard: Guard = GUARD) -> list[str]:
    return [digest_of_file(url, guard, "md5").hex(), digest_of_file(url, guard, "sha256").hex()]


def expected(data: bytes) -> list[str]:
    return [hashlib.md5(data, usedforsecurity=False).hexdigest(), hashlib.sha256(data).hexdigest()]


def test_digests_are_of_the_content_and_refused_like_it(root: str, tmp_path: Path) -> None:
    url = objects.join(root, "a.bin")
    data = bytes(range(256)) * 12_345  # some pieces
    objects.write_bytes(url, data)
    assert digests(url) == expected(data)
    with pytest.raises(FileNotFoundError):
        digests(objects.join(root, "none"))
    (tmp_path / "x").mkdir()
    with pytest.raises(DataError, match="x: a folder"):
        digests(str(tmp_path / "x"))


def test_of_digests_a_piece_is_held_at_a_time(tmp_path: Path) -> None:
    size = 48 << 20
    with open(tmp_path / "x", "wb") as file:
        file.truncate(size)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "x", "x")
    for url in (str(tmp_path / "x"), f"zip://x::{tmp_path}/x.zip"):
        tracemalloc.start()
        assert digest_of_file(url, GUARD, "md5") == hashlib.md5(bytes(size), usedforsecurity=False).digest()
        tracemalloc.reset_peak()
        digest_of_file(url, GUARD, "sha256")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
        tracemalloc.stop()


# S3


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyS3]:
    with reached_by_environment("bucket") as server:
        yield server


@pytest.fixture
def s3(server: FaultyS3) -> Iterator[FaultyS3]:
    objects.write_bytes("s3://bucket/in/a.bin", b"0123")
    server.requests.clear()
    yield server
    server.faults.clear()


def test_on_s3_a_file_and_its_version_take_one_request(s3: FaultyS3) -> None:
    found = read_file("s3://bucket/in/a.bin", GUARD)
    assert s3.requests == [("GET", "/bucket/in/a.bin")]
    assert found == Content(b"0123", version("s3://bucket/in/a.bin"))
    for url in ("s3://bucket/in/none", "s3://bucket/in"):
        with pytest.raises(FileNotFoundError):
            read_file(url, GUARD)


def test_on_s3_too_large(s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_files, "MAX_BYTES", 3)
    for read in (read_file, partial(digest_of_file, algorithm="md5")):
        with pytest.raises(DataError, match="has 4 bytes; at most 3 "):
            read("s3://bucket/in/a.bin", GUARD)


def test_on_s3_one_denied_file_is_its_own_failure_but_bad_credentials_are_the_storages(s3: FaultyS3) -> None:
    s3.faults.append(Fault(403, "AccessDenied", hits=lambda method, path: "a.bin" in path))
    with pytest.raises(DataError, match=r"a\.bin: access denied"):
        read_file("s3://bucket/in/a.bin", GUARD)
    s3.faults.append(Fault(403, "AccessDenied", times=2))  # nor may the bucket be listed
    with pytest.raises(SpecError):
        read_file("s3://bucket/in/a.bin", GUARD)
    s3.faults[:] = [Fault(403, "ExpiredToken")]
    with pytest.raises(SpecError):
        read_file("s3://bucket/in/a.bin", GUARD)
    with pytest.raises(SpecError, match="bucket"):
        read_file("s3://no-such-bucket/in/a.bin", Guard(["s3://no-such-bucket/list.jsonl"]))


@pytest.mark.parametrize("url", ["s3://no-such-bucket/in/a.bin", "s3://A_B/x.obj", "s3://bucket/", "s3://"])
def test_on_s3_names_that_cannot_be(s3: FaultyS3, url: str) -> None:
    with pytest.raises((DataError, FileNotFoundError)) as caught:
        read_file(url, GUARD)
    assert not isinstance(caught.value, SpecError)


def test_on_s3_what_is_transient_is_tried_again(s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.faults += [Fault(503, "SlowDown"), Fault(0)]
    assert read_file("s3://bucket/in/a.bin", GUARD).data == b"0123"
    s3.faults += [Fault(503, "SlowDown"), Fault(0)]
    assert digests("s3://bucket/in/a.bin") == expected(b"0123")
    monkeypatch.setattr(storage_retry, "RETRY_SECONDS", 0.1)
    s3.faults[:] = [Fault(503, "SlowDown", times=99)]
    with pytest.raises(Retryable):
        read_file("s3://bucket/in/a.bin", GUARD)


def test_a_storage_that_cannot_be_read_is_the_failure_of_its_files_unless_it_is_the_sources(s3: FaultyS3) -> None:
    archive = "zip://a.obj::s3://no-such-bucket/x.zip"
    for url in ("gs://bucket/a.obj", "az://container/a.obj", archive):
        with pytest.raises(DataError) as caught:
            read_file(url, Guard(["s3://bucket/list.jsonl"]))
        assert not isinstance(caught.value, SpecError)
        assert str(caught.value).startswith(f"{url}: ")
        with pytest.raises(SpecError):
            read_file(url, Guard([url.split("::")[-1]]))
    with pytest.raises(SpecError, match="bucket 'no-such-bucket' does not exist"):
        read_file(archive, Guard(["s3://no-such-bucket/list.jsonl"]))


# HTTP


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        _, kind, *rest = self.path.split("/", 2)
        if kind.isdigit():
            self.send_response(int(kind))
            if rest:
                self.send_header("Location", rest[0] or self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if kind == "closed":
            self.close_connection = True
            return
        self.send_response(200)
        if kind in ("gzip", "short"):
            self.send_header(*(("Content-Encoding", "gzip") if kind == "gzip" else ("Content-Length", "9")))
            self.end_headers()
            self.wfile.write(b"0123")
            self.close_connection = True
            return
        if kind == "endless":
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                return
        self.send_header("Content-Length", "4")
        self.send_header("ETag", '"abc"')
        self.end_headers()
        self.wfile.write(b"0123")

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.send_header("ETag", '"abc"')
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Not on the tests' stderr."""


@pytest.fixture(scope="module")
def pages() -> Iterator[list[str]]:
    """The addresses of two web servers."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _Pages) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield [f"http://127.0.0.1:{server.server_port}" for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


def test_over_http(pages: list[str]) -> None:
    guard = Guard([f"{pages[0]}/list.jsonl"])
    assert read_file(f"{pages[0]}/a.bin", guard) == Content(b"0123", version(f"{pages[0]}/a.bin"))
    assert digests(f"{pages[0]}/a.bin", guard) == expected(b"0123")
    for status in (404, 410):
        with pytest.raises(FileNotFoundError):
            read_file(f"{pages[0]}/{status}", guard)
    for status in (401, 403, 451):
        with pytest.raises(DataError, match=f"the server answered {status}"):
            read_file(f"{pages[0]}/{status}", guard)
    with pytest.raises(DataError):
        read_file(f"{pages[0]}/302/{pages[0]}/302", guard)  # to nowhere
    with pytest.raises(DataError):
        read_file(f"{pages[0]}/307/", guard)  # in circles


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_retry, "RETRY_SECONDS", 0.1)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com:99999/a.obj",
        "http://a..b/a.obj",
        "http:///a.obj",
        "http://exa mple.com/a.obj",
        "http://[::1/a.obj",
        "http://xn--/a.obj",
        "{}/302/file:///etc/hostname",
        "{}/418",
        "zip://a.obj::{}/x.zip",
    ],
)
def test_over_http_what_cannot_be_is_the_files(pages: list[str], url: str) -> None:
    with pytest.raises((DataError, FileNotFoundError)):
        read_file(url.format(pages[0]), Guard([pages[0]]))
    found = [f for page in look_up([url.format(pages[0])], Guard([pages[0]])) for f in page]
    assert all(each.version in ("", UNANSWERED) or each.url.startswith(pages[0]) for each in found)


@pytest.mark.parametrize("page", ["500", "503", "gzip", "short", "closed"])
@pytest.mark.usefixtures("impatient")
def test_over_http_a_file_that_is_never_answered_is_at_fault_where_its_server_answers(
    pages: list[str], page: str
) -> None:
    with pytest.raises(DataError, match="its server answers, but not with this file"):
        read_file(f"{pages[0]}/{page}", Guard([pages[0]]))


@pytest.mark.usefixtures("impatient")
def test_over_http_a_silent_server_is_at_fault_where_another_answers_and_is_not_asked_again(pages: list[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        silent = f"http://127.0.0.1:{free.getsockname()[1]}"
    alone, beside = Guard([silent]), Guard([silent, pages[0]])
    with pytest.raises(Retryable):
        read_file(f"{silent}/a.bin", alone)
    with pytest.raises(Retryable):
        list(look_up([f"{silent}/a.bin"], alone))
    with pytest.raises(DataError, match="does not answer, while others do"):
        read_file(f"{silent}/a.bin", beside)
    with pytest.raises(DataError, match="did not answer a short time ago"):
        read_file(f"{silent}/b.bin", beside)
    found = [f for page in look_up(sorted([f"{silent}/a.bin", f"{pages[0]}/a.bin"]), beside) for f in page]
    assert {f.url: f.version == UNANSWERED for f in found} == {f"{silent}/a.bin": True, f"{pages[0]}/a.bin": False}
    assert read_file(f"{pages[0]}/a.bin", beside).data == b"0123"


def test_over_http_too_large(pages: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_files, "MAX_BYTES", 3)
    guard = Guard([pages[0]])
    for page in ("a.bin", "endless"):
        for read in (read_file, partial(digest_of_file, algorithm="md5")):
            with pytest.raises(DataError, match="at most 3 "):
                read(f"{pages[0]}/{page}", guard)


def test_private_addresses_are_refused_however_they_are_reached(pages: list[str]) -> None:
    port = pages[1].rpartition(":")[2]
    guard = Guard([pages[0]])
    for url in (
        f"{pages[1]}/a.bin",
        f"http://localhost:{port}/a.bin",
        f"http://2130706433:{port}/a.bin",
        f"{pages[0]}/302/{pages[1]}/a.bin",
        f"zip://a.obj::{pages[1]}/x.zip",
    ):
        for read in (read_file, partial(digest_of_file, algorithm="md5")):
            with pytest.raises(DataError, match=r"not a (public address|canonical)"):
                read(url, guard)
    assert read_file(f"{pages[0]}/302/{pages[0]}/a.bin", guard).data == b"0123"
    assert read_file(f"{pages[1]}/a.bin", Guard([pages[1]])).data == b"0123"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("::ffff:169.254.169.254", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) == public
