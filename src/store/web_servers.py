"""Whose failure it is that a file on the web cannot be read: the file's, its server's, or this machine's.

A data set may name files on any number of servers, some of which are gone for good. That is a matter of their objects,
and no reason to stop; that this machine has no network is one, and no reason to take every object for broken. So when a
file could not be read for as long as is waited, its server is asked for its first page. If there is any answer, the
file is at fault. If there is none, but another server answers (the one of the source, one that the source names, or one
that has answered before), the file's server is silent, and is not asked again for a while. If nobody answers, nothing
can be said about the file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fsspec.asyn import get_loop, sync

from captionless.errors import Retryable, one_line

_SILENCE = 600.0  # seconds for which a silent server is not asked
_PATIENCE = 10.0  # seconds for an answer
_ASKED = 8  # other servers
_BAD_GATEWAY = (502, 503, 504)
_WEB = ("http://", "https://")
_BEHIND = {"hf": "https://huggingface.co/", "gs": "https://storage.googleapis.com/"}
"""The servers of storages that have schemes of their own."""

_T = TypeVar("_T")


class Unanswered(Exception):
    """A file is not read, by its own fault or that of its server; says why."""


class WebServers:
    """What is known of them in this process. client: creates an aiohttp session. others: URLs on servers that are worth
    asking."""

    def __init__(self, client: Callable[..., Coroutine[Any, Any, Any]], others: Iterable[str] = ()) -> None:
        self._client = client
        self._others = dict.fromkeys(filter(None, map(server_of, others)))
        self._silent: dict[str, float] = {}

    def ask(self, url: str, call: Callable[[], _T]) -> _T:
        """What `call`, which tries again and again, gives for a URL.

        Raises:
            Unanswered: it is the fault of the file or of its server.
            Retryable: that of `call`, where it may be neither's.
        """
        own = server_of(url)
        if not own:
            return call()
        if self._is_silent(own):
            raise Unanswered("its server did not answer a short time ago")
        try:
            found = call()
        except Retryable as error:
            fault = self._fault(own)
            if not fault:
                raise
            raise Unanswered(f"{fault} ({one_line(error.__cause__ or error)})") from error
        self._others[own] = None
        return found

    def answer(self, url: str) -> bool:
        """Whether the server of a URL answers, by one short try, whose failure is remembered for a while; true if it is
        on none."""
        own = server_of(url)
        if not own:
            return True
        if self._is_silent(own):
            return False
        if not self._answers(own):
            self._silent[own] = time.monotonic()
            return False
        return True

    def _is_silent(self, server: str) -> bool:
        return time.monotonic() - self._silent.get(server, float("-inf")) < _SILENCE

    def _fault(self, own: str) -> str:
        """Whose fault it is that a file could not be read; empty if that cannot be said."""
        if self._answers(own):
            return "its server answers, but not with this file"
        others = [each for each in self._others if each != own][-_ASKED:]
        if not any(map(self._answers, others)):
            return ""
        self._silent[own] = time.monotonic()
        return "its server does not answer, while others do"

    def _answers(self, root: str) -> bool:
        try:
            status: int = sync(get_loop(), self._status, root)
        except Exception:  # whatever it is, it is no answer
            return False
        return status not in _BAD_GATEWAY

    async def _status(self, url: str) -> int:
        import aiohttp

        patience = aiohttp.ClientTimeout(total=_PATIENCE)
        async with await self._client() as session, session.get(url, allow_redirects=False, timeout=patience) as answer:
            return int(answer.status)


def is_on_web(url: str) -> bool:
    """Whether a URL, or the archive that it is in, is on a web server."""
    return any(part.startswith(_WEB) for part in url.split("::"))


def server_of(url: str) -> str:
    """The first page of the server of a URL, or of its archive; empty if it is on none that is known."""
    part = url.split("::")[-1]
    if (behind := _BEHIND.get(part.partition("://")[0])) is not None:
        return behind
    if not part.startswith(_WEB):
        return ""
    try:
        found = urlsplit(part)
    except ValueError:
        return ""
    return f"{found.scheme}://{found.netloc}/" if found.netloc else ""
