"""A child process that calls one function again and again, and may die of it.

For work on data that nobody has looked at: whatever it does to a process (a crash in a library, endless recursion,
runaway memory, an endless loop) ends the child and not its parent, which learns how it ended and starts another. The
kernel enforces the limits, so that they hold inside of libraries too: RLIMIT_AS for memory, RLIMIT_CPU for time. That
is processor time, so that a busy machine or a slow storage is not held against the data.

The two talk over a socket, in pickles whose arrays follow uncopied. The child ends with its parent.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from captionless.errors import Retryable, one_line
from captionless.runtime import env, parent_death, signals

_OUT_OF_MEMORY = 101  # exit code of the child
_NUMBER = struct.Struct("<Q")
_TAIL = 2000  # bytes of the child's stderr


@dataclass(frozen=True)
class Limits:
    """Of one call. memory: bytes beyond those that the process has when it is ready. seconds: of processor time.
    patience: seconds in all, however little it computes."""

    memory: int
    seconds: float
    patience: float


class Ended(Exception):
    """The process ended, or was ended, during a call: how, and what the function had noted until then.

    by_itself: it may be that an earlier call left something behind; another process may survive the same call.
    """

    def __init__(self, how: str, notes: list[Any], by_itself: bool):
        super().__init__(how)
        self.notes, self.by_itself = notes, by_itself


class ExpendableProcess:
    """Calls a function, `module:name`, in a child process that is started when it is first needed.

    The function's first argument is one that it may call to send a note ahead of its result. Arguments, notes, results
    and exceptions must be picklable. MemoryError ends the process. If the module has a function `prepare`, it is called
    with the other arguments before; the processor time and memory that it takes do not count.
    """

    def __init__(self, function: str, limits: Limits) -> None:
        self._function, self._limits = function, limits
        self._child: _Child | None = None
        self._began = 0.0

    @property
    def is_fresh(self) -> bool:
        """Whether there is no process, or one that has not finished a call yet."""
        return self._child is None or not self._child.served

    def begin(self, *arguments: Any) -> None:
        """Starts a call, whose `result` is to be asked for before the next one."""
        self._child = self._child or _Child(self._function, self._limits)
        self._began = time.monotonic()
        with contextlib.suppress(OSError):  # it died in between; `result` says how
            _send(self._child.socket, arguments)

    def result(self) -> Any:
        """What the call returned or raised; Ended if the process did not survive it."""
        child, notes = self._child, []
        assert child is not None
        deadline = self._began + self._limits.patience
        try:
            while True:
                child.socket.settimeout(max(deadline - time.monotonic(), 0.001))
                kind, value = _receive(child.socket)
                if kind != "note":
                    break
                notes.append(value)
        except TimeoutError:
            self.close()
            raise Ended(f"took longer than {self._limits.patience:.0f} s", notes, by_itself=False) from None
        except (EOFError, ConnectionError):
            self._child = None
            how, by_itself = child.end()
            raise Ended(how, notes, by_itself) from None
        except BaseException:  # a signal: what comes next is not an answer to the next call
            self.close()
            raise
        child.served = True
        if kind == "error":
            raise value
        return value

    def call(self, *arguments: Any) -> Any:
        """`begin` and `result`."""
        self.begin(*arguments)
        return self.result()

    def close(self) -> None:
        """Ends the process."""
        if self._child is not None:
            self._child.kill()
            self._child = None


class _Child:
    def __init__(self, function: str, limits: Limits) -> None:
        self.served = False
        self._limits = limits
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        self.socket, theirs = socket.socketpair()
        with theirs:
            arguments = [theirs.fileno(), function, limits.memory, limits.seconds]
            self._process = subprocess.Popen(
                # -P: modules in the current folder, which may be that of the data, are not imported
                [sys.executable, "-P", "-m", __name__, *map(str, arguments)],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._stderr,
                env={**os.environ, **env.threads(1), env.PARENT: str(os.getpid())},
            )  # fmt: skip
        try:
            _receive(self.socket)
        except (EOFError, ConnectionError):
            raise Retryable(f"a process for {function} did not start: {self.end()[0]}") from None
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        self._process.kill()
        self.end()

    def end(self) -> tuple[str, bool]:
        """How it ended, and whether by itself, after it closed its side."""
        self.socket.close()
        code = self._process.wait()
        with self._stderr as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
            lines = file.read().decode(errors="replace").split("\n")
        said = next((f": {one_line(Exception(line), 100)}" for line in reversed(lines) if line.strip()), "")
        if code == _OUT_OF_MEMORY:
            return f"needs more than {self._limits.memory / 1e9:.1f} GB of memory", True
        if code == -signal.SIGXCPU:
            return f"took longer than {self._limits.seconds:.0f} s of processor time", False
        if code < 0:
            return f"killed by signal {-code} ({signal.Signals(-code).name}){said}", True
        return f"ended with exit code {code}{said}", True


def _send(to: socket.socket, value: Any) -> None:
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, 5, buffer_callback=buffers.append)
    blocks = [memoryview(data), *(buffer.raw() for buffer in buffers)]
    to.sendall(b"".join(_NUMBER.pack(n) for n in (len(blocks), *(block.nbytes for block in blocks))))
    for block in blocks:
        to.sendall(block)


def _receive(connection: socket.socket) -> Any:
    """EOFError when the other side has closed it."""
    (count,) = _NUMBER.unpack(_bytes(connection, _NUMBER.size))
    sizes = struct.unpack(f"<{count}Q", _bytes(connection, count * _NUMBER.size))
    data, *buffers = [_bytes(connection, size) for size in sizes]
    return pickle.loads(data, buffers=buffers)


def _bytes(connection: socket.socket, size: int) -> bytearray:
    found = bytearray(size)
    view, at = memoryview(found), 0
    while at < size:
        count = connection.recv_into(view[at:])
        if count == 0:
            raise EOFError
        at += count
    return found


def _serve(descriptor: str, function: str, memory: str, seconds: str) -> NoReturn:
    """The child."""
    signals.ignore_signals()  # its parent gets them, and ends it
    parent_death.end_with_parent()
    connection = socket.socket(fileno=int(descriptor))
    module, _, name = function.partition(":")
    found = importlib.import_module(module)
    call, prepare = getattr(found, name), getattr(found, "prepare", lambda *arguments: None)
    _limit(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":  # elsewhere it is not enforced
        _limit(resource.RLIMIT_AS, _address_space() + int(memory))
    try:
        _send(connection, ("ready", None))
        while True:
            arguments = _receive(connection)
            with _not_counted():
                prepare(*arguments)
            used = resource.getrusage(resource.RUSAGE_SELF)
            _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + float(seconds)))
            _send(connection, _outcome(call, arguments, connection))
    except MemoryError:
        os._exit(_OUT_OF_MEMORY)
    except (EOFError, ConnectionError):
        os._exit(0)


@contextlib.contextmanager
def _not_counted() -> Iterator[None]:
    """No limits, and that of memory is afterwards higher by what stays: a library that compiles code and runs out of
    memory may wait for ever."""
    kept, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    _, longest = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (longest, longest))
    before = _address_space() if kept != hard else 0
    yield
    if kept != hard:
        _limit(resource.RLIMIT_AS, kept + max(0, _address_space() - before))


def _address_space() -> int:
    """Bytes that this process has, on Linux."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _limit(kind: int, value: int) -> None:
    """Lowers a limit, which only root could raise again beyond the hard one."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _outcome(call: Callable[..., Any], arguments: tuple[Any, ...], connection: socket.socket) -> tuple[str, Any]:
    try:
        return "value", call(lambda note: _send(connection, ("note", note)), *arguments)
    except MemoryError:
        raise
    except Exception as error:
        return "error", error


if __name__ == "__main__":
    _serve(*sys.argv[1:])
