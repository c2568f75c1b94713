"""Whole objects in object storage, through fsspec: file://, s3://, memory://, plain paths.

Two promises the rest of the project stands on:

* An object appears whole or not at all. On a file system it is written beside its
  place, synced and renamed; on S3 a PUT (or the completion of a multipart upload) is
  atomic by itself; memory:// is filled from a finished buffer.
* A failure says what to do. Connections that break and answers of 5xx are tried again
  for `RETRY_SECONDS`; a denied key, missing credentials or a missing bucket end at
  once as `SpecError`, a full disk as `Retryable`, both in one line.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import io
import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import IO, Any, ParamSpec, TypeVar

import fsspec

from captionless.errors import CaptionlessError, DataError, Retryable, SpecError, one_line

RETRY_SECONDS = float(os.environ.get("CAPTIONLESS_STORE_RETRY_SECONDS", "120"))

_P = ParamSpec("_P")
_R = TypeVar("_R")

# Names of the exception classes that tell of a connection, not of a wrong request. By
# name, since botocore, aiohttp and urllib3 each have their own and are optional here.
_PASSING = {
    "EndpointConnectionError", "ConnectionClosedError", "ConnectTimeoutError", "ReadTimeoutError",
    "HTTPClientError", "ResponseParserError", "IncompleteReadError", "ClientConnectorError",
    "ClientPayloadError", "ServerDisconnectedError", "ClientOSError", "ServerTimeoutError",
    "FSTimeoutError", "ConnectionResetError", "ConnectionRefusedError", "BrokenPipeError", "TimeoutError",
}  # fmt: skip
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL or plain path, and the path within it."""
    options: dict[str, Any] = {"use_listings_cache": False} if url.startswith(("s3://", "s3a://")) else {}
    try:
        fs, path = fsspec.core.url_to_fs(url, **options)
    except (ValueError, ImportError) as error:
        raise SpecError(f"{url}: no such kind of storage ({error}); use file://, s3:// or a path") from error
    return fs, path


def is_local(url: str) -> bool:
    """Whether the URL is on a file system of this machine."""
    return "://" not in url or url.startswith(("file://", "local://"))


def local_path(url: str) -> str:
    """The absolute path of a local URL."""
    return os.path.abspath(url.split("://", 1)[1] if "://" in url else os.path.expanduser(url))


def join(url: str, *parts: str) -> str:
    """`url` with further path segments."""
    return "/".join([url.rstrip("/"), *(p.strip("/") for p in parts)])


def _told(url: str, error: BaseException) -> CaptionlessError | None:
    """The one-line error for an exception of a storage library; None when trying again is right."""
    chain: list[BaseException] = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None and inner not in chain:
        chain.append(inner)
    names = {type(e).__name__ for e in chain}
    text = one_line(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Retryable(
            f"{url}: no space left on device; free some or set `output` to another place, then run again: "
            "what is already written is kept"
        )
    if names & _NO_CREDENTIALS:
        return SpecError(f"{url}: no credentials for this storage; set them in the environment ({text})")
    if isinstance(error, PermissionError) or "InvalidAccessKeyId" in text or "SignatureDoesNotMatch" in text:
        return SpecError(f"{url}: access denied ({text})")
    if "NoSuchBucket" in text or "bucket does not exist" in text.lower():
        return SpecError(f"{url}: the bucket does not exist; create it or correct the URL")
    if names & _PASSING or (isinstance(error, OSError) and error.errno in (errno.EIO, errno.EBUSY, errno.ETIMEDOUT)):
        return None
    if any(code in text for code in ("InternalError", "SlowDown", "ServiceUnavailable", "Service Unavailable", "503")):
        return None
    return Retryable(f"{url}: {text}")


def _retrying(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Tries a whole-object operation again while its failure is a passing one; its first argument is the URL."""

    @functools.wraps(function)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        deadline, pause = time.monotonic() + RETRY_SECONDS, 0.2
        while True:
            try:
                return function(*args, **kwargs)
            except (FileNotFoundError, CaptionlessError):
                raise
            except Exception as error:
                url = str(args[0])
                if not isinstance(error, OSError) and not type(error).__module__.startswith(
                    ("botocore", "aiobotocore", "aiohttp", "fsspec", "s3fs", "urllib3")
                ):
                    raise
                told = _told(url, error)
                if told is not None:
                    raise told from error
                if time.monotonic() + pause > deadline:
                    raise Retryable(
                        f"{url}: storage did not answer for {RETRY_SECONDS:.0f} s ({type(error).__name__}: {error})"
                    ) from error
                time.sleep(pause)
                pause = min(2 * pause, 10.0)

    return wrapped


@_retrying
def exists(url: str) -> bool:
    fs, path = filesystem(url)
    return bool(fs.exists(path))


@_retrying
def size(url: str) -> int | None:
    """The object's size in bytes, None when there is no such object."""
    fs, path = filesystem(url)
    try:
        info = fs.info(path)
    except FileNotFoundError:
        return None
    return int(info["size"]) if info["type"] == "file" else None


@_retrying
def modified(url: str) -> float | None:
    """When the object was last written, in seconds since the epoch; None when there is no such object."""
    fs, path = filesystem(url)
    try:
        time_of: datetime = fs.modified(path)
    except FileNotFoundError:
        return None
    return time_of.timestamp()


def sha256(url: str) -> str:
    """The object's sha256 (hex), read in blocks. FileNotFoundError when there is none."""
    found, start, block = hashlib.sha256(), 0, 64 << 20
    while data := read_bytes(url, start, start + block):
        found.update(data)
        start += len(data)
        if len(data) < block:
            break
    return found.hexdigest()


@_retrying
def read_bytes(url: str, start: int | None = None, end: int | None = None) -> bytes:
    """The object's bytes, or those of [start, end). FileNotFoundError when there is none."""
    fs, path = filesystem(url)
    return bytes(fs.cat_file(path, start=start, end=end))


@_retrying
def list_names(url: str) -> list[str]:
    """Sorted names directly under a folder (last path segment only); empty when there is no such folder.

    Names that begin with a dot are half-written objects of `open_write` and are left out.
    """
    fs, path = filesystem(url)
    try:
        entries = fs.ls(path, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    names = {str(e).rstrip("/").rsplit("/", 1)[-1] for e in entries if str(e).rstrip("/") != path.rstrip("/")}
    return sorted(n for n in names if not n.startswith("."))


@_retrying
def walk(url: str) -> list[str]:
    """Sorted paths of all objects below a folder, relative to it; hidden names left out."""
    fs, path = filesystem(url)
    root = path.rstrip("/") + "/"
    found = [str(p) for p in fs.find(path)]
    relative = [p[len(root) :] if p.startswith(root) else p for p in found]
    return sorted(p for p in relative if p and not any(s.startswith(".") for s in p.split("/")))


@_retrying
def remove(url: str) -> None:
    """Deletes an object or a folder with all below it; nothing there is no error."""
    fs, path = filesystem(url)
    with contextlib.suppress(FileNotFoundError):
        fs.rm(path, recursive=True)


@_retrying
def write_bytes(url: str, data: bytes) -> None:
    """Stores an object whole, in place of any earlier one."""
    if is_local(url):
        with open_write(url) as file:
            file.write(data)
        return
    fs, path = filesystem(url)
    if fs.protocol == "memory" or "memory" in fs.protocol:
        fs.makedirs(fs._parent(path), exist_ok=True)
    fs.pipe_file(path, data)


@contextlib.contextmanager
def open_write(url: str) -> Iterator[IO[bytes]]:
    """A binary file that becomes the object when the block ends well, and leaves nothing when it does not.

    Local objects are written beside their place and renamed; others are spooled to a
    temporary file (memory up to 64 MiB) and uploaded at the end.
    """
    if not is_local(url):
        with tempfile.SpooledTemporaryFile(max_size=64 << 20) as spool:
            yield spool
            _upload(url, spool)
        return
    path = local_path(url)
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        os.makedirs(folder, exist_ok=True)
        _sweep(folder, name)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        told = _told(url, error)
        raise (told or Retryable(f"{url}: {error}")) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _sweep(folder: str, name: str) -> None:
    """Removes what killed writers of this object on this host left behind."""
    prefix = f".{name}.{socket.gethostname()}."
    for entry in os.listdir(folder):
        if entry.startswith(prefix) and entry.endswith(".tmp"):
            pid = entry[len(prefix) : -len(".tmp")]
            if pid.isdigit() and not os.path.exists(f"/proc/{pid}") and os.path.isdir("/proc"):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, entry))


@_retrying
def _upload(url: str, spool: IO[bytes]) -> None:
    fs, path = filesystem(url)
    spool.seek(0)
    if "memory" in fs.protocol:
        fs.makedirs(fs._parent(path), exist_ok=True)
        fs.pipe_file(path, spool.read())
        return
    with fs.open(path, "wb", block_size=32 << 20) as target:
        while chunk := spool.read(8 << 20):
            target.write(chunk)


def read_json(url: str) -> Any:
    """A stored JSON document. DataError when it does not parse; FileNotFoundError when there is none."""
    try:
        return json.loads(read_bytes(url))
    except ValueError as error:
        raise DataError(f"{url}: not valid JSON ({error}); delete it and run again") from error


def write_json(url: str, value: Any) -> None:
    """Stores a document as canonical JSON (sorted keys), so that equal values are equal bytes."""
    write_bytes(url, (json.dumps(value, sort_keys=True, indent=1) + "\n").encode())


def renew_json(url: str, value: Any) -> None:
    """`write_json` unless the same document is stored already, so that what did not change keeps its time."""
    try:
        if read_json(url) == value:
            return
    except (FileNotFoundError, DataError):
        pass
    write_json(url, value)


def check(url: str) -> None:
    """Fails with SpecError when nothing can be stored under `url` (missing bucket, denied, not a folder)."""
    if url.startswith("memory://"):
        return
    if is_local(url):
        path = local_path(url)
        while not os.path.exists(path):
            path = os.path.dirname(path)
        if not os.path.isdir(path):
            raise SpecError(f"{url}: {path} is a file, expected a folder")
        if not os.access(path, os.W_OK | os.X_OK):
            raise SpecError(f"{url}: {path} is not writable")
        return
    _check_bucket(url)


@_retrying
def _check_bucket(url: str) -> None:
    fs, path = filesystem(url)
    bucket = path.split("/", 1)[0]
    try:
        fs.ls(bucket if path == bucket else path, detail=False)
    except FileNotFoundError:
        if not fs.exists(bucket):
            raise SpecError(f"{url}: the bucket {bucket!r} does not exist; create it or correct the URL") from None


def digest(*parts: object) -> str:
    """A sha256 (hex) over canonical JSON of its arguments: the fingerprint of what something is made from."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def buffer(write: Callable[[IO[bytes]], object]) -> bytes:
    """The bytes that `write` puts into a file it is given (for libraries that only know files)."""
    sink = io.BytesIO()
    write(sink)
    return sink.getvalue()
