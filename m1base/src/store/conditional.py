"""Compare-and-swap of a small object: it is replaced only if it still is what its writer has read.

On S3 the store compares (`If-Match` with the ETag that was read, `If-None-Match: *` for a new object); an object store
that has no conditional writes is read, compared and written, which leaves a window of one request. memory:// is of one
process.

On a file system the step from what was read to anything else is claimed by a hard link, which is named after what was
read, so that one writer gets it. The link is the new object: whoever finds a claim on what is stored completes it, by
renaming the link, before it says that it was late. So a writer that is frozen or killed anywhere in between holds
nobody up, and when it goes on it cannot replace what has come since: its link is gone. Links and renames are atomic on
NFS as well.

S3's answer may be lost after it has written, so a write that is refused there has succeeded if its bytes are stored:
what each writer stores should be its own.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
import threading
from typing import Any

import fsspec

from captionless.store.atomic_writes import write_bytes
from captionless.store.storage_errors import http_answer
from captionless.store.storage_retry import retrying
from captionless.store.urls import filesystem, is_local, local_path

_REFUSED = (404, 412)
"""Statuses of a conditional write whose condition does not hold; 404: the object that it names is gone."""

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
"""Errors of a file system that has no hard links: there the object is read, compared and written."""

_in_process = threading.Lock()


def replace_if(url: str, data: bytes, expected: bytes | None) -> bool:
    """Stores `data` if the object's bytes are `expected`, None for no object; whether it did.

    Of several that expect the same, one succeeds.
    """
    if url.startswith(("s3://", "s3a://")):
        return _replace_on_s3(url, data, expected)
    return (_replace_locally if is_local(url) else _replace_in_memory)(url, data, expected)


@retrying
def _replace_locally(url: str, data: bytes, expected: bytes | None) -> bool:
    path = local_path(url)
    if _content(path) != expected:
        return False
    folder, name = os.path.split(path)
    read = "nothing" if expected is None else hashlib.sha256(expected).hexdigest()[:32]
    claim = os.path.join(folder, f".{name}.{read}.next")
    own = os.path.join(folder, f".{name}.{socket.gethostname()}.{os.getpid()}.tmp")
    with _in_process:
        try:
            write_bytes(own, data)
            return _claimed(own, claim, path, expected)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(own)


def _claimed(own: str, claim: str, path: str, expected: bytes | None) -> bool:
    """Whether the file `own` has become the one at `path`; completes another's claim."""
    try:
        os.link(own, claim)
        won = True
    except FileExistsError:
        won = False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.replace(own, path)
        return True
    with contextlib.suppress(FileNotFoundError):  # another has completed it
        if _content(path) == expected:
            os.rename(claim, path)
        elif won and os.path.samefile(own, claim):
            os.unlink(claim)
            return False
    return won


def _content(path: str) -> bytes | None:
    """A file's bytes, None if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


@retrying
def _replace_in_memory(url: str, data: bytes, expected: bytes | None) -> bool:
    fs, path = filesystem(url)
    with _in_process:
        try:
            found = bytes(fs.cat_file(path))
        except FileNotFoundError:
            found = None
        if found == expected:
            write_bytes(url, data)
        return found == expected


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
