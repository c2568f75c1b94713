"""Atomic writes: an object appears completely or not at all.

On a file system it is written to a temporary file in the same folder, synced and renamed; on S3 a PUT, or the
completion of a multipart upload, is atomic already; memory:// is filled from a finished buffer.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

from captionless.errors import CaptionlessError, Retryable, one_line
from captionless.store.storage_errors import disk_full, explain
from captionless.store.storage_retry import retrying
from captionless.store.urls import filesystem, is_local, local_path


@contextlib.contextmanager
def open_write(url: str) -> Iterator[IO[bytes]]:
    """A binary file that becomes the object when the block ends without an exception, and is discarded otherwise.

    Local objects are written to the same folder and renamed; others are written to a temporary file and uploaded at
    the end.
    """
    if not is_local(url):
        with tempfile.NamedTemporaryFile(prefix="captionless-") as spool:
            try:
                yield spool
                spool.flush()
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise disk_full(tempfile.gettempdir()) from error
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
        explained = explain(url, error)
        if not isinstance(explained, CaptionlessError):
            explained = Retryable(f"{url}: {one_line(error)}")
        raise explained from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def write_bytes(url: str, data: bytes) -> None:
    """Stores an object whole, replacing any earlier one."""
    if is_local(url):
        with open_write(url) as file:
            file.write(data)
    else:
        _put(url, data)


def sweep(url: str) -> None:
    """Removes the temporary files of killed writers on this host anywhere below a folder; local folders only."""
    if is_local(url):
        for folder, _, files in os.walk(local_path(url)):
            _sweep(folder, files)


def _sweep(folder: str, entries: Iterable[str], name: str | None = None) -> None:
    """Removes the temporary files of killed writers on this host from a folder: those of one object, or all."""
    here = f".{socket.gethostname()}."
    for entry in entries:
        if entry.startswith(".") and entry.endswith(".tmp"):
            written, found, writer = entry[1 : -len(".tmp")].rpartition(here)
            ours = found and writer.isdigit() and name in (None, written)
            if ours and not os.path.exists(f"/proc/{writer}") and os.path.isdir("/proc"):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, entry))


@retrying
def _put(url: str, data: bytes) -> None:
    fs, path = filesystem(url)
    if fs.protocol == "memory" or "memory" in fs.protocol:
        fs.makedirs(fs._parent(path), exist_ok=True)
    fs.pipe_file(path, data)


@retrying
def _upload(url: str, file: str) -> None:
    # Not through `fs.open(path, "wb")`: when a write fails, that completes the upload with what it has so far.
    fs, path = filesystem(url)
    fs.put_file(file, path)
