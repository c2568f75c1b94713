"""Whole objects in object storage: exist, read, write, list, remove, and the JSON documents among them.

URLs are `file://`, `s3://`, `memory://` or plain paths (`urls`). An object appears completely or not at all
(`atomic_writes`); transient failures are retried, others are one line that says what to do (`storage_retry`). Reading
parts of an object is in `ranged_reads`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from fsspec.asyn import sync

from captionless.errors import DataError, SpecError
from captionless.store.atomic_writes import write_bytes
from captionless.store.storage_retry import retrying
from captionless.store.urls import filesystem, is_local, join, local_path
from captionless.telemetry import catalog, registry

__all__ = [
    "Status", "check", "digest", "digest_of_rows", "exists", "is_local", "join", "json_bytes", "list_names",
    "list_sizes", "local_path", "modified", "parse_json", "read_bytes", "read_if_any", "read_json", "read_small",
    "remove", "remove_empty", "remove_file", "renew_bytes", "renew_json", "sha256", "size", "status", "walk",
    "write_bytes", "write_json",
]  # fmt: skip

_LONGEST_NAME, _LONGEST_PATH = 255, 4095  # bytes, on usual file systems
_ROWS_AT_ONCE = 4096  # whose digest is taken together


@retrying
def _info(url: str) -> dict[str, Any]:
    """The storage's metadata of an object. FileNotFoundError when there is none."""
    fs, path = filesystem(url)
    try:
        return dict(fs.info(path))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if isinstance(error, NotADirectoryError) or not _can_be_name(url):
            raise FileNotFoundError(*error.args) from error
        raise


def _can_be_name(url: str) -> bool:
    """Whether a local file could be called so."""
    parts = os.fsencode(url).split(b"/")
    return not is_local(url) or (b"\0" not in b"".join(parts) and max(map(len, parts)) <= _LONGEST_NAME
                                 and len(os.fsencode(url)) <= _LONGEST_PATH)  # fmt: skip


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


@dataclass(frozen=True)
class Status:
    """Size in bytes of a stored object, and when it was last written, in seconds since the epoch."""

    size: int
    modified: float


def status(url: str) -> Status | None:
    """Size and time of an object by one request; None when there is no such object."""
    try:
        info = _info(url)
    except FileNotFoundError:
        return None
    if info["type"] != "file":
        return None
    time = next((info[name] for name in ("mtime", "LastModified", "created") if name in info), None)
    if time is None:
        time = _modified(url)
    return Status(int(info["size"]), time.timestamp() if isinstance(time, datetime) else float(time))


def modified(url: str) -> float | None:
    """When the object was last written, in seconds since the epoch; None when there is no such object."""
    try:
        return _modified(url)
    except FileNotFoundError:
        return None


@retrying
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


@retrying
def read_bytes(url: str, start: int | None = None, end: int | None = None) -> bytes:
    """The object's bytes, or those of [start, end). FileNotFoundError when there is none."""
    fs, path = filesystem(url)
    data = bytes(fs.cat_file(path, start=start, end=end))
    registry.add(catalog.STAGE_READ_BYTES, len(data))
    return data


def read_if_any(url: str) -> bytes | None:
    """The bytes of a document, by one request; None when there is none."""
    try:
        return read_small(url)
    except FileNotFoundError:
        return None


@retrying
def read_small(url: str) -> bytes:
    """The bytes of a document, by one request: `read_bytes` asks S3 for the size first, to read what is large in pieces
    at once. FileNotFoundError when there is none."""
    fs, path = filesystem(url)
    data = bytes(sync(fs.loop, _get, fs, path) if _is_s3(url) else fs.cat_file(path))
    registry.add(catalog.STAGE_READ_BYTES, len(data))
    return data


async def _get(fs: Any, path: str) -> bytes:
    bucket, key, _ = fs.split_path(path)
    answer = await fs._call_s3("get_object", Bucket=bucket, Key=key)
    async with answer["Body"] as body:
        return bytes(await body.read())


def list_names(url: str) -> list[str]:
    """Sorted names directly under a folder (last path segment only); empty when there is no such folder.

    Names that begin with a dot are left out: they are temporary files of `atomic_writes`.
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


@retrying
def _list(url: str) -> tuple[list[dict[str, Any]], str]:
    fs, path = filesystem(url)
    if _is_s3(url):  # `ls` lists the folder above as well when there is nothing
        return list(sync(fs.loop, fs._lsdir, path.rstrip("/"))), path
    return list(fs.ls(path, detail=True)), path


def _is_s3(url: str) -> bool:
    return url.startswith(("s3://", "s3a://"))


@retrying
def walk(url: str) -> list[str]:
    """Sorted paths of all objects below a folder, relative to it; hidden names left out."""
    fs, path = filesystem(url)
    root = path.rstrip("/") + "/"
    found = [str(p) for p in fs.find(path)]
    relative = [p[len(root) :] if p.startswith(root) else p for p in found]
    return sorted(p for p in relative if p and not any(s.startswith(".") for s in p.split("/")))


def remove(url: str) -> None:
    """Deletes an object or a folder with everything below it; does nothing when it does not exist."""
    with contextlib.suppress(FileNotFoundError):
        _remove(url)


@retrying
def _remove(url: str) -> None:
    fs, path = filesystem(url)
    if is_local(url):
        fs.rm(path, recursive=True)
        return
    for found in fs.find(path):  # one by one: s3fs does not report the objects that a bulk deletion was denied
        fs.rm_file(found)


def remove_empty(url: str) -> None:
    """Deletes a local folder if there is nothing in it; object storage has no folders without objects."""
    if is_local(url):
        with contextlib.suppress(OSError):
            os.rmdir(local_path(url))


def remove_file(url: str) -> None:
    """Deletes an object, by one request; does nothing when it does not exist."""
    with contextlib.suppress(FileNotFoundError):
        _remove_file(url)


@retrying
def _remove_file(url: str) -> None:
    fs, path = filesystem(url)
    fs.rm_file(path)


def read_json(url: str) -> Any:
    """A stored JSON document. DataError when it does not parse; FileNotFoundError when there is none."""
    return parse_json(read_small(url), url)


def parse_json(data: bytes, url: str) -> Any:
    """The document that was read from `url`. DataError when it does not parse."""
    try:
        return json.loads(data)
    except ValueError as error:
        raise DataError(f"{url}: not valid JSON ({error}); delete it and rerun") from error


def write_json(url: str, value: Any) -> None:
    """Stores a document as canonical JSON (sorted keys), so that equal values are equal bytes."""
    write_bytes(url, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """A document as canonical JSON."""
    return (json.dumps(value, sort_keys=True, indent=1) + "\n").encode()


def renew_bytes(url: str, data: bytes) -> None:
    """`write_bytes` unless the same bytes are stored already, so that an unchanged object keeps its time."""
    if size(url) != len(data) or read_bytes(url) != data:
        write_bytes(url, data)


def renew_json(url: str, value: Any) -> None:
    """`write_json` unless the same document is stored already."""
    renew_bytes(url, json_bytes(value))


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


def digest_of_rows(*head: object, rows: Iterable[object]) -> str:
    """`digest(*head, list(rows))`, in little memory however many rows there are."""
    start = json.dumps([*head, []], sort_keys=True, separators=(",", ":"), default=str).removesuffix("]]")
    found, separator = hashlib.sha256(start.encode()), ""
    remaining = iter(rows)
    while some := list(islice(remaining, _ROWS_AT_ONCE)):
        found.update((separator + json.dumps(some, sort_keys=True, separators=(",", ":"), default=str)[1:-1]).encode())
        separator = ","
    found.update(b"]]")
    return found.hexdigest()


def digest(*parts: object) -> str:
    """A sha256 (hex) over canonical JSON of its arguments: the fingerprint of what something is made from."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
