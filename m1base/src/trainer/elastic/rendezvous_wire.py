"""Messages between the supervisors of a training: JSON objects, one per line, over connections with keep-alive."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

LONGEST = 1 << 16
Message = dict[str, Any]


def keep_alive(held: socket.socket) -> None:
    """Detect within 30 s that the other side has vanished without closing the connection."""
    held.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4), ("TCP_USER_TIMEOUT", 30_000)):
        if hasattr(socket, name):  # Linux has all of them
            held.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def encode(message: Message) -> bytes:
    return (json.dumps(message) + "\n").encode()


async def read(reader: asyncio.StreamReader) -> Message | None:
    """The next message; None at the end of the connection, and for anything that is not a message."""
    try:
        line = await reader.readline()
        return dict(json.loads(line)) if line else None
    except (OSError, ValueError, TypeError):
        return None
