"""Atomic writes: an object appears completely or not at all.

On a file system it is written to a temporary file in the same folder, synced and renamed; on S3 a PUT, or the
completion of a multipart upload, is atomic already; memory:// is filled from a finished buffer.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import IO

from captionless.errors import CaptionlessError, Retryable, one_line
from captionless.runtime import temporary_files
from captionless.store.storage_errors import disk_full, explain
from captionless.store.storage_retry import retrying
from captionless.store.urls import filesystem, is_local, local_path

_TEMPORARY = re.compile(r"\..+\.(\d+\.tmp|(nothing|[0-9a-f]{32})\.next)", re.DOTALL)
"""`.<name>.<host>.<process>.tmp`, and the claims of `conditional`."""
DAY_SECONDS = 24 * 3600.0
_ATTEMPTS = 10
_FOLDERS = 1024  # of which it is remembered what was left in them


@contextlib.contextmanager
def open_write(url: str) -> Iterator[IO[bytes]]:
    """A binary file that becomes the object when the block ends without an exception, and is discarded otherwise.

    Local objects are written to the same folder and renamed; others are written to a temporary file and uploaded at
    the end.
    """
    if not is_local(url):
        with tempfile.NamedTemporaryFile(prefix=temporary_files.prefix()) as spool:
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
        with _created(temporary, name) as file:
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


def _created(temporary: str, name: str) -> IO[bytes]:
    """The opened temporary file of an object. Its folder may be removed as empty just when it is wanted."""
    folder = os.path.dirname(temporary)
    for _ in range(_ATTEMPTS):
        os.makedirs(folder, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            _sweep(folder, _left_in(folder), name)
            return open(temporary, "wb")
    return open(temporary, "wb")


@functools.lru_cache(maxsize=_FOLDERS)
def _left_in(folder: str) -> tuple[str, ...]:
    """The temporary files in a folder when this process first wrote there. To list it for every write would take time
    with the square of what it holds; those of processes killed since then are removed by `sweep_local`."""
    return tuple(filter(_TEMPORARY.fullmatch, os.listdir(folder)))


def write_bytes(url: str, data: bytes) -> None:
    """Stores an object whole, replacing any earlier one."""
    if is_local(url):
        with open_write(url) as file:
            file.write(data)
    else:
        _put(url, data)


def store_file(url: str, file: str) -> None:
    """Stores a local file as an object, replacing any earlier one."""
    if not is_local(url):
        _upload(url, file)
        return
    with open(file, "rb") as source, open_write(url) as target:
        shutil.copyfileobj(source, target, 1 << 20)


def sweep_local(url: str, older: float) -> int:
    """Removes the temporary files of killed writers anywhere below a local folder, and returns how many.

    older: seconds without a write after which a writer on another host is taken for dead; one that is alive on this
    host is, if at all, after a day.
    """
    return sum(_sweep(folder, files, older=older) for folder, _, files in os.walk(local_path(url)))


def _sweep(folder: str, entries: Iterable[str], name: str | None = None, older: float = math.inf) -> int:
    """Removes the temporary files of killed writers from a folder: those of one object, or all."""
    removed = 0
    here = f".{socket.gethostname()}."
    for entry in filter(_TEMPORARY.fullmatch, entries):
        path = os.path.join(folder, entry)
        written, found, writer = entry.removesuffix(".tmp")[1:].rpartition(here)
        ours = bool(found) and writer.isdigit() and os.path.isdir("/proc")
        alive = ours and os.path.exists(f"/proc/{writer}")
        with contextlib.suppress(OSError):
            is_dead = ours and not alive and name in (None, written)
            limit = max(older, DAY_SECONDS) if alive or entry.endswith(".next") else older
            if is_dead or (older < math.inf and time.time() - os.stat(path).st_mtime > limit):
                os.unlink(path)
                removed += 1
    return removed


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
