"""Compare-and-swap of a small object: it is replaced only if it still is what its writer has read.

On S3 the store compares (`If-Match` with the ETag that was read, `If-None-Match: *` for a new object); an object store
that has no conditional writes is read, compared and written, which leaves a window of one request. On a file system a
lock file next to the object is held meanwhile, by `flock`, which NFS passes on to other hosts; memory:// is of one
process.

S3's answer may be lost after it has written, so a write that is refused there has succeeded if its bytes are stored:
what each writer stores should be its own.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from typing import Any

import fsspec

from captionless.store.atomic_writes import write_bytes
from captionless.store.storage_errors import http_answer
from captionless.store.storage_retry import retrying
from captionless.store.urls import filesystem, is_local, local_path

_REFUSED = (404, 412)
"""Statuses of a conditional write whose condition does not hold; 404: the object that it names is gone."""

_in_memory = threading.Lock()


def replace_if(url: str, data: bytes, expected: bytes | None) -> bool:
    """Stores `data` if the object's bytes are `expected`, None for no object; whether it did.

    Of several that expect the same, one succeeds.
    """
    return (_replace_on_s3 if url.startswith(("s3://", "s3a://")) else _replace_locked)(url, data, expected)


@retrying
def _replace_locked(url: str, data: bytes, expected: bytes | None) -> bool:
    fs, path = filesystem(url)
    with _locked(local_path(url)) if is_local(url) else _in_memory:
        try:
            found = bytes(fs.cat_file(path))
        except (FileNotFoundError, NotADirectoryError):
            found = None
        if found != expected:
            return False
        write_bytes(url, data)
        return True


@retrying
def _replace_on_s3(url: str, data: bytes, expected: bytes | None) -> bool:
    fs, path = filesystem(url)
    found, etag = fsspec.asyn.sync(fs.loop, _get, fs, path)
    if found != expected:
        return bool(found == data)
    bucket, key, _ = fs.split_path(path)
    condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": etag}
    try:
        fs.call_s3("put_object", Bucket=bucket, Key=key, Body=data, **condition)
    except Exception as error:
        status, code = http_answer(error)
        if status in _REFUSED and code != "NoSuchBucket":
            return bool(fsspec.asyn.sync(fs.loop, _get, fs, path)[0] == data)
        if status != 501 and code != "NotImplemented":
            raise
        fs.call_s3("put_object", Bucket=bucket, Key=key, Body=data)
    return True


async def _get(fs: Any, path: str) -> tuple[bytes | None, str]:
    """An object's bytes and its ETag, in one request; None when there is none."""
    bucket, key, _ = fs.split_path(path)
    try:
        answer = await fs._call_s3("get_object", Bucket=bucket, Key=key)
    except FileNotFoundError as error:
        if http_answer(error)[1] == "NoSuchBucket":
            raise
        return None, ""
    async with answer["Body"] as body:
        return bytes(await body.read()), str(answer["ETag"])


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Holds the lock of a path for this thread; the lock file is there only while it is held.

    Whoever removes the file holds its lock, so one that finds the file replaced tries again.
    """
    folder, name = os.path.split(path)
    file = os.path.join(folder, f".{name}.lock")
    while True:
        os.makedirs(folder, exist_ok=True)
        opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with _no_locks_are_ignored():
                fcntl.flock(opened, fcntl.LOCK_EX)
            if not _is_at(opened, file):
                continue
            try:
                yield
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file)
            return
        finally:
            os.close(opened)


@contextlib.contextmanager
def _no_locks_are_ignored() -> Iterator[None]:
    """A file system without locks (NFS mounted with `nolock`) is read, compared and written."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise


def _is_at(opened: int, file: str) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(opened), os.stat(file))
    except FileNotFoundError:
        return False
