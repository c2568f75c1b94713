"""Leases: who writes into a folder, so that a second run into the same place is refused while the first is at work.

    <folder>/_writers/<index>-of-<count>-<settings, 16 digits>.json
        {"id": "...", "held": true, "beat": 12, "holder": {"host": ..., "pid": ..., "command": ..., "since": ...}}

A worker stores its lease, renews it every `BEAT_SECONDS` and removes it when it ends, by whatever exception. The name
tells the run that it belongs to: workers with equal settings and count are one run and share the folder, so that one
listing shows a worker whether its run is alone. A worker's own name is taken by compare-and-swap. Other runs are looked
for after one's own lease is stored and before it is `held`: of two that come at once, at least one sees the other, and
the one with the smaller id stays.

A lease outlives a writer that is killed or whose machine is lost. It is taken over at once where the writer is known to
be gone (`runtime.identity`), else when it has not been renewed for `LIMIT_SECONDS`, measured here by looking at it:
clocks of different hosts are not compared. A writer that was merely frozen finds out when it next calls `check`, which
it does before it publishes anything.

Whoever finds a live writer is refused at once, with a line that names it, and may try again (`Retryable`). A pod of a
Job waits instead: the Job would count the failure and soon fail the run or, for an exit code that it ignores, make one
pod after the other. After `PATIENCE_SECONDS` the pod ends as interrupted, which is not counted, and the next waits on.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

from captionless.errors import CaptionlessError, Interrupted, Retryable
from captionless.runtime import env
from captionless.runtime.identity import Identity, Standing, this_process
from captionless.runtime.thread_pools import thread_pool
from captionless.store import objects
from captionless.store.conditional import replace_if
from captionless.telemetry.progress import say

FOLDER = "_writers"

BEAT_SECONDS = 10.0
LIMIT_SECONDS = 30.0
"""Without a renewal, after which a lease may be taken over: several beats, since a storage may answer late."""
ENDING_SECONDS = 2.0
"""For which a writer of this machine is given to end: its parent may have been killed just now, and it with that."""
PATIENCE_SECONDS = 600.0
RELEASE_SECONDS = 5.0
"""For which a process that ends waits for the storage to remove its lease; one that stays will be found dead."""
_POLL_SECONDS = 1.0
_GIVING_WAY_SECONDS = 5.0
"""For which a run that came at the same time and must give way is given to do so."""
_FRESH_SECONDS = 1.0
"""For which a lease that was one's own is not read again."""


@contextlib.contextmanager
def writer(url: str, index: int = 0, count: int = 1, settings: str = "") -> Iterator[Lease]:
    """Holds the lease of worker `index` of `count` on the folder `url` while the block runs.

    settings: what the run makes; workers with equal settings and count are of one run. Retryable, naming the holder,
    while another run, or the same worker of this one, is at work there; in a pod of a Job only after a wait, as
    Interrupted.
    """
    lease = Lease(url, index, count, settings)
    try:
        lease.acquire()
        yield lease
    finally:
        lease.release()


class Claim:
    """A lease that this process, or the one that started it, holds; `id` is the lease's."""

    def __init__(self, url: str, id: str) -> None:  # noqa: A002
        self.url, self.id = url, id

    @classmethod
    def inherited(cls) -> Claim | None:
        """The lease that this process was started under, by `environment`; None without one."""
        id_, _, url = os.environ.get(env.LEASE, "").partition(" ")
        return cls(url, id_) if url else None

    def environment(self) -> dict[str, str]:
        """What tells a process that is started to write under this lease."""
        return {env.LEASE: f"{self.id} {self.url}"}

    def check(self) -> None:
        """To be called before anything is published: the error of `writer` when another has taken over the lease."""
        found = _Found.at(self.url)
        if found is None or found.id != self.id:
            by = f" by {found.name}" if found is not None else ""
            raise _refusal(f"{_folder(self.url)}: this writer was taken for dead and replaced{by}; rerun to resume")


class Lease(Claim):
    """A worker's lease on a folder, renewed by a thread of its own, since a step of the work may take long."""

    def __init__(self, url: str, index: int, count: int, settings: str) -> None:
        self._run = f"-of-{count}-{objects.digest(settings)[:16]}.json"
        super().__init__(objects.join(url, FOLDER, f"{index}{self._run}"), uuid.uuid4().hex)
        self._holder = this_process().document()
        self._stored: bytes | None = None
        self._held, self._beat, self._seen = False, 0, 0.0
        self._lock = threading.RLock()
        self._released = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="captionless-lease", daemon=True)
        self.lost = False
        """Whether a renewal has found that another has taken over the lease."""
        self.waited = False
        """Whether another writer was waited for, who may have done what there was to do."""

    def acquire(self) -> None:
        """Takes the lease; see `writer`."""
        patience = _Patience(_folder(self.url))
        while (other := self._try(patience)) is not None:
            self.waited = True
            patience.until_over(other)
        self._renewing.start()

    def check(self) -> None:
        """As `Claim.check`."""
        if self.lost or time.monotonic() - self._seen >= _FRESH_SECONDS:
            super().check()
            self._seen = time.monotonic()

    def release(self) -> None:
        """Removes the lease if it still is this writer's."""
        self._released.set()
        if self._beat and self._renewing.ident is None:
            self._renewing.start()  # which only removes what a failed attempt may have left
        if self._renewing.ident is not None:
            self._renewing.join(RELEASE_SECONDS)

    def _try(self, patience: _Patience) -> _Found | None:
        """Takes the lease, or leaves none of its own behind and returns the one that is in the way."""
        while True:
            own = _Found.at(self.url)
            if own is not None and not patience.is_over(own):
                return own
            if self._store(own.data if own is not None else None):
                break
        until = time.monotonic() + _GIVING_WAY_SECONDS
        while others := self._others():
            dead = [other for other in others if patience.is_over(other)]
            for other in dead:
                objects.remove(other.url)
            for other in set(others).difference(dead):
                if other.held or other.id < self.id or time.monotonic() > until:
                    self._withdraw()
                    return other
            time.sleep(_POLL_SECONDS / 10)
        self._held = True
        if not self._renewed():
            super().check()
        return None

    def _others(self) -> list[_Found]:
        """The leases of other runs on the folder."""
        folder = objects.join(_folder(self.url), FOLDER)
        names = [n for n in objects.list_names(folder) if n.endswith(".json") and not n.endswith(self._run)]
        with thread_pool(16) as pool:
            found = pool.map(_Found.at, (objects.join(folder, name) for name in names))
            return [lease for lease in found if lease is not None]

    def _store(self, expected: bytes | None) -> bool:
        with self._lock:
            self._beat += 1
            document = {"id": self.id, "held": self._held, "beat": self._beat, "holder": self._holder}
            data = (json.dumps(document, sort_keys=True) + "\n").encode()
            if replace_if(self.url, data, expected):
                self._stored, self._seen = data, time.monotonic()
                return True
            return False

    def _renewed(self) -> bool:
        """Renews the lease; False if it is another's."""
        with self._lock:
            if self._store(self._stored):
                return True
            found = _Found.at(self.url)  # this writer's own if the answer to an earlier renewal was lost
            return found is not None and found.id == self.id and self._store(found.data)

    def _renew(self) -> None:
        while not self.lost and not self._released.wait(BEAT_SECONDS):
            with contextlib.suppress(CaptionlessError):  # the storage is away: the next renewal tries again
                self.lost = not self._renewed()
        with contextlib.suppress(CaptionlessError):
            self._withdraw()

    def _withdraw(self) -> None:
        found = _Found.at(self.url)
        if found is not None and found.id == self.id:
            objects.remove(self.url)
        objects.remove_empty(objects.join(_folder(self.url), FOLDER))


class _Found(NamedTuple):
    """A lease as it was read; `data` may be anything."""

    url: str
    data: bytes

    @classmethod
    def at(cls, url: str) -> _Found | None:
        """The lease stored at a URL, if any."""
        data = objects.read_if_any(url)
        return None if data is None else cls(url, data)

    @property
    def document(self) -> dict[str, Any]:
        try:
            document = json.loads(self.data)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def id(self) -> str:
        return str(self.document.get("id", ""))

    @property
    def held(self) -> bool:
        return bool(self.document.get("held", True))

    @property
    def standing(self) -> Standing:
        holder = Identity.read(self.document.get("holder"))
        return holder.standing() if holder is not None else "unknown"

    @property
    def name(self) -> str:
        return str(Identity.read(self.document.get("holder")) or "another process")


class _Patience:
    """Waits for other writers to be gone, and says so: for one that may be dead until that is known, and in a pod also
    for those at work, for `PATIENCE_SECONDS` in all."""

    def __init__(self, url: str) -> None:
        self._url, self._said = url, ""
        self._until = time.monotonic() + PATIENCE_SECONDS
        self._seen: dict[_Found, float] = {}

    def is_over(self, other: _Found) -> bool:
        """Whether a lease may be taken over."""
        since = self._seen.setdefault(other, time.monotonic())  # of every one, so that many are watched at a time
        standing = other.standing
        return standing == "gone" or (standing != "running" and time.monotonic() - since >= LIMIT_SECONDS)

    def until_over(self, other: _Found) -> None:
        """Returns when a lease has been removed or may be taken over; the error of `writer` when its writer lives."""
        while not self.is_over(other):
            if other.standing == "running":
                if time.monotonic() - self._seen[other] >= ENDING_SECONDS:
                    self._refuse(other)
            else:
                self._say(f"waiting up to {LIMIT_SECONDS:.0f} s to see whether {other.name} still runs")
            time.sleep(min(_POLL_SECONDS, LIMIT_SECONDS / 10))
            found = _Found.at(other.url)
            if found is None:
                return
            if found != other:
                self._refuse(found)
                other = found

    def _refuse(self, other: _Found) -> None:
        if env.INDEX not in os.environ or time.monotonic() > self._until:
            raise _refusal(f"{self._url}: {other.name} is writing there; wait for it or stop it, then rerun")
        self._say(f"waiting for {other.name}, which is writing there")

    def _say(self, line: str) -> None:
        if line != self._said:
            self._said = line
            say(f"{self._url}: {line}")


def _refusal(line: str) -> CaptionlessError:
    return Interrupted(line) if env.INDEX in os.environ else Retryable(line)


def _folder(url: str) -> str:
    """The folder that a lease is on."""
    return url.rpartition(f"/{FOLDER}/")[0]
