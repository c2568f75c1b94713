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
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import IO, Any, ParamSpec, TypeVar

import fsspec

from captionless.errors import CaptionlessError, DataError, Retryable, SpecError, one_line
from captionless.telemetry import catalog, registry

RETRY_SECONDS = float(os.environ.get("CAPTIONLESS_STORE_RETRY_SECONDS", "120"))

_P = ParamSpec("_P")
_R = TypeVar("_R")

# By name and number, since botocore, aiohttp and urllib3 each have their own exceptions and are optional here.
_PASSING = {
    "EndpointConnectionError", "ConnectionClosedError", "ConnectTimeoutError", "ReadTimeoutError",
    "HTTPClientError", "ResponseParserError", "IncompleteReadError", "ClientConnectorError",
    "ClientPayloadError", "ServerDisconnectedError", "ClientOSError", "ServerTimeoutError",
    "FSTimeoutError", "ConnectionResetError", "ConnectionRefusedError", "BrokenPipeError", "TimeoutError",
}  # fmt: skip
"""Exceptions that tell of a connection, not of a wrong request."""
_PASSING_CODES = {"SlowDown", "RequestTimeout", "Throttling", "OperationAborted", "IncompleteBody", "BadDigest"}
_PASSING_ERRNO = {errno.EIO, errno.EBUSY, errno.ETIMEDOUT}
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"}
_DENIED_CODES = {"ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_WRONG = {"ParamValidationError", "InvalidRegionError", "SSLCertVerificationError"}

_MERGE_GAP = 256 << 10
_MERGE_MOST = 8 << 20
"""Bytes: a request takes about as long as reading `_MERGE_GAP`; `_MERGE_MOST` bounds what is held at once."""

LOCAL_GAP = 2048
"""Bytes between two places of a file that are rather read than left out by another call."""
_LOCAL_TOGETHER = 64  # places of a file in a call, which may have 1024 pieces of memory

_BEYOND_THE_END = 416
"""HTTP's answer to a range that begins where the object has ended already."""

_S3_RETRIES = 2
_S3_OPTIONS = {
    "use_listings_cache": False,
    "config_kwargs": {
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "read_timeout": 30,
        "max_pool_connections": 64,  # the library's own 10 would bound how many small reads are under way
    },
}
"""One deadline for retries, `RETRY_SECONDS`, instead of three libraries' own, which multiply to many minutes."""


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL or plain path, and the path within it."""
    of_s3 = url.startswith(("s3://", "s3a://"))
    try:
        fs, path = fsspec.core.url_to_fs(url, **(_S3_OPTIONS if of_s3 else {}))
    except (ValueError, ImportError) as error:
        raise SpecError(f"{url}: no such kind of storage ({error}); use file://, s3:// or a path") from error
    if of_s3:
        fs.retries = _S3_RETRIES
    return fs, path


def is_local(url: str) -> bool:
    """Whether the URL is on a file system of this machine."""
    return "://" not in url or url.startswith(("file://", "local://"))


def local_path(url: str) -> str:
    """The absolute path of a local URL."""
    return os.path.abspath(_path(url))


def _path(url: str) -> str:
    """The path of a local URL, from the current folder where it is relative."""
    if "://" in url:
        return url.split("://", 1)[1]
    return os.path.expanduser(url) if url.startswith("~") else url


def join(url: str, *parts: str) -> str:
    """`url` with further path segments."""
    return "/".join([url.rstrip("/"), *(p.strip("/") for p in parts)])


def _told(url: str, error: BaseException) -> BaseException | None:
    """What to raise for an exception of a storage library; None when trying again is right.

    That is a CaptionlessError in one line, or the FileNotFoundError itself when only the object is missing.
    """
    chain = _chain(error)
    names = {type(e).__name__ for e in chain}
    text = one_line(error)
    status, code = _answer(chain)
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT):
        return _full(url)
    if names & _NO_CREDENTIALS:
        return SpecError(f"{url}: no credentials for this storage; set them in the environment ({text})")
    if code == "NoSuchBucket":
        bucket = url.partition("://")[2].partition("/")[0]
        return SpecError(f"{url}: the bucket {bucket!r} does not exist; create it or correct the URL")
    if status >= 500 or status in (408, 429) or code in _PASSING_CODES:
        return None
    if status in (401, 403) or code in _DENIED_CODES or isinstance(error, PermissionError):
        return SpecError(f"{url}: access denied ({text})")
    if names & _WRONG or status in (301, 400) or _bad_endpoint(error):
        return SpecError(f"{url}: the storage cannot be used as it is set up ({text}); check URL, endpoint and region")
    if names & _PASSING or number in _PASSING_ERRNO:
        return None
    return error if isinstance(error, FileNotFoundError) else Retryable(f"{url}: {text}")


def _chain(error: BaseException) -> list[BaseException]:
    """An exception, what it came from, and so on."""
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None and inner not in chain:
        chain.append(inner)
    return chain


def _answer(chain: Sequence[BaseException]) -> tuple[int, str]:
    """Status and S3 error code of the answer that the newest exception is about; (0, "") without an answer."""
    for error in chain:
        response, status = getattr(error, "response", None), getattr(error, "status", None)
        if isinstance(response, dict):  # botocore
            found = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return int(found), str(response.get("Error", {}).get("Code", ""))
        if isinstance(status, int):  # aiohttp
            return status, ""
    return 0, ""


def _full(where: str) -> Retryable:
    return Retryable(
        f"{where}: no space left on device; free some or set `output` to another place, then run again: "
        "what is already written is kept"
    )


def _of_storage(error: Exception) -> bool:
    libraries = ("botocore", "aiobotocore", "aiohttp", "fsspec", "s3fs", "urllib3")
    return isinstance(error, OSError) or type(error).__module__.startswith(libraries) or _bad_endpoint(error)


def _bad_endpoint(error: BaseException) -> bool:
    return isinstance(error, ValueError) and str(error).startswith("Invalid endpoint")  # botocore's own way


def _retrying(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Tries a whole-object operation again while its failure is a passing one; its first argument is the URL."""

    @functools.wraps(function)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        deadline, pause = time.monotonic() + RETRY_SECONDS, 0.2
        while True:
            try:
                return function(*args, **kwargs)
            except CaptionlessError:
                raise
            except Exception as error:
                if not _of_storage(error):
                    raise
                url = str(args[0])
                told = _told(url, error)
                if told is error:
                    raise
                if told is not None:
                    raise told from error
                if time.monotonic() + pause > deadline:
                    raise Retryable(
                        f"{url}: storage did not answer for {RETRY_SECONDS:.0f} s "
                        f"({type(error).__name__}: {one_line(error)})"
                    ) from error
                registry.add(catalog.STAGE_STORAGE_RETRIES)
                time.sleep(pause)
                pause = min(2 * pause, 10.0)

    return wrapped


@_retrying
def _info(url: str) -> dict[str, Any]:
    """What the storage knows of an object. FileNotFoundError when there is none."""
    fs, path = filesystem(url)
    try:
        return dict(fs.info(path))
    except NotADirectoryError as error:
        raise FileNotFoundError(*error.args) from error


def exists(url: str) -> bool:
    """Whether there is such an object or folder."""
    try:
        _info(url)
    except FileNotFoundError:
        return False
    return True


def size(url: str) -> int | None:
    """The object's size in bytes, None when there is no such object."""
    try:
        info = _info(url)
    except FileNotFoundError:
        return None
    return int(info["size"]) if info["type"] == "file" else None


def modified(url: str) -> float | None:
    """When the object was last written, in seconds since the epoch; None when there is no such object."""
    try:
        return _modified(url)
    except FileNotFoundError:
        return None


@_retrying
def _modified(url: str) -> float:
    fs, path = filesystem(url)
    time_of: datetime = fs.modified(path)
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
    data = bytes(fs.cat_file(path, start=start, end=end))
    registry.add(catalog.STAGE_READ_BYTES, len(data))
    return data


@_retrying
def read_ranges(url: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """The object's bytes of every [start, end), fewer where it ends. FileNotFoundError when there is none.

    Many requests at a time. Spans that are close together are read together with what lies between them: reading
    that takes less than another request.
    """
    if is_local(url):
        with open(local_path(url), "rb") as file:
            found = [os.pread(file.fileno(), stop - start, start) for start, stop in spans]
    else:
        found = _ranges(url, spans)
    registry.add(catalog.STAGE_READ_BYTES, sum(map(len, found)))
    return found


@_retrying
def read_into(url: str, places: Sequence[tuple[int, Sequence[memoryview]]]) -> list[int]:
    """Fills memory, of single bytes, with the object's from an offset on, one piece after the other, for every offset.

    Returns how many bytes there were for each, fewer than it has room for where the object ends. FileNotFoundError
    when there is none. Local files are read straight to where the bytes are wanted, others as `read_ranges` reads.
    """
    if is_local(url):
        file = os.open(_path(url), os.O_RDONLY)
        try:
            counts = _read_together(file, places)
        finally:
            os.close(file)
        registry.add(catalog.STAGE_READ_BYTES, sum(counts))
        return counts
    found = _ranges(url, [(start, start + sum(map(len, memory))) for start, memory in places])
    for data, (_, memory) in zip(found, places, strict=True):
        done = 0
        for piece in memory:
            part = data[done : done + len(piece)]
            piece[: len(part)] = part
            done += len(part)
    registry.add(catalog.STAGE_READ_BYTES, sum(map(len, found)))
    return [len(data) for data in found]


def fill(url: str, wanted: Sequence[tuple[int, Sequence[memoryview], int]]) -> bool:
    """Fills memory, of so many single bytes in pieces, with a local object's from an offset on, for every offset.

    Whether they were all there, in as little time as it can be done: `read_into` tells what was missing.
    """
    preadv = os.preadv
    try:
        file = os.open(_path(url), os.O_RDONLY)
        try:
            whole = all(preadv(file, memory, start) == size for start, memory, size in wanted)
        finally:
            os.close(file)
    except OSError:
        return False
    registry.add(catalog.STAGE_READ_BYTES, sum(size for _, _, size in wanted) if whole else 0)
    return whole


def _read_together(file: int, places: Sequence[tuple[int, Sequence[memoryview]]]) -> list[int]:
    """`read_into` of an open file; places that follow one another closely are one call, with what lies between."""
    counts: list[int] = []
    unwanted = memoryview(bytearray(LOCAL_GAP))
    lengths = [sum(map(len, memory)) for _, memory in places]
    at, count = 0, len(places)
    while at < count:
        start, memory = places[at]
        together, end, last = [*memory], start + lengths[at], at + 1
        while last < count and 0 <= (gap := places[last][0] - end) <= LOCAL_GAP and last - at < _LOCAL_TOGETHER:
            together.append(unwanted[:gap])
            together += places[last][1]
            end += gap + lengths[last]
            last += 1
        missing = end - start - _fill(file, together, start, end - start)
        if missing:  # the object ends within or before what was asked for
            ends = [places[i][0] + lengths[i] for i in range(at, last)]
            counts += [max(0, min(n, n - (e - (end - missing)))) for n, e in zip(lengths[at:last], ends, strict=True)]
        else:
            counts += lengths[at:last]
        at = last
    return counts


def _fill(file: int, memory: list[memoryview], start: int, wanted: int) -> int:
    """Reads from `start` on into one piece of memory after the other, `wanted` bytes; how many there were."""
    done = os.preadv(file, memory, start)
    while done < wanted:  # the end, or a file system that returns what it has
        rest, before = [], 0
        for piece in memory:
            rest.append(piece[min(max(done - before, 0), len(piece)) :])
            before += len(piece)
        count = os.preadv(file, [piece for piece in rest if len(piece)], start + done)
        if not count:
            break
        done += count
    return done


def _ranges(url: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """`read_ranges` of what is not local."""
    order = sorted(range(len(spans)), key=spans.__getitem__)
    groups: list[list[int]] = []
    for place in order:
        start, stop = spans[place]
        if groups and start - spans[groups[-1][-1]][1] <= _MERGE_GAP and stop - spans[groups[-1][0]][0] <= _MERGE_MOST:
            groups[-1].append(place)
        else:
            groups.append([place])
    fs, path = filesystem(url)
    starts = [spans[group[0]][0] for group in groups]
    stops = [max(spans[place][1] for place in group) for group in groups]
    found: list[bytes] = [b""] * len(spans)
    for group, first, data in zip(
        groups, starts, fs.cat_ranges([path] * len(groups), starts, stops, on_error="return"), strict=True
    ):
        if isinstance(data, BaseException):
            if _answer(_chain(data))[0] != _BEYOND_THE_END:
                raise data
            data = b""
        for place in group:
            start, stop = spans[place]
            found[place] = bytes(data[start - first : stop - first])
    return found


def list_names(url: str) -> list[str]:
    """Sorted names directly under a folder (last path segment only); empty when there is no such folder.

    Names that begin with a dot are half-written objects of `open_write` and are left out.
    """
    return sorted(list_sizes(url))


def list_sizes(url: str) -> dict[str, int]:
    """The sizes in bytes of what is directly under a folder, by name, as `list_names` lists it."""
    try:
        entries, path = _list(url)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    found = {str(e["name"]).rstrip("/"): int(e["size"] or 0) for e in entries}
    names = {p.rsplit("/", 1)[-1]: size for p, size in found.items() if p != path.rstrip("/")}
    return {name: size for name, size in names.items() if not name.startswith(".")}


@_retrying
def _list(url: str) -> tuple[list[dict[str, Any]], str]:
    fs, path = filesystem(url)
    return list(fs.ls(path, detail=True)), path


@_retrying
def walk(url: str) -> list[str]:
    """Sorted paths of all objects below a folder, relative to it; hidden names left out."""
    fs, path = filesystem(url)
    root = path.rstrip("/") + "/"
    found = [str(p) for p in fs.find(path)]
    relative = [p[len(root) :] if p.startswith(root) else p for p in found]
    return sorted(p for p in relative if p and not any(s.startswith(".") for s in p.split("/")))


def remove(url: str) -> None:
    """Deletes an object or a folder with all below it; nothing there is no error."""
    with contextlib.suppress(FileNotFoundError):
        _remove(url)


@_retrying
def _remove(url: str) -> None:
    fs, path = filesystem(url)
    if is_local(url):
        fs.rm(path, recursive=True)
        return
    for found in fs.find(path):  # one by one: s3fs says nothing of those that a bulk deletion was denied
        fs.rm_file(found)


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

    Local objects are written beside their place and renamed; others are written to a
    temporary file and uploaded at the end.
    """
    if not is_local(url):
        with tempfile.NamedTemporaryFile(prefix="captionless-") as spool:
            try:
                yield spool
                spool.flush()
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise _full(tempfile.gettempdir()) from error
                raise
            _upload(url, spool.name)
        return
    path = local_path(url)
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        os.makedirs(folder, exist_ok=True)
        _sweep(folder, os.listdir(folder), name)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        told = _told(url, error)
        raise (told if isinstance(told, CaptionlessError) else Retryable(f"{url}: {one_line(error)}")) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def sweep(url: str) -> None:
    """Removes what killed writers on this host left behind anywhere below a folder; of use only to local ones."""
    if is_local(url):
        for folder, _, files in os.walk(local_path(url)):
            _sweep(folder, files)


def _sweep(folder: str, entries: Iterable[str], name: str | None = None) -> None:
    """Removes those entries of a folder that killed writers of an object, of any without a name, left on this host."""
    here = f".{socket.gethostname()}."
    for entry in entries:
        if entry.startswith(".") and entry.endswith(".tmp"):
            written, found, writer = entry[1 : -len(".tmp")].rpartition(here)
            ours = found and writer.isdigit() and name in (None, written)
            if ours and not os.path.exists(f"/proc/{writer}") and os.path.isdir("/proc"):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, entry))


@_retrying
def _upload(url: str, file: str) -> None:
    # Not through `fs.open(path, "wb")`: it completes the upload of what it has got when a write fails.
    fs, path = filesystem(url)
    fs.put_file(file, path)


def read_json(url: str) -> Any:
    """A stored JSON document. DataError when it does not parse; FileNotFoundError when there is none."""
    try:
        return json.loads(read_bytes(url))
    except ValueError as error:
        raise DataError(f"{url}: not valid JSON ({error}); delete it and run again") from error


def write_json(url: str, value: Any) -> None:
    """Stores a document as canonical JSON (sorted keys), so that equal values are equal bytes."""
    write_bytes(url, _json(value))


def _json(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=1) + "\n").encode()


def renew_bytes(url: str, data: bytes) -> None:
    """`write_bytes` unless the same bytes are stored already, so that what did not change keeps its time."""
    if size(url) != len(data) or read_bytes(url) != data:
        write_bytes(url, data)


def renew_json(url: str, value: Any) -> None:
    """`write_json` unless the same document is stored already."""
    renew_bytes(url, _json(value))


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
    list_names(url)


def digest(*parts: object) -> str:
    """A sha256 (hex) over canonical JSON of its arguments: the fingerprint of what something is made from."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def buffer(write: Callable[[IO[bytes]], object]) -> bytes:
    """The bytes that `write` puts into a file it is given (for libraries that only know files)."""
    sink = io.BytesIO()
    write(sink)
    return sink.getvalue()
