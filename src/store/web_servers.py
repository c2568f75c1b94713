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
from typing import Any
from urllib.parse import urlsplit

from fsspec.asyn import get_loop, sync

_SILENCE = 600.0  # seconds for which a silent server is not asked
_PATIENCE = 10.0  # seconds for an answer
_ASKED = 8  # other servers
_BAD_GATEWAY = (502, 503, 504)
_WEB = ("http://", "https://")


class WebServers:
    """What is known of them in this process. client: creates an aiohttp session. others: URLs on servers that are worth
    asking."""

    def __init__(self, client: Callable[..., Coroutine[Any, Any, Any]], others: Iterable[str] = ()) -> None:
        self._client = client
        self._others = dict.fromkeys(filter(None, map(server_of, others)))
        self._silent: dict[str, float] = {}

    def answered(self, url: str) -> None:
        """Notes that the server of a URL has answered."""
        self._others[server_of(url)] = None

    def is_silent(self, url: str) -> bool:
        """Whether the server of a URL was found to be silent a short time ago."""
        return time.monotonic() - self._silent.get(server_of(url), float("-inf")) < _SILENCE

    def fault(self, url: str) -> str:
        """Why a file could not be read although it was tried again and again; empty if that may be no fault of it or
        its server."""
        own = server_of(url)
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
    """The first page of the server of a URL, or of its archive; empty if it is on none."""
    part = next((part for part in url.split("::") if part.startswith(_WEB)), "")
    try:
        found = urlsplit(part)
    except ValueError:
        return ""
    return f"{found.scheme}://{found.netloc}/" if found.netloc else ""
