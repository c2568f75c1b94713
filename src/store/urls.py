"""URLs of storage: which file system one is on, its path there, and how paths are joined.

`file://`, `s3://`, `memory://` and plain paths, through fsspec.
"""

from __future__ import annotations

import os
from typing import Any

import fsspec

from captionless.errors import SpecError
from captionless.store.guarded_http import Guard

_S3_RETRIES = 2
_S3_OPTIONS = {
    "use_listings_cache": False,
    "config_kwargs": {
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "read_timeout": 30,
        "max_pool_connections": 64,  # the default, 10, would limit concurrent small reads
    },
}
"""Retries have the one deadline of `storage_retry`; those of three libraries would multiply to many minutes."""


def filesystem(url: str, guard: Guard | None = None) -> tuple[Any, str]:
    """The fsspec file system of a URL or plain path, and the path within it. `guard`: whose HTTP clients it uses."""
    of_s3 = url.startswith(("s3://", "s3a://"))
    options: dict[str, Any] = {}
    if guard is not None:
        options = {name: {"get_client": guard.client} for name in ("http", "https") if f"{name}://" in url}
    try:
        fs, path = fsspec.core.url_to_fs(url, **options, **(_S3_OPTIONS if of_s3 else {}))
    except (ValueError, ImportError, TypeError) as error:  # TypeError: a chain of what cannot be chained
        raise SpecError(f"{url}: unsupported storage ({error}); use file://, s3:// or a path") from error
    if of_s3:
        fs.retries = _S3_RETRIES
    return fs, path


def is_local(url: str) -> bool:
    """Whether the URL is on a file system of this machine."""
    return "://" not in url or url.startswith(("file://", "local://"))


def local_path(url: str) -> str:
    """The absolute path of a local URL."""
    return os.path.abspath(expanded_path(url))


def expanded_path(url: str) -> str:
    """The path of a local URL, from the current folder where it is relative."""
    if "://" in url:
        return url.split("://", 1)[1]
    return os.path.expanduser(url) if url.startswith("~") else url


def is_same(url: str, other: str) -> bool:
    """Whether two URLs name the same place, however they are written."""
    if is_local(url) and is_local(other):
        return os.path.realpath(local_path(url)) == os.path.realpath(local_path(other))
    return is_local(url) == is_local(other) and filesystem(url)[1].rstrip("/") == filesystem(other)[1].rstrip("/")


def join(url: str, *parts: str) -> str:
    """`url` with further path segments."""
    return "/".join([url.rstrip("/"), *(p.strip("/") for p in parts)])
