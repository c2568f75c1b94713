"""Leader election by a Lease (coordination.k8s.io), as in client-go.

kopf has no leader election: two operators would both act. So a controller acts only while it holds the Lease. A
controller acquires the Lease if nobody holds it, or if its holder has not renewed it for its duration. This is measured
by the controller's own clock since it saw the last renewal; clocks of different machines are never compared. A holder
that cannot renew the Lease ends its process well before another may take over, and a thread that was frozen for longer
notices before its next request (`check`).

The identity is the pod's name: a container that is restarted in its pod reacquires the Lease at once.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from captionless.errors import CaptionlessError, Retryable
from captionless.kube.api_errors import Conflict
from captionless.kube.observed_state import format_micro_time

log = logging.getLogger(__name__)

NAME = "captionless-controller"
DURATION = 15.0
"""Seconds without a renewal after which another controller may take the Lease, unless it is given."""

# Fractions of the duration. An API server that takes seconds for a call must cost an attempt to renew, not the Lease:
# an attempt that times out is repeated before the deadline, even after one that took nearly as long.
_DEADLINE = 10 / 15  # a holder that could not renew for this long gives up
_PERIOD = 3 / 15  # from one renewal to the next
_RETRY = 1 / 15
_CONNECT, _ANSWER = 2 / 15, 4 / 15


def call_timeout(duration: float) -> tuple[float, float]:
    """Seconds to connect and to wait for an answer, for the `api` of a Lease of this duration."""
    return _CONNECT * duration, _ANSWER * duration


class LeaseApi(Protocol):
    """What the Lease asks of a cluster."""

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """An object, or None."""

    def create(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        """Creates an object; None when there is one of that name."""

    def replace(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Replaces the version of an object that was read."""


def _end() -> None:
    log.error("lost the Lease; exiting, so that another controller can take over")
    os._exit(Retryable.exit_code)


class Lease:
    """Held by one process. `api` must fail fast; `lost` is called when the Lease cannot be kept."""

    def __init__(
        self,
        api: LeaseApi,
        namespace: str,
        identity: str,
        lost: Callable[[], None] = _end,
        clock: Callable[[], float] = time.monotonic,
        duration: float = DURATION,
    ):
        self.duration, self.deadline = duration, _DEADLINE * duration
        self.period, self.retry = _PERIOD * duration, _RETRY * duration
        self.api, self.namespace, self.identity, self.lost, self.clock = api, namespace, identity, lost, clock
        self.renewed = -1e9
        self._held: dict[str, Any] | None = None
        self._seen: tuple[str, float] = ("", 0.0)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def held(self) -> bool:
        """Whether we certainly hold the Lease."""
        return self._held is not None and self.clock() - self.renewed < self.duration

    def check(self) -> None:
        """Ends the process when the Lease has expired meanwhile (in a frozen process, say)."""
        if self._held is not None and not self._stop.is_set() and not self.held:
            self.lost()

    def acquire(self) -> None:
        """Waits until the Lease is ours, then renews it in the background."""
        waiting = False
        while not self.try_acquire():
            if not waiting:
                log.info("waiting for the Lease %s/%s", self.namespace, NAME)
                waiting = True
            if self._stop.wait(self.retry):
                return
        log.info("acquired the Lease %s/%s as %s", self.namespace, NAME, self.identity)
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    def try_acquire(self) -> bool:
        """One attempt; False if another controller holds the Lease or the API server does not answer."""
        began = self.clock()
        try:
            found = self.api.get("Lease", self.namespace, NAME)
            if found is None:
                self._held = self.api.create(self._manifest(None))
            elif self._free(found):
                self._held = self.api.replace(self._manifest(found))
        except CaptionlessError as error:
            log.warning("Lease %s/%s: %s", self.namespace, NAME, error)
            return False
        if self._held is None:
            return False
        self.renewed = began
        return True

    def release(self) -> None:
        """Releases the Lease, so that the next controller need not wait until it expires."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._held is None:
            return
        manifest = self._manifest(self._held)
        manifest["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            self.api.replace(manifest)
        except CaptionlessError as error:
            log.warning("Lease %s/%s: cannot release it: %s", self.namespace, NAME, error)
        self._held = None

    def _renew(self) -> None:
        while not self._stop.wait(self.period if self.clock() - self.renewed < self.period else self.retry):
            began = self.clock()
            try:
                assert self._held is not None, "only a held Lease is renewed"
                self._held = self.api.replace(self._manifest(self._held))
                self.renewed = began
            except Conflict:  # also when an attempt that timed out had been carried out
                self._refresh()
            except CaptionlessError as error:
                log.warning("Lease %s/%s: not renewed: %s", self.namespace, NAME, error)
            if self.clock() - self.renewed > self.deadline:
                self.lost()
                return

    def _refresh(self) -> None:
        """After a conflict: the version to renew, if it is still ours."""
        try:
            found = self.api.get("Lease", self.namespace, NAME)
        except CaptionlessError:
            return
        if found is None or found["spec"].get("holderIdentity") != self.identity:
            self.lost()
        else:
            self._held = found

    def _free(self, found: dict[str, Any]) -> bool:
        spec, version = found.get("spec") or {}, str(found["metadata"].get("resourceVersion"))
        if spec.get("holderIdentity") in (None, "", self.identity):
            return True
        if self._seen[0] != version:
            self._seen = (version, self.clock())
        return self.clock() - self._seen[1] > float(spec.get("leaseDurationSeconds") or self.duration)

    def _manifest(self, found: dict[str, Any] | None) -> dict[str, Any]:
        time = format_micro_time(datetime.now(UTC))
        before = (found or {}).get("spec") or {}
        mine = before.get("holderIdentity") == self.identity
        metadata = found["metadata"] if found else {"name": NAME, "namespace": self.namespace}
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(self.duration),
            "acquireTime": before.get("acquireTime") if mine else time,
            "renewTime": time,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (0 if mine or not found else 1),
        }
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
