"""Compare-and-swap: of many writers that have read the same, one replaces it, on every storage."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from captionless.errors import SpecError
from captionless.store import objects
from captionless.store.conditional import replace_if
from captionless.store.sweeping import sweep
from tests.store.faulty_s3 import Fault, FaultyS3, reached_by_environment

BUCKET = "captionless-conditional"


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyS3]:
    with reached_by_environment(BUCKET) as server:
        yield server


@pytest.fixture
def s3(server: FaultyS3) -> Iterator[FaultyS3]:
    objects.remove(f"s3://{BUCKET}/run")
    server.requests.clear()
    yield server
    server.faults.clear()


@pytest.fixture(params=["folder", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        request.getfixturevalue("s3")
        return f"s3://{BUCKET}/run/x.json"
    return f"{tmp_path}/run/x.json" if request.param == "folder" else f"memory://{tmp_path.name}/run/x.json"


def test_an_object_is_replaced_only_if_it_is_what_was_read(url: str) -> None:
    assert not replace_if(url, b"1", b"0")
    assert not objects.exists(url)
    assert replace_if(url, b"1", None)
    assert not replace_if(url, b"2", None)
    assert not replace_if(url, b"2", b"0")
    assert objects.read_bytes(url) == b"1"
    assert replace_if(url, b"2", b"1")
    assert objects.read_bytes(url) == b"2"
    assert objects.walk(url.rpartition("/")[0]) == ["x.json"]


@pytest.mark.parametrize("url", ["folder", "memory"], indirect=True)  # moto checks and writes in two steps
def test_of_many_writers_at_once_one_succeeds(url: str) -> None:
    for expected in (None, b"first"):
        if expected is not None:
            objects.write_bytes(url, expected)
        won: list[bytes] = []
        start = threading.Barrier(8)

        def write(data: bytes, expected: bytes | None, won: list[bytes], start: threading.Barrier) -> None:
            start.wait()
            if replace_if(url, data, expected):
                won.append(data)

        threads = [threading.Thread(target=write, args=(b"%d" % n, expected, won, start)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [objects.read_bytes(url)]
        objects.remove(url)


def test_processes_count_together(tmp_path: Path) -> None:
    url, each = str(tmp_path / "count"), 20
    code = f"""
from captionless.store import objects
from captionless.store.conditional import replace_if
for _ in range({each}):
    while True:
        found = objects.read_bytes({url!r}) if objects.exists({url!r}) else None
        if replace_if({url!r}, b"%d" % (int(found or 0) + 1), found):
            break
"""
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert objects.read_bytes(url) == b"%d" % (3 * each)
    assert [p.name for p in tmp_path.iterdir()] == ["count"]


_STOPS = """
import os, signal, sys
url, event = sys.argv[1:]
from captionless.store.conditional import replace_if
def watch(name, arguments):
    if name == event and os.fspath(arguments[1]) in (url, os.path.join(os.path.dirname(url), ".x.json.nothing.next")):
        os.kill(os.getpid(), signal.SIGSTOP)
sys.addaudithook(watch)
print(replace_if(url, b"theirs", None))
"""


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts a writer that stops right before a system call, and waits until it has."""
    started = []

    def start(event: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _STOPS, str(tmp_path / "x.json"), event]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def _goes_on(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGCONT)
    return process.communicate()[0].strip()


def test_a_frozen_writer_that_has_claimed_holds_nobody_up_and_replaces_nothing_newer(
    tmp_path: Path, stopped: Callable[[str], subprocess.Popen[str]]
) -> None:
    url = str(tmp_path / "x.json")
    frozen = stopped("os.rename")
    assert not objects.exists(url)
    assert not replace_if(url, b"mine", None)
    assert objects.read_bytes(url) == b"theirs"
    assert replace_if(url, b"mine", b"theirs")
    assert _goes_on(frozen) == "True"
    assert objects.read_bytes(url) == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_frozen_writer_that_has_not_claimed_is_late(
    tmp_path: Path, stopped: Callable[[str], subprocess.Popen[str]]
) -> None:
    url = str(tmp_path / "x.json")
    frozen = stopped("os.link")
    assert replace_if(url, b"mine", None)
    assert _goes_on(frozen) == "False"
    assert objects.read_bytes(url) == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_what_a_killed_writer_has_claimed_is_completed(
    tmp_path: Path, stopped: Callable[[str], subprocess.Popen[str]]
) -> None:
    url = str(tmp_path / "x.json")
    killed = stopped("os.rename")
    killed.kill()
    killed.wait()
    assert not replace_if(url, b"mine", None)
    assert replace_if(url, b"mine", b"theirs")
    assert objects.walk(str(tmp_path)) == ["x.json"]
    assert sweep(str(tmp_path)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_file_system_without_links_is_read_compared_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(source: str, target: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", denied)
    url = str(tmp_path / "x.json")
    assert replace_if(url, b"1", None)
    assert not replace_if(url, b"2", None)
    assert replace_if(url, b"2", b"1")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_the_store_compares_what_is_written_between_reading_and_writing(s3: FaultyS3) -> None:
    url = f"s3://{BUCKET}/run/x.json"
    for before in (None, b"read"):
        if before is not None:
            objects.write_bytes(url, before)
        began = len(s3.requests)

        def another(count: int, began: int = began) -> None:
            if count == began + 2:  # after the read, before the write
                s3.client.put_object(Bucket=BUCKET, Key="run/x.json", Body=b"another's")

        s3.on_request = another
        try:
            assert not replace_if(url, b"mine", before)
        finally:
            s3.on_request = lambda count: None
        assert objects.read_bytes(url) == b"another's"
        objects.remove(url)


def test_a_write_whose_answer_is_lost_has_succeeded(s3: FaultyS3) -> None:
    url = f"s3://{BUCKET}/run/x.json"
    for data, expected in ((b"1", None), (b"2", b"1")):

        def is_written(method: str, path: str, data: bytes = data) -> bool:
            if method == "PUT":
                s3.client.put_object(Bucket=BUCKET, Key="run/x.json", Body=data)
            return method == "PUT"

        s3.faults[:] = [Fault(500, "InternalError", hits=is_written)]
        assert replace_if(url, data, expected)
        assert objects.read_bytes(url) == data


def test_a_store_without_conditional_writes_is_read_compared_and_written(s3: FaultyS3) -> None:
    url = f"s3://{BUCKET}/run/x.json"
    for data, expected in ((b"1", None), (b"2", b"1")):
        s3.faults[:] = [Fault(501, "NotImplemented", hits=lambda method, path: method == "PUT")]
        assert replace_if(url, data, expected)
        assert objects.read_bytes(url) == data
        assert not replace_if(url, b"3", b"0")


def test_a_missing_bucket_is_named(s3: FaultyS3) -> None:
    with pytest.raises(SpecError, match="no-such-bucket"):
        replace_if("s3://no-such-bucket/x.json", b"1", None)
