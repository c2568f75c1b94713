"""Checkpoints of CLIP models: identified without loading them, and those given by a URL fetched once a version.

What identifies the content behind a URL is what its storage says of it: a digest or an ETag with the size, else the
time of the last change. A web server that says neither is asked for the whole file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from captionless.clip import demo, hub
from captionless.clip.demo import NAME as DEMO
from captionless.clip.file_digests import cache_folder, file_digest
from captionless.clip.names import CHECKPOINT_SUFFIXES, HUB, check, is_url
from captionless.errors import CaptionlessError, Retryable, SpecError, one_line

_DESCRIBING = (".json", *CHECKPOINT_SUFFIXES)
_TOKENIZER = ("vocab.txt", "merges.txt")
_DIGESTS = ("ETag", "Content-MD5", "Digest")
_PARTIAL = "partial-"
_DEAD_SECONDS = 24 * 3600.0
"""Age of a partial download whose process is gone."""
_contents: dict[str, str] = {}
"""Digests by URL of files that had to be fetched to know them, which is done once a process."""


def identity(model: str, pretrained: str | None) -> str:
    """Identifies the weights without loading them, to tell whether stored embeddings are of this model.

    A local checkpoint or folder by its bytes, a URL by what its storage says of the content, a model of the Hugging
    Face Hub by its commit, a tag of open_clip by its name: tags do not change. SpecError as `check`; Retryable when the
    storage or the Hub does not answer.
    """
    check(model, pretrained)
    if model.startswith(HUB):
        return _digest([HUB, *hub.resolve(model)])
    if _is_elsewhere(pretrained):
        with _url_errors(pretrained):
            return _digest([model, _Remote(pretrained).version()])
    return _identity_here(model, pretrained, (*_DESCRIBING, *_TOKENIZER))


def is_of(found: str, model: str, pretrained: str | None) -> bool:
    """Whether `found` identifies these weights, as `identity` does or as earlier releases did."""
    return found in (identity(model, pretrained), earlier_identity(model, pretrained))


def earlier_identity(model: str, pretrained: str | None) -> str:
    """What identified the weights in earlier releases: of a model of the Hub or a checkpoint on the web the name only,
    so that it does not tell replaced ones."""
    if _is_elsewhere(pretrained):
        with _url_errors(pretrained):
            remote = _Remote(pretrained)
            return _digest([model, str(remote.filesystem.ukey(remote.path))])
    return _identity_here(model, pretrained, _DESCRIBING)


def _is_elsewhere(pretrained: str | None) -> TypeGuard[str]:
    return bool(pretrained) and is_url(str(pretrained)) and not Path(str(pretrained)).is_file()


def _identity_here(model: str, pretrained: str | None, kinds: Sequence[str]) -> str:
    """The digest of the files of a model on this machine, those whose names end with one of `kinds`, else of a name."""
    parts, files = [model, pretrained or ""], list[Path]()
    if model == DEMO or model.startswith("local-dir:"):
        folder = Path(demo.FOLDER) if model == DEMO else Path(model.removeprefix("local-dir:"))
        parts = [model if model == DEMO else "local-dir"]
        files = sorted(p for p in folder.iterdir() if p.is_file() and p.name.endswith(tuple(kinds)))
    elif pretrained and Path(pretrained).is_file():
        parts, files = [model], [Path(pretrained)]
    for path in files:
        parts += [path.name, file_digest(path)]
    return _digest(parts)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()


def fetch(url: str) -> str:
    """The local path of a checkpoint given by URL, fetched at most once for each version of it.

    A name in the cache is a digest of the URL and of its version, and appears by renaming a finished file: a reader
    never sees half a checkpoint, even if other processes fetch it at the same time. Retryable when it is replaced
    meanwhile.
    """
    with _url_errors(url):
        remote = _Remote(url)
        if remote.local is not None:
            return remote.local
        version = remote.version()
        target = _cached(remote, version)
        if not target.exists():
            with _partial() as partial:
                remote.get(partial)
                if remote.version() != version:
                    raise Retryable(f'clip.pretrained: "{url}" was replaced while it was fetched; rerun')
                os.replace(partial, target)
        return str(target)


class _Remote:
    """A checkpoint's URL, which fsspec can read. `local` is its path if it is a file of this machine."""

    def __init__(self, url: str) -> None:
        import fsspec

        self.filesystem, path = fsspec.url_to_fs(url)
        self.path = str(path)
        self.is_web = bool({"http", "https"} & set(_protocols(self.filesystem)))
        # without the query, which of a signed URL is another one every time
        self.name = self.path.partition("?")[0] if self.is_web else self.path
        self.local: str | None = None
        if "file" in _protocols(self.filesystem) and "::" not in url:
            if not os.path.isfile(self.path):
                raise FileNotFoundError(self.path)
            self.local = self.path

    def version(self) -> str:
        """Changes with the content."""
        if self.local is not None:
            return file_digest(Path(self.local))
        info = self.filesystem.info(self.path)
        said = [[name, info[name]] for name in _DIGESTS if info.get(name)]
        if not said and self.is_web:
            if not info.get("Last-Modified"):
                return self._content()
            said = [["Last-Modified", info["Last-Modified"]]]
        if not said:
            return str(self.filesystem.ukey(self.path))
        return hashlib.sha256(json.dumps([*said, info.get("size")]).encode()).hexdigest()

    def _content(self) -> str:
        """The digest of the bytes, which are kept for `fetch`."""
        if self.path not in _contents:
            with _partial() as partial:
                self.get(partial)
                _contents[self.path] = file_digest(partial)
                os.replace(partial, _cached(self, _contents[self.path]))
        return _contents[self.path]

    def get(self, path: Path) -> None:
        self.filesystem.get_file(self.path, str(path))


def _protocols(filesystem: Any) -> tuple[str, ...]:
    found = filesystem.protocol
    return (found,) if isinstance(found, str) else tuple(found)


def _cached(remote: _Remote, version: str) -> Path:
    """The file in the cache of a version of a checkpoint. The suffix stays: open_clip chooses the reader by it."""
    digest = hashlib.sha256(f"{remote.name}\n{version}".encode()).hexdigest()
    return cache_folder() / "checkpoints" / f"{digest[:24]}-{os.path.basename(remote.name)[-100:]}"


@contextlib.contextmanager
def _partial() -> Iterator[Path]:
    """A file in the cache to be renamed; those that killed processes have left are removed."""
    folder = cache_folder() / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_PARTIAL}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _DEAD_SECONDS:
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=folder) as partial:
        yield Path(partial) / "checkpoint"


@contextlib.contextmanager
def _url_errors(url: str) -> Iterator[None]:
    """Turns any failure with a checkpoint's URL into an error in one line."""
    try:
        yield
    except CaptionlessError:
        raise
    except (FileNotFoundError, PermissionError) as error:
        cause = error.__cause__  # fsspec says "not found" of whatever goes wrong on the web
        status = getattr(cause, "status", None)
        if isinstance(error, PermissionError) or status in (401, 403):
            raise SpecError(f'clip.pretrained: no permission to read "{url}"; check the credentials') from error
        if cause is not None and type(cause).__module__.startswith("aiohttp") and status not in (404, 410):
            raise Retryable(f'clip.pretrained: "{url}" could not be fetched: {one_line(cause)}') from error
        raise SpecError(f'clip.pretrained: nothing found at "{url}"') from error
    except ValueError as error:  # fsspec: unknown protocol
        raise SpecError(f'clip.pretrained: "{url}": {one_line(error)}') from error
    except Exception as error:
        raise Retryable(f'clip.pretrained: "{url}" could not be fetched: {one_line(error)}') from error
