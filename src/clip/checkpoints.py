"""Checkpoints of CLIP models: fetched from a URL once, and identified without loading them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from captionless.clip import demo
from captionless.clip.demo import NAME as DEMO
from captionless.clip.names import CHECKPOINT_SUFFIXES, check, is_url
from captionless.errors import Retryable, SpecError, one_line


def identity(model: str, pretrained: str | None) -> str:
    """Identifies the weights without loading them, to tell whether stored embeddings are of this model.

    A local checkpoint or folder by its bytes, a URL by its metadata in storage, a tag of open_clip by its name:
    tags do not change. SpecError as `check`.
    """
    check(model, pretrained)
    parts = [model, pretrained or ""]
    folder = Path(demo.FOLDER) if model == DEMO else Path(model.removeprefix("local-dir:"))
    if model == DEMO or model.startswith("local-dir:"):
        parts = [model if model == DEMO else "local-dir"]
        files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in (".json", *CHECKPOINT_SUFFIXES))
    elif pretrained and Path(pretrained).is_file():
        parts, files = [model], [Path(pretrained)]
    else:
        files = []
        if pretrained and is_url(pretrained):
            parts = [model, _version(pretrained)]
    for path in files:
        with path.open("rb") as file:
            parts += [path.name, hashlib.file_digest(file, "sha256").hexdigest()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def fetch(url: str) -> str:
    """The local path of a checkpoint given by URL, fetched at most once for each version of it.

    A name in the cache is a digest of the URL and of its version, and appears by renaming
    a finished file: a reader never sees half a checkpoint, even if other processes fetch it at the same time.
    """
    with _url_errors(url):
        filesystem, path = _opened(url)
        if "file" in filesystem.protocol and "::" not in url:
            if not os.path.isfile(path):
                raise FileNotFoundError(path)
            return path
        digest = hashlib.sha256(f"{url}\n{filesystem.ukey(path)}".encode()).hexdigest()
        cache = Path(os.environ.get("CAPTIONLESS_CACHE", "~/.cache/captionless")).expanduser() / "checkpoints"
        # The suffix stays, because open_clip chooses the reader by it.
        target = cache / f"{digest[:24]}-{os.path.basename(path)}"
        if not target.exists():
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as partial:
                filesystem.get_file(path, os.path.join(partial, "checkpoint"))
                os.replace(os.path.join(partial, "checkpoint"), target)
        return str(target)


def _version(url: str) -> str:
    """What the storage of a checkpoint knows that identifies its content (size, ETag, time), as a digest."""
    with _url_errors(url):
        filesystem, path = _opened(url)
        return str(filesystem.ukey(path))


def _opened(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it."""
    import fsspec

    filesystem, path = fsspec.url_to_fs(url)
    return filesystem, str(path)


@contextlib.contextmanager
def _url_errors(url: str) -> Iterator[None]:
    """Turns any failure with a checkpoint's URL into an error in one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise SpecError(f'clip.pretrained: nothing found at "{url}"') from error
    except PermissionError as error:
        raise SpecError(f'clip.pretrained: no permission to read "{url}"; check the credentials') from error
    except ValueError as error:  # fsspec: unknown protocol
        raise SpecError(f'clip.pretrained: "{url}": {one_line(error)}') from error
    except Exception as error:
        raise Retryable(f'clip.pretrained: "{url}" could not be fetched: {one_line(error)}') from error
