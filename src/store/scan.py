"""Files as their storage lists them: URL, version and size, for whole folders and for given files, in pages.

Object storage names a thousand files an answer, in order, so versions of many files cost a request a thousand, not one
each. A folder is listed by its sub-folders side by side. Given files are found by listing from one to the next: what
lies between is skipped where it is more than a page, so that it takes no more requests than there are files and no
more than all of the folder would. Web servers are asked file by file, archives and local folders read directly.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from captionless.errors import SpecError
from captionless.runtime.thread_pools import thread_pool
from captionless.store.guarded_http import Guard, PrivateAddress
from captionless.store.storage_errors import is_transient, web_refusal
from captionless.store.storage_retry import retrying
from captionless.store.urls import expanded_path, filesystem, is_local, join
from captionless.store.versions import of_stat, version_of
from captionless.store.web_servers import Unanswered, is_on_web

_REQUESTS = 16  # under way at once
_PAGE = 1000  # files
_KERNEL = ("/proc/", "/sys/", "/dev/")
UNANSWERED = "unanswered"
"""The version of a file on the web whose server answers nothing about it, while others do."""

_T = TypeVar("_T")


class Found(NamedTuple):
    """A file: its URL, its version (see `versions`; empty if unknown) and its size in bytes, -1 if unknown."""

    url: str
    version: str
    size: int


def scan(url: str, tell_hidden: Callable[[str], None] = lambda path: None) -> Iterator[list[Found]]:
    """All files below a folder, in no order, some at a time. URLs begin with `url` as given.

    Hidden files and folders are left out; `tell_hidden` is given the path of each, some of them more than once. A
    local link that leads nowhere is listed without a version, one that leads back to a folder it is in is not followed,
    and one that leads to the kernel's files, which never end, is told as hidden.
    """
    pages: Iterator[list[Found]]
    if is_local(url):
        pages = (
            [Found(join(url, path), v, s) for path, v, s in p]
            for p in in_batches(_local(expanded_path(url), tell_hidden), _PAGE)
        )
    elif _on_s3(url):
        pages = _folder_on_s3(url, tell_hidden)
    else:
        pages = in_batches(_whole(url, tell_hidden), _PAGE)
    for page in pages:
        if page:
            yield page


def look_up(urls: Sequence[str], guard: Guard | None = None) -> Iterator[list[Found]]:
    """The files of these URLs, and what was listed with them, in no order; those that do not exist, or may not be read,
    are left out. `urls` are sorted and differ. `guard`: whose HTTP clients are used; None: the user has named them."""
    guard = guard or Guard(urls)
    local: list[str] = []
    s3: list[str] = []
    others: list[str] = []
    archives: dict[str, list[str]] = {}
    for url in urls:
        if is_local(url):
            local.append(url)
        elif "::" in url:
            archives.setdefault(url.split("::", 1)[1], []).append(url)
        else:
            (s3 if _on_s3(url) else others).append(url)
    yield from ([f for url in some if (f := _stat(url)) is not None] for some in in_batches(local, _PAGE))
    for members in archives.values():
        yield _in_archive(members, guard)
    yield from _on_s3_between(s3, guard)
    yield from _one_by_one(others, guard)


def in_batches(items: Iterable[_T], count: int) -> Iterator[list[_T]]:
    """The items in lists of `count`, the last one shorter."""
    rest = iter(items)
    while some := list(islice(rest, count)):
        yield some


def _is_shown(path: str, tell_hidden: Callable[[str], None]) -> bool:
    """Whether nothing on a path is hidden; tells what is, as far down as that."""
    names = path.split("/")
    hidden = next((depth for depth, name in enumerate(names, 1) if name.startswith(".")), None)
    if hidden is not None:
        tell_hidden("/".join(names[:hidden]))
    return hidden is None


# -- local


def _local(root: str, tell_hidden: Callable[[str], None]) -> Iterator[tuple[str, str, int]]:
    """The files below a folder: path relative to it, version, size."""
    waiting: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]
    while waiting:
        folder, above = waiting.pop()
        path = os.path.join(root, folder)
        try:
            own = os.stat(path)
            entries = list(os.scandir(path))
        except (FileNotFoundError, NotADirectoryError):
            continue
        inside = (*above, (own.st_dev, own.st_ino))
        if inside[-1] in above:
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith("."):
                tell_hidden(name)
                continue
            try:
                found = entry.stat()
            except OSError:
                yield name, "", -1
                continue
            if not entry.is_dir():
                yield name, of_stat(found), found.st_size
            elif found.st_dev != own.st_dev and _is_of_kernel(entry.path):
                tell_hidden(name)
            else:
                waiting.append((name, inside))


def _is_of_kernel(folder: str) -> bool:
    path = os.path.realpath(folder) + "/"
    return path.startswith(_KERNEL) and not path.startswith("/dev/shm/")


def _stat(url: str) -> Found | None:
    try:
        found = os.stat(expanded_path(url))
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    return Found(url, of_stat(found), found.st_size)


# -- S3


def _on_s3(url: str) -> bool:
    return url.startswith(("s3://", "s3a://")) and "::" not in url


class _Page(NamedTuple):
    found: list[Found]
    folders: list[str]
    """Prefixes of folders, where only what is directly in one was listed."""
    last: str
    """The last key."""
    more: str
    """The token of the next page; empty when there is none."""


@retrying
def _page(url: str, prefix: str, **options: str) -> _Page:
    """A page of the keys with a prefix in the bucket of `url`; options as S3's ListObjectsV2 has them."""
    fs, path = filesystem(url)
    bucket = fs.split_path(path)[0]
    answer = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **options)
    scheme, contents = url.partition("://")[0], answer.get("Contents", [])
    found = [
        Found(f"{scheme}://{bucket}/{each['Key']}", version_of({**each, "size": each["Size"]}), int(each["Size"]))
        for each in contents
        if not each["Key"].endswith("/")
    ]
    folders = [each["Prefix"] for each in answer.get("CommonPrefixes", [])]
    last = contents[-1]["Key"] if contents else ""
    return _Page(found, folders, last, answer.get("NextContinuationToken", "") if answer.get("IsTruncated") else "")


def _folder_on_s3(url: str, tell_hidden: Callable[[str], None]) -> Iterator[list[Found]]:
    fs, path = filesystem(url)
    bucket, key, _ = fs.split_path(path)
    root = f"{key.rstrip('/')}/" if key else ""
    given, stored = url.rstrip("/") + "/", f"{url.partition('://')[0]}://{bucket}/{root}"

    def as_given(found: Iterable[Found]) -> list[Found]:
        """Files with URLs that begin as the folder's was given, hidden ones left out."""
        relative = ((each, each.url[len(stored) :]) for each in found)
        return [each._replace(url=given + rest) for each, rest in relative if is_shown(rest)]

    def is_shown(path: str) -> bool:
        return _is_shown(path, tell_hidden)

    options = {"Delimiter": "/"}
    while True:
        page = _page(url, root, **options)
        yield as_given(page.found)
        folders = [prefix for prefix in page.folders if is_shown(prefix[len(root) :].rstrip("/"))]
        for found in _side_by_side(_Prefix(url, prefix) for prefix in folders):
            yield as_given(found)
        if not page.more:
            return
        options = {"Delimiter": "/", "ContinuationToken": page.more}


class _Prefix:
    """The keys with a prefix: a call returns the next page, None at the end."""

    def __init__(self, url: str, prefix: str):
        self._url, self._prefix, self._ended = url, prefix, False
        self._options: dict[str, str] = {}

    def __call__(self) -> list[Found] | None:
        if self._ended:
            return None
        page = _page(self._url, self._prefix, **self._options)
        self._options, self._ended = {"ContinuationToken": page.more}, not page.more
        return page.found


class _Between:
    """The pages that hold some keys, which are sorted, and what is listed with them: a call returns the next page that
    is needed, None at the end."""

    def __init__(self, url: str, keys: Sequence[str]):
        self._url, self._keys, self._next = url, keys, 0
        self._prefix = _shared(keys[0], keys[-1])
        self._after = keys[0][:-1]

    def __call__(self) -> list[Found] | None:
        if self._next >= len(self._keys):
            return None
        page = _page(self._url, self._prefix, **({"StartAfter": self._after} if self._after else {}))
        self._next = bisect_right(self._keys, page.last, self._next) if page.more else len(self._keys)
        if self._next < len(self._keys):
            self._after = max(page.last, self._keys[self._next][:-1])
        return page.found


def _shared(a: str, b: str) -> str:
    """What both begin with."""
    return a[: next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))]


def _side_by_side(tasks: Iterator[Callable[[], list[Found] | None]]) -> Iterator[list[Found]]:
    """The pages of all tasks as they come, a few tasks at a time."""
    with thread_pool(_REQUESTS) as pool:
        running: dict[Future[list[Found] | None], Callable[[], list[Found] | None]] = {}

        def fill() -> None:
            for task in islice(tasks, _REQUESTS - len(running)):
                running[pool.submit(task)] = task

        fill()
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task, page = running.pop(future), future.result()
                if page is not None:
                    running[pool.submit(task)] = task
                    yield page
            fill()


def _on_s3_between(urls: Sequence[str], guard: Guard) -> Iterator[list[Found]]:
    missing = set(urls)
    try:
        for found in _side_by_side(_stretches(urls)):
            missing.difference_update(each.url for each in found)
            yield found
    except SpecError:
        pass  # files may be read, but not listed
    yield from _one_by_one(sorted(missing), guard)


def _stretches(urls: Sequence[str]) -> Iterator[Callable[[], list[Found] | None]]:
    """Listings from file to file, as many as can be under way at once where there are so many files."""
    buckets: dict[str, list[str]] = {}
    for url in urls:
        scheme, _, path = url.partition("://")
        bucket, _, key = path.partition("/")
        if key:
            buckets.setdefault(f"{scheme}://{bucket}", []).append(key)
    for bucket, keys in buckets.items():
        for some in in_batches(keys, max(_PAGE, -(-len(keys) // _REQUESTS))):
            yield _Between(bucket, some)


# -- all others


def _whole(url: str, tell_hidden: Callable[[str], None]) -> Iterator[Found]:
    path = filesystem(url)[1]
    root = path.rstrip("/") + "/"
    for found, info in _find(url).items():
        relative = found[len(root) :] if found.startswith(root) else found
        if relative and _is_shown(relative, tell_hidden):
            yield Found(join(url, relative), version_of(info), int(info.get("size") or 0))


@retrying
def _find(url: str) -> dict[str, Any]:
    fs, path = filesystem(url)
    return dict(fs.find(path, detail=True))


def _one_by_one(urls: Sequence[str], guard: Guard) -> Iterator[list[Found]]:
    def ask(url: str) -> Found | None:
        try:
            info = guard.servers.ask(url, lambda: _info(url, guard))
        except (FileNotFoundError, SpecError):
            return None
        except Unanswered:
            return Found(url, UNANSWERED, -1)
        if info is None:
            return None
        size = info.get("size")
        return Found(url, version_of(info), -1 if size is None else int(size))

    with thread_pool(_REQUESTS) as pool:
        for some in in_batches(urls, _PAGE):
            yield [found for found in pool.map(ask, some) if found is not None]


@retrying
def _info(url: str, guard: Guard) -> dict[str, Any] | None:
    """The metadata of a file; None when there is none, its address is private or it cannot be read."""
    try:
        fs, path = filesystem(url, guard)
        return dict(fs.info(path))
    except FileNotFoundError as error:  # fsspec says this of whatever goes wrong with a web server
        cause = error.__cause__
        if not isinstance(cause, Exception) or _is_private(cause) or web_refusal(url, cause):
            return None
        raise cause from None
    except Exception as error:
        if is_on_web(url) and (_is_private(error) or web_refusal(url, error)):
            return None
        raise


def _is_private(error: BaseException) -> bool:
    return isinstance(error, PrivateAddress) or any(
        isinstance(each, BaseException) and _is_private(each)
        for each in (error.__cause__, getattr(error, "os_error", None))
    )


def _in_archive(urls: Sequence[str], guard: Guard) -> list[Found]:
    """Members of one archive, which is opened once; none of one that cannot be."""
    try:
        fs = guard.servers.ask(urls[0], lambda: _archive(urls[0], guard))
    except Unanswered:
        return [Found(url, UNANSWERED, -1) for url in urls]
    found = []
    for url in urls if fs is not None else ():
        try:
            info = fs.info(url.split("::")[0].partition("://")[2])
        except (FileNotFoundError, KeyError):
            continue
        found.append(Found(url, version_of(info), int(info.get("size") or 0)))
    return found


@retrying
def _archive(url: str, guard: Guard) -> Any:
    """The file system of a member's archive; None if it cannot be opened."""
    try:
        return filesystem(url, guard)[0]
    except Exception as error:
        if is_transient(url, error) and not _is_private(error):
            raise
        return None
