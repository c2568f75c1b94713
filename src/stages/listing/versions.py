"""The version of every object: a text that changes when the content of its files does, and only then.

Pack records which files it has read for an object, with version and sha256 of each. As long as these have the versions
that they had, the object's version stays what it was when it was packed. A file that was written again is read, once:
if its content is the same, the new version is noted in the listing. Otherwise, and when the source names another file
as the object's own, the object gets a version that it never had; it is another one if its URL is, where versions are
times and sizes, which files of one archive or server share. A file whose server does not answer is taken for what
it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from captionless.precompute.object_files import beside, unsigned
from captionless.runtime.redaction import public_address
from captionless.runtime.thread_pools import thread_pool
from captionless.stages.listing.gathered import LookUp
from captionless.store import objects
from captionless.store.file_index import FileIndex, token_of
from captionless.store.scan import UNANSWERED, Found
from captionless.store.versions import is_of_time

_READERS = 4
_UNANSWERED = token_of(UNANSWERED)


class Listed(NamedTuple):
    """An object to settle the version of: its key, the URL of its own file, if it has one, and that file's token."""

    key: str
    url: str | None
    token: int


class Settled(NamedTuple):
    """An object's version, and its files as the listing is to record them, if it is."""

    version: str
    files: str | None = None


class _File(NamedTuple):
    """A file that was read for an object: its path, see `object_files.FileSeen`; its token, 0 where it was missing or
    had no version; its sha256, empty where it was missing."""

    path: str
    token: int
    sha256: str


@dataclass(frozen=True)
class _Record:
    """own: the path of the object's own file, which is read first; empty if it was not. files: those that can be
    compared, which what only a signature gives access to cannot: it is not recorded. is_vague: the own file's version
    is a time, and its path, as earlier releases recorded it, does not say which file it was."""

    version: str
    own: str
    files: tuple[_File, ...]
    is_vague: bool

    def is_of(self, url: str) -> bool:
        return self.own == public_address(url) or beside(url, self.own) == url


def settle(
    listed: Sequence[Listed],
    records: pa.Table,
    index: FileIndex,
    look_up: LookUp,
    read: Callable[[str, str], bytes | None],
) -> list[Settled]:
    """The versions of some objects.

    records: what is recorded of their files, see `before.RECORDS`. read: gives the sha256 of the file that the one at
    a URL names, None if there is none or it must not be read.
    """
    packed, noted = _of(records, by_list=False), _of(records, by_list=True)
    tokens = _tokens(listed, packed, noted, index, look_up)

    def settled(one: Listed) -> Settled | None:
        """Without reading anything; None if that leaves it open."""
        record = packed.get(one.key)
        if one.url is None or record is None or not record.own:
            return Settled(_unread(one))
        if not record.is_of(one.url):
            return Settled(_digest(record.version, public_address(one.url), one.token))
        for known in (noted.get(one.key), record):
            if known is None or known.version != record.version or known.is_vague or not known.is_of(one.url):
                continue
            if not _changed(one.url, known, tokens):
                return Settled(record.version, None if known is record else _json(known.files))
        return None

    found = [settled(one) for one in listed]
    left = [one for one, known in zip(listed, found, strict=True) if known is None]
    with thread_pool(_READERS) as pool:
        compared = pool.map(lambda one: _compared(str(one.url), packed[one.key], tokens, read), left)
        return [next(compared) if known is None else known for known in found]


def text(token: int) -> str:
    """A version that is a token."""
    return f"{token:016x}"


def _unread(one: Listed) -> str:
    """The version of an object of which nothing was read."""
    return text(one.token) if one.token or one.url is None else _digest(public_address(one.url))


def _digest(*parts: object) -> str:
    return objects.digest(*parts)[:16]


def _changed(url: str, record: _Record, tokens: dict[str, int]) -> list[_File]:
    """The files of the object at `url` that have another version than was recorded, or one that says nothing."""
    now = ((file, tokens[beside(url, file.path)]) for file in record.files)
    return [
        file
        for file, token in now
        if token != _UNANSWERED and (token != file.token or (file.sha256 and not file.token))
    ]


def _compared(url: str, record: _Record, tokens: dict[str, int], read: Callable[[str, str], bytes | None]) -> Settled:
    """The version of an object with files to be compared by their content."""
    tokens_now = [tokens[beside(url, file.path)] for file in record.files]
    now = tuple(
        file if token == _UNANSWERED else file._replace(token=token)
        for file, token in zip(record.files, tokens_now, strict=True)
    )
    changed = _changed(url, record, tokens)
    if record.is_vague:
        changed = [*(file for file in record.files if file.path == record.own and file not in changed), *changed]
    for file in changed:
        content = read(url, file.path) if file.sha256 else None
        if content is None or content.hex() != file.sha256:
            return Settled(_digest(record.version, unsigned(url), [file[:2] for file in now]))
    if record.is_vague:
        now = tuple(file._replace(path=unsigned(url)) if file.path == record.own else file for file in now)
    return Settled(record.version, _json(now))


def _of(records: pa.Table, by_list: bool) -> dict[str, _Record]:
    """The records of pack, or of the previous listing, by key."""
    found = {}
    for row in records.to_pylist():
        if row["by_list"] == by_list:
            seen = json.loads(row["files"])
            files = tuple(
                _File(path, _number(version) if by_list else token_of(version), sha256)
                for path, version, sha256 in seen
                if not _is_signed(path)
            )
            own, version, _ = seen[0] if seen else ("", "", "")
            found[row["key"]] = _Record(row["version"], own, files, "://" not in own and is_of_time(version))
    return found


def _is_signed(path: str) -> bool:
    return "***" in path and path == public_address(path)


def _json(files: Sequence[_File]) -> str:
    return json.dumps([[path, text(token), sha256] for path, token, sha256 in files])


def _number(version: str) -> int:
    return int(version, 16)


def _tokens(
    listed: Sequence[Listed],
    packed: dict[str, _Record],
    noted: dict[str, _Record],
    index: FileIndex,
    look_up: LookUp,
) -> dict[str, int]:
    """The tokens that the recorded files have now, by URL; those that were not listed are looked up."""
    records = [(one.url, r) for one in listed if one.url for r in (packed.get(one.key), noted.get(one.key)) if r]
    wanted = sorted({beside(url, file.path) for url, record in records for file in record.files})
    found = index.find(wanted)
    unknown = [url for url, known in zip(wanted, found.known.tolist(), strict=True) if not known]
    if unknown:
        for page in look_up(unknown):
            index.add(page)
        there = index.find(unknown).known.tolist()
        # That one is missing is remembered as well, for other objects that name it.
        index.add([Found(url, "", -1) for url, is_there in zip(unknown, there, strict=True) if not is_there])
        found = index.find(wanted)
    return dict(zip(wanted, found.tokens.tolist(), strict=True))
