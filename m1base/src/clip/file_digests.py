"""The sha256 of large files, computed once: a checkpoint is identified by its bytes, which take seconds to read.

A digest is remembered for a file of the same path, size, times and inode: in this process, and for others in
`$CAPTIONLESS_CACHE/digests`. There only once the file has not been written for a while, since times are coarse on some
file systems: a file that is written again at once may look the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path

from captionless.errors import Retryable

_SETTLED_SECONDS = 2.0
_ATTEMPTS = 3
_known: dict[str, str] = {}


def cache_folder() -> Path:
    """`$CAPTIONLESS_CACHE`, or where it is by default."""
    return Path(os.environ.get("CAPTIONLESS_CACHE", "~/.cache/captionless")).expanduser()


def file_digest(path: Path) -> str:
    """The sha256 (hex) of a file. OSError when it cannot be read; Retryable while it is being written."""
    for _ in range(_ATTEMPTS):
        name = _name(path)
        if name in _known:
            return _known[name]
        remembered = cache_folder() / "digests" / name
        with contextlib.suppress(OSError, ValueError):
            _known[name] = bytes.fromhex(remembered.read_text()).hex()
            return _known[name]
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if _name(path) == name:
            _known[name] = found
            if time.time() - max(path.stat().st_mtime, path.stat().st_ctime) > _SETTLED_SECONDS:
                _remember(remembered, found)
            return found
    raise Retryable(f"{path}: is being written; rerun when it is complete")


def _name(path: Path) -> str:
    """Another one for each state of a file."""
    stat = path.stat()
    seen = [str(path.resolve()), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _remember(path: Path, digest: str) -> None:
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(digest)
        partial.replace(path)
