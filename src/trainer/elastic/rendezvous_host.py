"""Node 0's side of the rendezvous: which nodes are connected, and the round that they are in."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import threading
from typing import Any

from captionless.errors import FINAL, Retryable
from captionless.trainer.elastic.gang import Gang
from captionless.trainer.elastic.rendezvous_wire import LONGEST, Message, encode, keep_alive, read

LAST_CALL_SECONDS = 30.0
"""How long an elastic training waits for nodes beyond its minimum: a Job replaces a lost pod in 10 to 20 s."""

_CLOSE_SECONDS = 2.0


class Readmission:
    """When a running round may be interrupted for nodes that have come back: at most once in `interval` seconds,
    however many come and go."""

    def __init__(self, interval: float) -> None:
        self._interval, self._last = interval, -math.inf

    def wait(self, now: float) -> float:
        """Seconds until an interruption is allowed; 0 if it is now, which is then taken to be one."""
        left = self._last + self._interval - now
        if left > 0:
            return left
        self._last = now
        return 0.0


class Host:
    """Runs in a separate thread, whose event loop alone accesses its state.

    training: a digest of the training; a node with a different one is rejected. Retryable if the port is not available.
    """

    def __init__(self, gang: Gang, training: str) -> None:
        self._gang, self._training = gang, training
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self._ready: set[int] = set()
        self._active: set[int] = set()
        self._round, self._ending = 0, False
        self._last_call: asyncio.TimerHandle | None = None
        self._readmission = Readmission(gang.readmission)
        self._regrouping: asyncio.TimerHandle | None = None
        self._is_asked = False  # to end this round at its next checkpoint
        self._loop, self._closing = asyncio.new_event_loop(), asyncio.Event()
        self._socket = _listen(gang.port)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Send what is left to send, and close."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._node, sock=self._socket, limit=LONGEST)
        async with server:
            await self._closing.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    while 0 in self._writers:  # its last message is for the others
                        await asyncio.sleep(0.01)
            writers, self._writers = self._writers, {}  # nodes that are disconnected here are not reported as lost
            for writer in writers.values():
                writer.close()
                with contextlib.suppress(TimeoutError, OSError):
                    async with asyncio.timeout(_CLOSE_SECONDS):
                        await writer.wait_closed()

    async def _node(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await read(reader) or {}
        index = hello.get("index")
        if not isinstance(index, int) or not 0 <= index < self._gang.nodes or hello.get("training") != self._training:
            writer.close()
            return
        keep_alive(writer.get_extra_info("socket"))
        if index in self._writers:  # its old connection broke unnoticed
            self._writers[index].close()
            self._left(index)
        self._writers[index] = writer
        self._tell_who_is_here()
        while (message := await read(reader)) is not None:
            if self._writers.get(index) is writer:
                self._heard(index, message)
        if self._writers.get(index) is writer:
            self._left(index)
        writer.close()

    def _heard(self, index: int, message: Message) -> None:
        if message.get("say") == "ready" and index not in self._active:
            self._ready.add(index)
            self._regroup_if_due()
        elif message.get("say") == "ended":
            error, line = message.get("error"), f"node {index}: {message.get('line')}"
            self._active.discard(index)
            self._ending = True
            if error in FINAL:
                self._broadcast(say="fail", error=error, line=line)
            elif error not in (None, "Interrupted"):  # these end on all nodes, at the same step
                self._over(line)
        self._begin_if_complete()

    def _left(self, index: int) -> None:
        del self._writers[index]
        self._ready.discard(index)
        if index in self._active:
            self._active.discard(index)
            self._ending = True
            self._over(f"node {index} was lost")
        self._tell_who_is_here()
        self._begin_if_complete()

    def _over(self, line: str) -> None:
        for index in self._active:
            self._send(index, say="over", line=line)

    def _regroup_if_due(self) -> None:
        """Ask node 0 to stop after a checkpoint for the nodes that are ready, now or when that is allowed again."""
        if self._regrouping is not None:
            self._regrouping.cancel()
            self._regrouping = None
        if not self._active or self._ending or not self._ready or self._is_asked:
            return
        seconds = self._readmission.wait(self._loop.time())
        if seconds > 0:
            self._regrouping = self._loop.call_later(seconds, self._regroup_if_due)
        else:
            self._is_asked = True
            self._send(0, say="regroup")

    def _begin_if_complete(self) -> None:
        enough = not self._active and 0 in self._ready and len(self._ready) >= self._gang.least
        if self._last_call is not None and (not enough or len(self._ready) == self._gang.nodes):
            self._last_call.cancel()
            self._last_call = None
        if enough and len(self._ready) == self._gang.nodes:
            self._begin()
        elif enough and self._last_call is None:
            self._last_call = self._loop.call_later(LAST_CALL_SECONDS, self._begin)

    def _begin(self) -> None:
        members, port = sorted(self._ready), _free_port()
        self._round, self._ending, self._last_call, self._is_asked = self._round + 1, False, None, False
        self._active, self._ready = set(members), set()
        for rank, index in enumerate(members):
            self._send(index, say="begin", round=self._round, rank=rank, nodes=len(members), port=port)

    def _tell_who_is_here(self) -> None:
        self._broadcast(say="here", nodes=sorted(self._writers))

    def _broadcast(self, **message: Any) -> None:
        for index in self._writers:
            self._send(index, **message)

    def _send(self, index: int, **message: Any) -> None:
        if index in self._writers:
            self._writers[index].write(encode(message))


def _listen(port: int) -> socket.socket:
    both = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            ("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both, backlog=1024
        )
    except OSError as error:
        raise Retryable(f"port {port}, for the rendezvous of the training's nodes: {error.strerror}") from error


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])
