"""Reading a file of unknown origin whole, together with its version; or only its digest, piece by piece.

What is read here was named by a data set, not by the user: it may be a device that never ends, a file that nobody may
read, a page of another network. Whatever is wrong with the one file is a `DataError`; failures of the storage remain
`Retryable` or `SpecError`. On S3 and over HTTP the file and its version come with one request.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

from fsspec.asyn import sync

from captionless.errors import DataError, SpecError
from captionless.store.guarded_http import Guard
from captionless.store.storage_errors import is_invalid_login, is_transient, s3_refusal, web_refusal
from captionless.store.storage_retry import retrying
from captionless.store.urls import filesystem, is_local, local_path
from captionless.store.versions import of_stat, version_of
from captionless.store.web_servers import Unanswered, is_on_web
from captionless.telemetry import catalog, registry

MAX_BYTES = 4_000_000_000
_CHUNK = 1 << 20
_HTTP, _S3 = ("http://", "https://"), ("s3://", "s3a://")
_REFUSALS = {
    errno.ENAMETOOLONG: "its name is too long",
    errno.ELOOP: "a loop of symbolic links",
    errno.ENOTDIR: "one of the folders in its path is a file",
    errno.EISDIR: "a folder, expected a file",
    errno.EACCES: "access denied",
    errno.EPERM: "access denied",
    errno.EINVAL: "its name is not allowed",
    errno.EILSEQ: "its name is not allowed",
    errno.ENXIO: "a device or socket, expected a file",
}


@dataclass(frozen=True)
class Content:
    """A file's bytes, and its version as `versions.version_of` gives it."""

    data: bytes
    version: str


def read_file(url: str, guard: Guard) -> Content:
    """The file. FileNotFoundError when there is none; DataError, with the URL, when it may not or cannot be read."""
    held, version = _taken(url, guard, _Held)
    return Content(b"".join(held.pieces), version)


def digest_of_file(url: str, guard: Guard, algorithm: Literal["md5", "sha256"]) -> bytes:
    """The digest of a file, of which no more than a piece is held. Raises what `read_file` does."""
    hashed, _ = _taken(url, guard, partial(_Hashed, algorithm))
    return hashed.hash.digest()


class _Held:
    """Keeps the pieces of a file."""

    at_once = -1  # of a local file: all of it, which need not be joined then

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0

    def add(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self.size += len(piece)


class _Hashed:
    """Keeps the digest of the pieces of a file."""

    at_once = _CHUNK

    def __init__(self, algorithm: str) -> None:
        self.hash, self.size = hashlib.new(algorithm, usedforsecurity=False), 0

    def add(self, piece: bytes) -> None:
        self.hash.update(piece)
        self.size += len(piece)


_Sink = TypeVar("_Sink", _Held, _Hashed)


def _taken(url: str, guard: Guard, begin: Callable[[], _Sink]) -> tuple[_Sink, str]:
    """What a file was read into, and its version."""
    try:
        found = guard.servers.ask(url, lambda: _attempt(url, guard, begin))
    except Unanswered as error:
        raise DataError(f"{url}: {error}") from error
    if isinstance(found, str):
        raise DataError(f"{url}: {found}")
    registry.add(catalog.STAGE_READ_BYTES, found[0].size)
    return found


@retrying
def _attempt(url: str, guard: Guard, begin: Callable[[], _Sink]) -> tuple[_Sink, str] | str:
    """What the file was read into and its version, or why it is refused."""
    guard.refused, into = "", begin()
    try:
        if is_local(url):
            return into, _local(local_path(url), into)
        for archive in filter(is_local, url.split("::")[1:]):
            _regular(os.stat(local_path(archive)))
        fs, path = filesystem(url, guard)
        if url.startswith(_S3):
            return into, sync(fs.loop, _s3, fs, path, into)
        if url.startswith(_HTTP):
            return into, sync(fs.loop, _http, fs, path, into)
        return into, _other(fs, path, into)
    except _Refused as error:
        return str(error)
    except Exception as error:
        refusal = f"{guard.refused} is not a public address" if guard.refused else _refusal(url, error, guard)
        if refusal is None:
            raise _behind(url, error)  # noqa: B904 - it has its cause
        return refusal


class _Refused(Exception):
    pass


def _limited(size: int | None, at_least: str = "") -> None:
    if size is not None and size > MAX_BYTES:
        raise _Refused(f"has {at_least}{size:,} bytes; at most {MAX_BYTES:,} are read")


def _local(path: str, into: _Held | _Hashed) -> str:
    _regular(os.stat(path))  # before it is opened: opening some devices has effects
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        found = os.fstat(file.fileno())
        _regular(found)
        _limited(found.st_size)
        _feed(into, file.read)
        return of_stat(found)


def _feed(into: _Held | _Hashed, read: Callable[[int], bytes]) -> None:
    while piece := read(into.at_once):
        into.add(piece)


def _regular(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))


async def _s3(fs: Any, path: str, into: _Held | _Hashed) -> str:
    bucket, key, version = fs.split_path(path)
    response = await fs._call_s3("get_object", Bucket=bucket, Key=key, **({"VersionId": version} if version else {}))
    body = response["Body"]
    try:
        size = int(response["ContentLength"])
        _limited(size)
        await _feed_chunks(into, lambda: body.read(_CHUNK))
    finally:
        body.close()
    return version_of({"ETag": response.get("ETag"), "size": size})


async def _http(fs: Any, url: str, into: _Held | _Hashed) -> str:
    session = await fs.set_session()
    options = {**fs.kwargs, "headers": {**fs.kwargs.get("headers", {}), "Accept-Encoding": "identity"}}
    async with session.get(fs.encode_url(url), **options) as response:
        if response.status == 410:
            raise FileNotFoundError(url)
        fs._raise_not_found_for_status(response, url)
        if response.status >= 300:
            raise _Refused(f"the server answered {response.status}")
        _limited(response.content_length)
        await _feed_chunks(into, lambda: response.content.read(_CHUNK))
        about = {name: response.headers.get(name) for name in ("ETag", "Content-MD5", "Last-Modified")}
        return version_of({**about, "size": response.content_length})


async def _feed_chunks(into: _Held | _Hashed, read: Callable[[], Any]) -> None:
    while chunk := await read():
        into.add(chunk)
        _limited(into.size, "at least ")


def _other(fs: Any, path: str, into: _Held | _Hashed) -> str:
    info = fs.info(path)
    if info["type"] != "file":
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    _limited(info.get("size"))
    try:
        if into.at_once < 0:
            into.add(bytes(fs.cat_file(path)))
        else:
            with fs.open(path, "rb") as file:
                _feed(into, file.read)
        return version_of(info)
    except KeyError as error:  # of archives
        raise FileNotFoundError(path) from error


def _refusal(url: str, error: Exception, guard: Guard) -> str | None:
    """Why this one file cannot be read; None if it is missing, or if the error is about the storage."""
    if not _is_of_origin(url, guard):
        if isinstance(error, SpecError):  # there is no reader of such a storage
            return str(error).removeprefix(f"{url}: ")
        if _archive(url).startswith(_S3) and (reason := s3_refusal(error)):
            return reason
    if isinstance(error, FileNotFoundError):
        return None
    if is_on_web(url):
        return web_refusal(url, error)
    if isinstance(error, OSError) and error.errno in _REFUSALS and not url.startswith(_S3):
        return _REFUSALS[error.errno]
    if isinstance(error, ValueError) and is_local(url):  # a NUL
        return _REFUSALS[errno.EINVAL]
    if url.startswith(_S3) and isinstance(error, PermissionError) and not is_invalid_login(error) and _may_list(url):
        return "access denied"
    return None


def _behind(url: str, error: Exception) -> Exception:
    """What went wrong with a server for a while, and fsspec says of an archive there that it is missing; otherwise the
    error itself."""
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and is_on_web(url) and isinstance(cause, Exception):
        return cause if is_transient(url, cause) else error
    return error


def _is_of_origin(url: str, guard: Guard) -> bool:
    """Whether a file is in the bucket, or on the host, of the source: what is wrong with that is wrong for all."""
    return _place(_archive(url)) in map(_place, guard.origins)


def _place(url: str) -> tuple[str, str]:
    scheme, mark, path = url.rpartition("://")
    return scheme.replace("s3a", "s3"), path.partition("/")[0] if mark else ""


def _archive(url: str) -> str:
    """The URL of the archive that a file is in; otherwise its own."""
    return url.split("::")[-1]


def _may_list(url: str) -> bool:
    """Whether the credentials are good for the object's bucket at all."""
    fs, path = filesystem(url)
    bucket, key, _ = fs.split_path(path)
    try:
        fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=key.rpartition("/")[0], MaxKeys=1)
    except Exception:
        return False
    return True
