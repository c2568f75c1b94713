"""An HTTP client that connects to public addresses only.

A data set's files may name URLs, and a URL may lead anywhere: by its host, by what the host's name resolves to at the
time, or by a redirect. So the address is examined where all of these have been followed, when a socket is created for
it. Hosts that the user named are exempt: data may be served from a private network.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from captionless.store.web_servers import WebServers

_PORTS = {"http": 80, "https": 443}


class PrivateAddress(OSError):
    """A connection to an address that is not public."""


class Guard:
    """Creates clients for fsspec. `exempt`: URLs whose host and port may have any address.

    refused: the last address that was refused, empty if none was since it was last cleared; libraries wrap the
    exception. origins: `exempt`. servers: what is known of servers; `others`: URLs on some that are worth asking.
    """

    def __init__(self, exempt: Iterable[str] = (), others: Iterable[str] = ()) -> None:
        self.origins = tuple(exempt)
        self.refused = ""
        self.servers = WebServers(self.client, [*others, *self.origins])
        self._exempt = [urlsplit(url) for url in self.origins if url.startswith(("http://", "https://"))]

    async def client(self, **options: Any) -> Any:
        """An aiohttp session."""
        import aiohttp

        connector = aiohttp.TCPConnector(socket_factory=self._socket)
        return aiohttp.ClientSession(connector=connector, **options)

    def _socket(self, target: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = target
        if not (is_public(str(address[0])) or self._is_exempt(address)):
            self.refused = str(address[0])
            raise PrivateAddress(f"{address[0]} is not a public address")
        return socket.socket(family, kind, protocol)

    def _is_exempt(self, address: tuple[Any, ...]) -> bool:
        for url in self._exempt:
            port = url.port or _PORTS[url.scheme]
            if address[1] == port and url.hostname:
                try:
                    found = socket.getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)
                except OSError:
                    continue
                if address[0] in {entry[4][0] for entry in found}:
                    return True
        return False


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet, and not of this machine, a private network or a link."""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    real = mapped if mapped is not None else found
    return bool(real.is_global and not real.is_multicast)
