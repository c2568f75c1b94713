"""S3 on the wire: transient failures are retried, permanent ones end at once, for every operation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import s3fs

from captionless.errors import Retryable, SpecError
from captionless.store import objects, storage_retry
from captionless.store.atomic_writes import open_write
from captionless.store.shards import ShardReader, write_shard
from captionless.telemetry import catalog, registry
from tests.store.faulty_s3 import Fault, FaultyS3, reached_by_environment

BUCKET = "captionless-tests"
ROOT = f"s3://{BUCKET}/run"


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyS3]:
    with reached_by_environment(BUCKET) as server:
        yield server


@pytest.fixture
def s3(server: FaultyS3) -> Iterator[FaultyS3]:
    """The server with an object and a shard."""
    objects.remove(ROOT)
    objects.write_bytes(f"{ROOT}/a.bin", b"0123456789")
    write_shard(f"{ROOT}/x.tar", [("k", {"txt": b"hello"}), ("l", {"txt": b"world"})])
    server.requests.clear()
    yield server
    server.faults.clear()


def _open_write(root: str) -> None:
    with open_write(f"{root}/b.bin") as file:
        file.write(b"new")


OPERATIONS: dict[str, Callable[[str], Any]] = {
    "exists": lambda root: objects.exists(f"{root}/a.bin"),
    "is absent": lambda root: objects.exists(f"{root}/none.bin"),
    "size": lambda root: objects.size(f"{root}/a.bin"),
    "modified": lambda root: objects.modified(f"{root}/a.bin") is not None,
    "read": lambda root: objects.read_bytes(f"{root}/a.bin"),
    "ranged read": lambda root: objects.read_bytes(f"{root}/a.bin", 2, 5),
    "sha256": lambda root: objects.sha256(f"{root}/a.bin"),
    "list": lambda root: objects.list_names(root),
    "walk": lambda root: objects.walk(root),
    "check": lambda root: objects.check(root),
    "remove": lambda root: objects.remove(f"{root}/a.bin"),
    "write": lambda root: objects.write_bytes(f"{root}/b.bin", b"new"),
    "open_write": _open_write,
    "member of a shard": lambda root: ShardReader(f"{root}/x.tar").read("l", "txt"),
    "whole shard": lambda root: list(ShardReader(f"{root}/x.tar").samples()),
}
READS = ("read", "ranged read", "sha256", "member of a shard", "whole shard", "list", "walk")
EXPECTED: dict[str, Any] = {
    "exists": True, "is absent": False, "size": 10, "modified": True, "read": b"0123456789", "ranged read": b"234",
    "list": ["a.bin", "x.index", "x.tar"], "walk": ["a.bin", "x.index", "x.tar"], "member of a shard": b"world",
    "whole shard": [("k", {"txt": b"hello"}), ("l", {"txt": b"world"})],
}  # fmt: skip


def _does(name: str) -> None:
    """The operation's result, and its effect on what is stored, are the undisturbed ones."""
    result = OPERATIONS[name](ROOT)
    if name in EXPECTED:
        assert result == EXPECTED[name]
    stored = set(objects.walk(ROOT))
    assert ("b.bin" in stored) == (name in ("write", "open_write"))
    assert ("a.bin" in stored) == (name != "remove")
    if "b.bin" in stored:
        assert objects.read_bytes(f"{ROOT}/b.bin") == b"new"


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_transient_failure_is_retried(s3: FaultyS3, name: str) -> None:
    registry.reset()
    s3.faults.append(Fault(500, "InternalError"))
    _does(name)
    assert s3.faults[0].times == 0
    assert [m[2] for m in registry.snapshot() if m[0] == catalog.STAGE_STORAGE_RETRIES.name] == [1]


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, ""), (502, ""), (503, "SlowDown"), (503, ""), (504, ""), (429, ""), (408, ""), (400, "RequestTimeout")],
    ids=lambda value: str(value) or "no code",
)
@pytest.mark.parametrize("name", ["exists", "write"])
def test_which_answers_are_transient(s3: FaultyS3, name: str, status: int, code: str) -> None:
    if name == "exists" and status == 400:
        return  # a HEAD's answer has no body to hold the code
    s3.faults.append(Fault(status, code))
    _does(name)
    assert s3.faults[0].times == 0


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_server_that_is_away_is_waited_for(s3: FaultyS3, name: str) -> None:
    s3.refuse()
    back = threading.Timer(0.1, s3.answer)
    back.start()
    _does(name)
    back.join()


@pytest.mark.parametrize("name", READS)
def test_an_answer_that_breaks_off_is_read_again(s3: FaultyS3, name: str) -> None:
    s3.faults.append(Fault(0, hits=lambda method, path: method == "GET"))
    _does(name)
    assert s3.faults[0].times == 0


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_denied_key_ends_at_once(s3: FaultyS3, name: str) -> None:
    for code in ("AccessDenied", "InvalidAccessKeyId", ""):
        s3.faults[:] = [Fault(403, code, times=1000)]
        s3.requests.clear()
        with pytest.raises(SpecError, match=ROOT):
            OPERATIONS[name](ROOT)
        assert len(s3.requests) <= 2


@pytest.mark.parametrize(
    ("code", "word"),
    [("ExpiredToken", "denied"), ("AuthorizationHeaderMalformed", "region")],
    ids=["expired", "malformed"],
)
def test_what_is_wrong_whoever_asks_ends_at_once(s3: FaultyS3, code: str, word: str) -> None:
    s3.faults.append(Fault(400, code, times=1000))
    for name in ("read", "list", "write"):
        s3.requests.clear()
        with pytest.raises(SpecError, match=word if name != "read" else ROOT):  # a HEAD has no code
            OPERATIONS[name](ROOT)
        assert len(s3.requests) <= 2


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_missing_bucket_ends_at_once(s3: FaultyS3, name: str) -> None:
    with pytest.raises(SpecError, match="'no-such-bucket'"):
        OPERATIONS[name]("s3://no-such-bucket/run")
    assert len(s3.requests) <= 4


def test_an_object_whose_removal_is_denied_is_an_error(s3: FaultyS3) -> None:
    """A bulk deletion answers 200 and lists what it was denied; the library does not report that."""
    s3.faults.append(Fault(403, "AccessDenied", times=1000, hits=lambda method, path: method in ("DELETE", "POST")))
    with pytest.raises(SpecError, match=ROOT):
        objects.remove(ROOT)
    assert objects.exists(f"{ROOT}/a.bin")


def test_a_server_that_stays_away_is_a_retryable_error(s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_retry, "RETRY_SECONDS", 0.1)
    s3.faults.append(Fault(503, "ServiceUnavailable", times=1000))
    for name in OPERATIONS:
        with pytest.raises(Retryable, match=ROOT) as caught:
            OPERATIONS[name](ROOT)
        assert "\n" not in str(caught.value)


def test_an_upload_that_fails_half_way_leaves_nothing(s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large object goes up in parts; when one fails for good, the old object stays and no parts are kept."""
    monkeypatch.setattr(storage_retry, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr("s3fs.core.calculate_chunksize", lambda size, chunksize=None: 5 << 20)
    s3.faults.append(Fault(500, "InternalError", times=1000, hits=lambda method, path: "partNumber=2" in path))

    def upload() -> None:
        with open_write(f"{ROOT}/a.bin") as file:
            for _ in range(3):
                file.write(b"\0" * (4 << 20))

    with pytest.raises(Retryable, match=f"{ROOT}/a.bin"):
        upload()
    assert objects.read_bytes(f"{ROOT}/a.bin") == b"0123456789"
    assert not s3.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")
    s3.faults.clear()
    upload()
    assert objects.size(f"{ROOT}/a.bin") == 3 * (4 << 20)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"AWS_ENDPOINT_URL": "127.0.0.1:9000"}, "endpoint"),
        ({"AWS_PROFILE": "nobody"}, "nobody"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}, "credentials"),
    ],
    ids=["endpoint", "profile", "credentials"],
)
def test_a_wrong_environment_ends_at_once(
    s3: FaultyS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, variables: dict[str, str], words: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(SpecError, match=words):
        objects.check(ROOT)
    s3fs.S3FileSystem.clear_instance_cache()
