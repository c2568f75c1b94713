"""The version of a stored file: a short text that changes whenever the file is written.

It comes with a listing or from one request for metadata, so that a file whose version is known need not be read again.
Object storage and web servers give an ETag, local file systems a stat, archives a checksum. Equal versions of a
file mean equal content; different versions may not: copying or touching a local file changes its stat. Who must know
then compares the content's sha256.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

_ETAGS = ("ETag", "etag", "Content-MD5", "md5Hash")
_TIMES = ("LastModified", "Last-Modified", "last_modified", "mtime", "modified", "updated", "created", "date_time")


def version_of(info: Mapping[str, Any]) -> str:
    """The version of a file from its entry in an fsspec listing (`ls`, `find(detail=True)`) or its `info`.

    The same file gives the same text from either. For local files the entry's `name` is resolved and read again, since
    fsspec's entries are about a link rather than the file it leads to, and have times in seconds. Empty when the
    storage tells nothing that would change with the content, or when a local file has disappeared.
    """
    if "ino" in info and "mtime" in info:
        return _local(str(info["name"]))
    size = info.get("size")
    if "CRC" in info:  # in a zip archive
        return f"crc:{int(info['CRC']):08x}-{size}-{_digits(info.get('date_time', ''))}"
    for name in _ETAGS:
        if tag := str(info.get(name) or "").removeprefix("W/").strip('"'):
            return f"etag:{tag}-{size}"
    for name in _TIMES:
        if (time := info.get(name)) not in (None, ""):
            return f"time:{time.timestamp() if isinstance(time, datetime) else time}-{size}"
    return ""


def is_of_time(version: str) -> bool:
    """Whether another file may well have the same version: it is its time and its size."""
    return version.startswith("time:")


def _local(path: str) -> str:
    try:
        return of_stat(os.stat(path))
    except (OSError, ValueError):
        return ""


def of_stat(found: os.stat_result) -> str:
    """The version of a local file."""
    return f"stat:{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}-{found.st_ino}"


def _digits(value: object) -> str:
    return "".join(c for c in str(value) if c.isdigit())
