"""The files that an object is made from, and from where they may be read.

A mesh names other files, and nobody has read all meshes of a large data set: what it names must lie in the source's own
folder, or in one that the user allows (`data.allow`), after symbolic links and `..` are resolved. Devices, kernel files
and private network addresses are refused wherever they are named.
"""

from __future__ import annotations

import functools
import hashlib
import os
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Literal
from urllib.parse import unquote

from captionless.errors import DataError, one_line
from captionless.mesh import Up
from captionless.runtime.redaction import HIDDEN, public_address, redacted
from captionless.store.guarded_http import Guard
from captionless.store.urls import is_local, local_path
from captionless.store.versions import is_of_time
from captionless.store.web_servers import is_on_web
from captionless.store.whole_files import digest_of_file, read_file

MAX_FILES = 1000
"""Files that one object may name."""

_KERNEL = ("/proc", "/sys", "/dev")
_SHARED_MEMORY = "/dev/shm"
_SCHEMES = ("file", "s3", "gs", "az", "hf", "http", "https", "memory", "zip", "tar")
"""Storages that a data set's files may name; others connect to hosts, or run what they are given."""
_SAME = {"s3a": "s3", "local": "file", "gcs": "gs", "abfs": "az", "abfss": "az"}
_ARCHIVES = ("zip", "tar")
_WEB = ("http", "https")
_WEB_URLS = ("http://", "https://")
_LONGEST_NAME = 255  # bytes of a path's segment on usual file systems
_LONGEST_PATH = 4096
_REASON = 400  # characters
_MOST_ENTRIES = 20_000  # of a folder that are compared with a name


@dataclass(frozen=True)
class FileSeen:
    """A file that was read for an object, or sought in vain.

    path: relative to the folder of the object's own file (`beside` finds it from that one's URL), or a whole URL
    without signatures if it is elsewhere or is the own file with a version that does not come from its content.
    version: as `store.versions.version_of` gives it. sha256: of its content. Both are empty if there is no such file.
    """

    path: str
    version: str
    sha256: str


class BrokenObject(DataError):
    """An object that cannot be read: why, in one line without its key, and the files that were read until then."""

    def __init__(self, reason: str, files: Sequence[FileSeen] = ()):
        super().__init__(reason)
        self.files = tuple(files)


def broken_by(error: Exception, files: Sequence[FileSeen] = ()) -> BrokenObject:
    """The object that an exception is about, in one line and without secrets."""
    text = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
    return BrokenObject(one_line(DataError(redacted(text)), _REASON), files)


def beside(url: str, name: str) -> str:
    """URL of the file that the one at `url` names: relative to its folder, or a whole URL.

    Inside the same archive for `zip://inner::outer` URLs; with the same signature, if there is one, for http(s).
    """
    if "://" in name:
        return url if name == unsigned(url) else name
    inner, *outer = url.split("::")
    scheme, mark, path = inner.rpartition("://")
    path, question, query = path.partition("?") if scheme in _WEB else (path, "", "")
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(path), name.replace("\\", "/")))
    return "::".join([scheme + mark + joined + question + query, *outer])


def resolved(url: str) -> str:
    """The URL without `.` and `..` in its path."""
    path = _without_query(url.split("::")[0])
    return beside(url, posixpath.basename(path)) if {".", ".."} & set(path.split("/")) else url


def path_from(own: str, url: str) -> str | None:
    """What the file at `own` would call the one at `url`, so that `beside` finds it; None if only by its URL."""
    folder, path = (_without_query(u.split("::")[0]).rpartition("://")[2] for u in (own, url))
    relative = posixpath.relpath("/" + path, posixpath.dirname("/" + folder))
    return relative if beside(own, relative) == url else None


def unsigned(url: str) -> str:
    """A file's URL without what only gives access to it."""
    path, question, query = public_address(url).replace(f"{HIDDEN}@", "").partition("?")
    kept = "&".join(pair for pair in query.split("&") if HIDDEN not in pair)
    return path + question + kept if kept else path


class OutsideScope(DataError):
    """A file that is in none of the folders from which an object may be read."""


@dataclass(frozen=True)
class Scope:
    """The folders, or single files, that an object may be read from, as URLs or paths; None: from anywhere.

    origin: the URL of the source, as the user's spec gives it. Its web server may be in a private network. allowed:
    further folders, which the user names (`data.allow`). servers: URLs on web servers that the source names.
    """

    folders: tuple[str, ...] | None = None
    origin: str = ""
    allowed: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()

    @cached_property
    def guard(self) -> Guard:
        return _guard(tuple(self.origin.split("::")), self.servers)

    @cached_property
    def _own(self) -> list[_Place]:
        return [_place(folder) for folder in self.folders or ()]

    @cached_property
    def _others(self) -> list[_Place]:
        return [_place(folder) for folder in self.allowed]

    def check_address(self, url: str, what: str) -> None:
        """DataError, which begins with `what`, if the file at `url` is on no storage from which objects are read."""
        schemes = {*_SCHEMES, *map(_scheme, self.origin.split("::"))}
        inner, *archives = url.split("::")
        if bool(archives) != (_scheme(inner) in _ARCHIVES) and not is_local(url):
            raise DataError(f"{what}: `::` joins the name of an archive to that of a file in it (zip://, tar://)")
        for part in (inner, *archives):
            if (scheme := _scheme(part)) not in schemes:
                raise DataError(f"{what}: files on {scheme}:// are not read")
            if scheme == "file" and _is_of_kernel(os.path.realpath(local_path(part))):
                raise DataError(f"{what}: devices and files of the kernel are not read")

    def check(self, url: str, what: str) -> bool:
        """Whether the file at `url` may be read whatever `allowed` says. DataError, which begins with `what`, if it is
        none that an object may be read from; OutsideScope if another `allowed` could change that."""
        self.check_address(url, what)
        if self.folders is None:
            return True
        found = _place(url)
        if any(map(found.is_in, self._own)):
            return True
        if any(map(found.is_in, self._others)):
            return False
        home = public_address(_without_query(self.folders[0])) if self.folders else "the source's folder"
        raise OutsideScope(f"{what}: outside of {home}; if it is meant, add its folder to data.allow")


@dataclass(frozen=True)
class MeshFile:
    """An object that is a mesh: its file, the up axis if the format does not define it, and where it may read from."""

    url: str
    up: Up | None
    scope: Scope

    def open(self) -> ObjectFiles:
        return ObjectFiles(self.url, self.scope)


class ObjectFiles:
    """Reads the files of the object whose own file is at `url`; `seen` tells which, and `beyond` whether it was up to
    `Scope.allowed` if one of them could be read."""

    def __init__(self, url: str, scope: Scope = Scope()) -> None:
        self.url = url
        self.seen: list[FileSeen] = []
        self.size = 0  # bytes that were read
        self.beyond = False
        self._scope = scope
        self._found: dict[str, bytes | None] = {}
        self._opened: Callable[[], None] = lambda: None
        self._most: int | None = None

    def watch(self, opened: Callable[[], None], most: int) -> None:
        """From now on, `opened` is called whenever a file has been read or sought, and a DataError tells of files that
        have more than `most` bytes together."""
        self._opened, self._most = opened, most

    def own(self) -> bytes:
        """The object's own file. DataError when it is missing or must not be read."""
        content = self._read(*self._own())
        if content is None:
            raise DataError(f"{self.url}: no such file")
        return content

    def named(self, name: str, by: str = "") -> bytes | None:
        """A file that the object's own, or its file at the URL `by`, names; None when there is none, which includes
        absolute paths of another machine.

        DataError when it is outside of the scope, cannot be read, or when the object names too many files.
        """
        url, what = self._named(name, by)
        try:
            return self._read(url, what)
        except OutsideScope:
            if _is_of_another_machine(name, url):
                return None
            raise

    def own_digest(self, algorithm: Literal["md5", "sha256"]) -> bytes:
        """The digest of what `own` gives, which is not held and not `seen`."""
        found = self._digest(*self._own(), algorithm)
        if found is None:
            raise DataError(f"{self.url}: no such file")
        return found

    def named_digest(self, name: str) -> bytes | None:
        """The sha256 of what `named` gives, likewise."""
        return self._digest(*self._named(name, ""), "sha256")

    def _own(self) -> tuple[str, str]:
        """URL of the object's own file, and what to call it in errors."""
        for part in self.url.split("::"):
            _check_name(_without_query(part), "its file")
        return self.url, public_address(self.url)

    def _named(self, name: str, by: str) -> tuple[str, str]:
        """The same of a file that is named."""
        what = f"refers to {_shown(name)}"
        _check_name(name, what)
        if "::" in name:
            raise DataError(f"{what}: not a name of a file")
        return beside(by or self.url, name), what

    def _digest(self, url: str, what: str, algorithm: Literal["md5", "sha256"]) -> bytes | None:
        self._check(url, what)
        try:
            return digest_of_file(url, self._scope.guard, algorithm)
        except FileNotFoundError:
            return None

    def spelled_alike(self, name: str, by: str = "") -> str | None:
        """The name of a file that differs from `name`, as `named` takes it, only in upper and lower case.

        Sought in this machine's file system only, where it costs no request, and among the first entries of each
        folder. None when there is none; DataError when it would be outside of the scope.
        """
        url = by or self.url
        if _scheme(url) != "file" or "::" in url or "://" in name:
            return None
        found = ""
        for part in name.replace("\\", "/").split("/"):
            folder = beside(url, found or ".")
            self._check(folder, f"refers to {_shown(name)}")
            entry = part if part in ("", ".", "..") else _alike(local_path(folder), part)
            if entry is None:
                return None
            found = posixpath.join(found, entry)
        return found

    def _read(self, url: str, what: str) -> bytes | None:
        if url in self._found:
            return self._found[url]
        if len(self._found) == MAX_FILES:
            raise DataError(f"refers to more than {MAX_FILES} files")
        self._check(url, what)
        path = path_from(self.url, url) or public_address(url)
        try:
            found = read_file(url, self._scope.guard)
        except FileNotFoundError:
            self._found[url] = None
            self.seen.append(FileSeen(path, "", ""))
            self._opened()
            return None
        self._found[url] = found.data
        self.size += len(found.data)
        if url == self.url and is_of_time(found.version):
            path = unsigned(url)
        self.seen.append(FileSeen(path, found.version, hashlib.sha256(found.data).hexdigest()))
        self._opened()
        if self._most is not None and self.size > self._most:
            raise DataError(f"its files have {self.size} bytes; at most {self._most} are read")
        return found.data

    def _check(self, url: str, what: str) -> None:
        try:
            self.beyond |= not self._scope.check(url, what)
        except OutsideScope:
            self.beyond = True
            raise


def _is_of_another_machine(name: str, url: str) -> bool:
    """Whether what a file names, at a URL, is an absolute path that leads nowhere here; of a web server all exist."""
    is_path = name.startswith(("/", "file:///")) and not is_on_web(url)
    return is_path and not os.path.lexists(name.removeprefix("file://"))


def _alike(folder: str, name: str) -> str | None:
    """The first entry, by name, that is `name` or differs from it only in case."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in islice(entries, _MOST_ENTRIES) if e.name.casefold() == name.casefold())
    except (OSError, ValueError):
        return None
    return name if name in names else next(iter(names), None)


def _check_name(name: str, what: str) -> None:
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{what}: its name is not valid Unicode") from None
    if any(byte < 32 or byte == 127 for byte in raw):
        raise DataError(f"{what}: its name has control characters")
    if len(raw) > _LONGEST_PATH or max(map(len, raw.split(b"/"))) > _LONGEST_NAME:
        raise DataError(f"{what}: its name is too long")


def _shown(name: str) -> str:
    """A name for an error: of readable length, and without control characters."""
    shown = repr(public_address(name))
    return shown if len(shown) <= 100 else f"{shown[:96]}...'"


@dataclass(frozen=True)
class _Place:
    """Where a URL leads: the storage or archive, and the path's segments, from the host or bucket on.

    Links and `..` are resolved.
    """

    store: str
    path: tuple[str, ...]

    def is_in(self, folder: _Place) -> bool:
        return self.store == folder.store and self.path[: len(folder.path)] == folder.path


def _place(url: str) -> _Place:
    inner, *outer = url.split("::")
    store = _scheme(inner)
    if store == "file":
        path = os.path.realpath(local_path(inner))
    else:
        path = inner.partition("://")[2]
        if store in _WEB:
            host, slash, below = _decoded(path.partition("?")[0]).partition("/")
            path = host.rpartition("@")[2].lower() + slash + below.replace("\\", "/")
    segments = tuple(s for s in posixpath.normpath("/" + path).split("/") if s)
    return _Place(f"{store}::{_place('::'.join(outer))}" if outer else store, segments)


def _decoded(path: str) -> str:
    """A URL's path without any level of percent-encoding, as lenient servers read it."""
    while (plain := unquote(path)) != path:
        path = plain
    return path


def _scheme(url: str) -> str:
    scheme = url.partition("://")[0].lower() if "://" in url else "file"
    return _SAME.get(scheme, scheme)


def _without_query(url: str) -> str:
    return url.partition("?")[0] if url.startswith(_WEB_URLS) else url


def _is_of_kernel(path: str) -> bool:
    below = [folder for folder in (*_KERNEL, _SHARED_MEMORY) if path == folder or path.startswith(folder + "/")]
    return bool(below) and _SHARED_MEMORY not in below


@functools.lru_cache(maxsize=16)
def _guard(exempt: tuple[str, ...], servers: tuple[str, ...]) -> Guard:
    """One for every origin: each has connections of its own."""
    return Guard(exempt, servers)
