"""The last known state of the cluster, by Alignment, so that decisions need no requests to the API server.

Three sources fill it: watches, the answers to the controller's own calls (it must see at once what it
just created), and a periodic full listing, which alone notices what a watch has missed. They
may come in any order, so an object is replaced only by a newer version of itself, and a deleted one
does not come back: `resourceVersion` grows (KEP-5504), and uids are remembered for ten minutes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Iterable, Mapping
from datetime import datetime
from typing import Any

from captionless.kube import observed_state
from captionless.kube.observed_state import Alignment, Key, ObservedState, Pod, Problem, Reading, Workload

_REMEMBERED = 600.0

Value = Alignment | Workload | Pod
_PARSERS: dict[str, Callable[[Mapping[str, Any]], Value]] = {
    "Alignment": observed_state.alignment,
    "Job": observed_state.workload,
    "JobSet": observed_state.workload,
    "Pod": observed_state.pod,
}


class _Entry:
    __slots__ = ("at", "key", "kind", "value", "version")

    def __init__(self, key: Key, kind: str, value: Value, version: int):
        self.key, self.kind, self.value, self.version, self.at = key, kind, value, version, time.monotonic()


class Cache:
    """Thread-safe. Objects go in as the API gives them and come out as `ObservedState`."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._entries: dict[str, _Entry] = {}
        self._by_key: dict[Key, set[str]] = {}
        self._gone: dict[str, float] = {}
        self._readings: dict[str, Reading] = {}
        self._silent: dict[str, datetime] = {}
        self._problems: dict[Key, Problem] = {}
        self._terminating: set[str] = set()

    def put(self, found: Mapping[str, Any]) -> Key | None:
        """Takes in an object; the Alignment that it concerns when that changed anything."""
        kind, key = str(found.get("kind")), observed_state.key_of(found)
        metadata = found.get("metadata") or {}
        uid, version = str(metadata.get("uid", "")), _version(metadata.get("resourceVersion"))
        if kind not in _PARSERS or key is None or not uid:
            return None
        with self._lock:
            old = self._entries.get(uid)
            if uid in self._gone or (old is not None and old.version >= version):
                if old is not None:
                    old.at = time.monotonic()
                return None
            value = _PARSERS[kind](found)
            self._entries[uid] = _Entry(key, kind, value, version)
            self._by_key.setdefault(key, set()).add(uid)
            # Whatever else changes in an object (a heartbeat, managed fields) affects no decision.
            return None if old is not None and old.value == value else key

    def drop(self, found: Mapping[str, Any]) -> Key | None:
        """Removes a deleted object; returns the Alignment that it concerned."""
        return self._forget(str((found.get("metadata") or {}).get("uid", "")))

    def replace(self, kind: str, found: Iterable[Mapping[str, Any]], since: float, namespace: str = "") -> set[Key]:
        """Takes over a full listing of a kind, in a namespace or in all, begun at monotonic time `since`; returns the
        Alignments that changed.

        Objects that the listing lacks are removed, unless they were seen after it began.
        """
        news, listed = set(), set()
        for each in found:
            listed.add(str((each.get("metadata") or {}).get("uid", "")))
            key = self.put(each)
            if key is not None:
                news.add(key)
        with self._lock:
            of_kind = [(u, e) for u, e in self._entries.items() if e.kind == kind and namespace in ("", e.key[0])]
            stale = [u for u, e in of_kind if u not in listed and e.at < since]
        for uid in stale:
            key = self._forget(uid)
            if key is not None:
                news.add(key)
        return news

    def _forget(self, uid: str) -> Key | None:
        now = time.monotonic()
        with self._lock:
            self._gone[uid] = now
            if len(self._gone) > 10_000:
                self._gone = {u: t for u, t in self._gone.items() if now - t < _REMEMBERED}
            self._readings.pop(uid, None)
            self._silent.pop(uid, None)
            self._terminating.discard(uid)
            entry = self._entries.pop(uid, None)
            if entry is None:
                return None
            self._by_key[entry.key].discard(uid)
            if not self._by_key[entry.key]:
                del self._by_key[entry.key]
                self._problems.pop(entry.key, None)
            return entry.key

    def read(self, pod: str, reading: Reading) -> None:
        """Takes in the progress that a pod (by uid) reports."""
        with self._lock:
            if pod in self._entries:
                self._readings[pod] = reading

    def heard(self, asked: Iterable[str], silent: Container[str], at: datetime) -> None:
        """Takes in which of the pods that were asked (by uid) have not answered."""
        with self._lock:
            for pod in asked:
                if pod not in silent:
                    self._silent.pop(pod, None)
                elif pod in self._entries:
                    self._silent.setdefault(pod, at)

    def refused(self, key: Key, problem: Problem | None) -> None:
        """What the API server refused for an Alignment; None when it refuses nothing any more."""
        with self._lock:
            if problem is None:
                self._problems.pop(key, None)
            else:
                self._problems[key] = problem

    def mark_namespace_terminating(self, alignment: str) -> None:
        """Records that the namespace of an Alignment (by uid) is being deleted, which cannot be undone."""
        with self._lock:
            if alignment in self._entries:
                self._terminating.add(alignment)

    def alignments(self) -> list[Key]:
        """All Alignments."""
        with self._lock:
            return [e.key for e in self._entries.values() if e.kind == "Alignment"]

    def observed(self, key: Key) -> ObservedState | None:
        """An Alignment and all that belongs to it; None when there is none."""
        with self._lock:
            values = [self._entries[u].value for u in self._by_key.get(key, ())]
            alignments = [v for v in values if isinstance(v, Alignment)]
            if not alignments:
                return None
            # Deleted and made again under the same name: for a moment there may be both.
            alignment = max(alignments, key=lambda a: _version(a.version))
            pods = tuple(v for v in values if isinstance(v, Pod))
            readings = {p.uid: self._readings[p.uid] for p in pods if p.uid in self._readings}
            silent = {p.uid: self._silent[p.uid] for p in pods if p.uid in self._silent}
            workloads = tuple(v for v in values if isinstance(v, Workload))
            terminating = alignment.uid in self._terminating
            return ObservedState(alignment, workloads, pods, readings, self._problems.get(key), terminating, silent)


def _version(text: Any) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        return 0
