"""How the nodes of a training agree on when a round begins, who is in it, and that it is over.

torchrun's own rendezvous loses its state with its process: a surviving node that restarts it may join the round that is
just ending, and ranks are ordered by addresses and process ids. The supervisors outlive the rounds, so they agree
first. Each keeps one connection to the supervisor of node 0, whose `Host` detects at once, or by TCP keep-alive within
30 s, that a node is lost. A c10d rendezvous that keeps ranks in order of the nodes and fences off the previous round
would replace this module.

    node -> host   ready                     ready for a round
                   ended  [error, line]      my part of the round is over
    host -> node   here   nodes              who is connected
                   begin  round, rank, nodes, port
                   over   line               the round is lost, end your part of it
                   fail   error, line        an error that no restart fixes: exit
                   regroup                   (to node 0) a missing node is back: stop after the next checkpoint

A round begins when all nodes are ready; in an elastic training, some time after the minimum number is. torchrun is then
given what it would otherwise negotiate: the number of nodes, this one's rank (nodes are in order of their index, so a
rank is the same in every round and equals that of one machine with as many processes), the address of node 0, which is
the one that this node is connected to, and a port that no earlier round used. Node 0 reaches itself at the loopback
address, never by name.
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from captionless.errors import FINAL, Interrupted, Retryable
from captionless.trainer.elastic.gang import Gang
from captionless.trainer.elastic.rendezvous_host import Host
from captionless.trainer.elastic.rendezvous_wire import Message, encode, keep_alive

_LOOPBACK = "127.0.0.1"
_CONNECT_SECONDS = 3.0
_RECONNECT_SECONDS = 0.5
_REPORT_SECONDS = 30.0
_POLL = 0.1


@dataclass(frozen=True)
class NodeAssignment:
    """This node's part in a round: its rank among how many nodes, and the address of torchrun's store."""

    round: int = 1
    rank: int = 0
    nodes: int = 1
    address: str = _LOOPBACK
    port: int = 0


@dataclass
class News:
    """What the other nodes report in a round. over: why it is lost; regroup: a node is back, stop after the next
    checkpoint."""

    over: str = ""
    regroup: bool = False


class Rendezvous:
    """This node's membership in the gang, as a context manager; node 0 hosts it.

    training: a digest of the training, the same on all nodes. tell: receives a status line from time to time while
    nodes are missing. Methods raise SpecError or DataError if another node reported an error that no restart fixes.
    """

    def __init__(self, gang: Gang, training: str, tell: Callable[[str], None]) -> None:
        self._gang, self._training, self._tell = gang, training, tell
        self._here: list[int] = []
        self._address = _LOOPBACK

    def __enter__(self) -> Self:
        self._host = Host(self._gang, self._training) if self._gang.index == 0 else None
        self._member = Member(self._gang, self._training)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._member.close()
        if self._host is not None:
            self._host.close()

    def join_round(self, stopping: Callable[[], bool]) -> NodeAssignment:
        """Wait for the next round; Interrupted when `stopping`, Retryable after the gang's patience."""
        self._member.say(say="ready")
        began = reported = time.monotonic()
        while not stopping():
            now = time.monotonic()
            if now - began > self._gang.patience:
                raise Retryable(f"timed out after {self._gang.patience:.0f} s waiting for nodes: {self._missing()}")
            if now - reported > _REPORT_SECONDS:
                reported = now
                self._tell(f"waiting: {self._missing()}")
            with contextlib.suppress(queue.Empty):
                message = self._member.messages.get(timeout=_POLL)
                if message["say"] == "begin":
                    at = {name: int(message[name]) for name in ("round", "rank", "nodes", "port")}
                    return NodeAssignment(address=self._address, **at)
                if message["say"] == "connected":
                    self._member.say(say="ready")
                self._note(message)
        raise Interrupted("stopped while waiting for the training's nodes; rerun to resume")

    def news(self) -> News:
        """What arrived since the last call; does not wait."""
        found = News()
        with contextlib.suppress(queue.Empty):
            while True:
                message = self._member.messages.get_nowait()
                if message["say"] == "over":
                    found.over = str(message["line"])
                elif message["say"] == "lost":
                    found.over = "the connection to node 0 was lost"
                elif message["say"] == "regroup":
                    found.regroup = True
                self._note(message)
        return found

    def ended(self, error: str | None, line: str = "") -> None:
        """This node's part of the round has ended: with the class and message of an error, or successfully."""
        self._member.say(say="ended", error=error, line=line)

    def _note(self, message: Message) -> None:
        if message["say"] == "connected":
            self._address = str(message["address"])
        elif message["say"] == "here":
            self._here = list(message["nodes"])
        elif message["say"] == "lost":
            self._here = []
        elif message["say"] == "fail":
            raise FINAL[message["error"]](message["line"])

    def _missing(self) -> str:
        wanted = self._gang.least
        if not self._here:
            return f"node 0 does not answer at {self._gang.host}:{self._gang.port}; {wanted} nodes are required"
        missing = ", ".join(str(i) for i in range(self._gang.nodes) if i not in self._here)
        return f"{len(self._here)} of {wanted} nodes are connected" + (f"; missing: {missing}" if missing else "")


class Member:
    """A node's connection to the host, maintained by a thread; received messages are in `messages`.

    It adds two further messages: `connected`, with the address of node 0, and `lost`.
    """

    def __init__(self, gang: Gang, training: str) -> None:
        self._where = (_LOOPBACK if gang.index == 0 else gang.host, gang.port)
        self._hello = {"index": gang.index, "training": training}
        self._socket: socket.socket | None = None
        self._closing = threading.Event()
        self.messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        threading.Thread(target=self._stay, daemon=True).start()

    def say(self, **message: Any) -> None:
        """Send a message; dropped if there is no connection, since a `connected` will follow."""
        held = self._socket
        if held is not None:
            with contextlib.suppress(OSError):
                held.sendall(encode(message))

    def close(self) -> None:
        """Leave; messages sent before still arrive."""
        self._closing.set()
        held = self._socket
        if held is not None:
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_WR)

    def _stay(self) -> None:
        while not self._closing.is_set():
            # Not `runtime.retry`: an established connection that ends is no failure, but is renewed as well, for as
            # long as this node is a member; how long it may take is up to `join_round`.
            with contextlib.suppress(OSError, ValueError):
                self._talk()
            self._closing.wait(_RECONNECT_SECONDS)

    def _talk(self) -> None:
        # The name is looked up for every attempt, because node 0's address changes with its pod.
        with socket.create_connection(self._where, timeout=_CONNECT_SECONDS) as held:
            held.settimeout(None)
            keep_alive(held)
            held.sendall(encode(self._hello))
            self._socket = held
            self.messages.put({"say": "connected", "address": held.getpeername()[0]})
            try:
                for line in held.makefile("rb"):
                    self.messages.put(dict(json.loads(line)))
            finally:
                self._socket = None
                self.messages.put({"say": "lost"})
