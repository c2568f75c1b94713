"""Reconciling one Alignment with its spec: observe, act, emit events, write the status.

    1. what exists (from the cache)         observed_state, stage_status
    2. what is to be done, and doing it     decide, actions
    3. what happened, as events             events
    4. the result, as the status            status

Killed between any two calls, the next reconcile finds the same situation or the one after it. The names of objects
follow from stage and attempt, so creating one twice is refused, and the existing one turns out to be
ours; events likewise; the status is written last, and only onto the version that it was computed from.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

from captionless.controller import events, status
from captionless.controller.actions import Action, Create, Delete, Remove
from captionless.controller.cache import Cache
from captionless.controller.decide import decide
from captionless.controller.pin import Pin
from captionless.controller.stage_status import RunStatus, run_status
from captionless.kube import observed_state
from captionless.kube.api import Api
from captionless.kube.api_errors import Conflict, Refused
from captionless.kube.jobs import Operator, Owner, job_name, stage_objects
from captionless.kube.jobs.pod import SPEC_KEY
from captionless.kube.observed_state import Key, Problem, format_micro_time
from captionless.kube.pod_patches import check_allowed, try_patches

log = logging.getLogger(__name__)

_REMEMBERED = 4096


def now() -> datetime:
    """The time, in whole seconds as Kubernetes stores it."""
    return datetime.now(UTC).replace(microsecond=0)


class NameTaken(Exception):
    """An object of the required name exists and has another owner."""


class Reconciler:
    """At most one thread may work on the same key; any number on different ones.

    `kinds` are those that are watched: what cannot be watched is not created.
    """

    def __init__(
        self,
        api: Api,
        cache: Cache,
        operator: Operator,
        reporter: str = "captionless-controller",
        kinds: Collection[str] = ("Job", "JobSet"),
        clock: Callable[[], datetime] = now,
    ):
        self.api, self.cache, self.operator = api, cache, operator
        self.reporter, self.kinds, self.clock = reporter, kinds, clock
        self._emitted: OrderedDict[tuple[str, int], None] = OrderedDict()

    def reconcile(self, key: Key) -> None:
        """One step. Conflict and Unavailable are to be retried."""
        run = self._observe(key)
        if run is None or run.alignment.deleting:
            return
        if run.pin is None and any(isinstance(a, Create) for a in decide(run)):
            run = self._pinned(run)
            if run is None:
                return
        try:
            for action in decide(run):
                self._do(run, action)
                if isinstance(action, Remove):
                    return
            self.cache.refused(key, None)
        except (Refused, NameTaken) as error:
            refused = (error.reason, error.detail) if isinstance(error, Refused) else ("NameTaken", str(error))
            self.cache.refused(key, Problem(*refused))
            self._write(key)
            raise
        self._write(key)

    def _observe(self, key: Key) -> RunStatus | None:
        seen = self.cache.observed(key)
        return run_status(seen, self.clock()) if seen is not None else None

    def _pinned(self, run: RunStatus) -> RunStatus | None:
        """Records what the run is made with, before anything is made with it. None if it was deleted meanwhile."""
        self._write(run.alignment.key, self._made_with(run))
        again = self._observe(run.alignment.key)
        return again if again is not None and again.pin is not None else None

    def _made_with(self, run: RunStatus) -> Pin:
        assert run.spec is not None, "a stage comes from a spec"
        stages = [s.stage.name for s in run.stages]
        pin = Pin.of(run.document, run.spec, stages, self.operator)
        newest = max(run.workloads, key=lambda w: w.created or datetime.min.replace(tzinfo=UTC), default=None)
        if newest is None or not newest.image:
            return pin
        # The run began before there were pins: its last Job says what it was made with.
        config = self.api.get("ConfigMap", newest.namespace, newest.name)
        return pin.earlier(run.document, newest.image, config)

    def _write(self, key: Key, pin: Pin | None = None) -> None:
        run = self._observe(key)
        if run is None:
            return
        alignment = run.alignment
        after = status.status(run, pin)
        for event in events.events(run, after):
            self._emit(run, event)
        changed = status.changes(alignment.status, after)
        if not changed:
            return
        written = self.api.patch_status(alignment.namespace, alignment.name, alignment.version, changed)
        if written is not None:
            self.cache.put(written)

    # -- actions

    def _do(self, run: RunStatus, action: Action) -> None:
        where = f"{run.alignment.namespace}/{run.alignment.name}"
        if isinstance(action, Create):
            log.info("%s: %s: starting attempt %d", where, action.stage.name, action.attempt)
            self._create(run, action)
        elif isinstance(action, Delete):
            log.info("%s: deleting %s: %s", where, action.workload.name, action.why)
            self._delete(action)
        else:
            log.info("%s: deleting the Alignment: %s", where, action.why)
            self.api.delete("Alignment", run.alignment.namespace, run.alignment.name, run.alignment.uid)

    def _create(self, run: RunStatus, action: Create) -> None:
        alignment, spec = run.alignment, run.spec
        assert spec is not None, "a stage comes from a spec"
        if action.attempt > 1 and self._still_there(run, action):
            return
        owner = Owner(alignment.name, alignment.namespace, alignment.uid)
        assert run.pin is not None, "it is made before the first Job"
        then = run.pin.operator_then(self.operator)
        if not any(s.attempt for s in run.stages):
            try_patches(spec, owner, then, self._dry_run)
        check_allowed(spec, action.stage, then)
        made = stage_objects(owner, spec, action.stage, action.attempt, then)
        for manifest in made:
            if manifest["kind"] == "ConfigMap":
                manifest["data"] = {SPEC_KEY: run.pin.text(run.document)}
        if action.disruptions:
            made[-1]["metadata"].setdefault("annotations", {})[observed_state.DISRUPTIONS] = str(action.disruptions)
        if made[-1]["kind"] not in self.kinds:
            raise Refused(
                f"{action.stage.name}: train.engine is jobset, but JobSet was not available when the operator started; "
                "install JobSet, grant the operator access to it and restart the operator, or set train.engine: job",
                "JobSetMissing",
            )
        for manifest in made:
            found = self._ensure(manifest, alignment.uid)
            if manifest is made[-1]:
                self.cache.put(found)

    def _dry_run(self, manifest: dict[str, Any]) -> None:
        if manifest["kind"] in self.kinds:  # `_create` tells that JobSet is missing
            self.api.create(manifest, dry_run=True)

    def _still_there(self, run: RunStatus, action: Create) -> bool:
        """Whether the previous attempt still runs: never trust the cache with this.

        Objects that were created with a Job are useless without it and are deleted.
        """
        namespace, name = run.alignment.namespace, job_name(run.alignment.name, action.stage.name, action.attempt - 1)
        gang = action.stage.gang
        kind = "JobSet" if gang and run.spec and run.spec.train.engine == "jobset" else "Job"
        found = self.api.get(kind, namespace, name)
        if found is None:
            for other in ("ConfigMap", "Service") if gang else ("ConfigMap",):
                self.api.delete(other, namespace, name)
            return False
        if observed_state.workload(found).finished:
            return False
        self.cache.put(found)
        return True

    def _ensure(self, manifest: dict[str, Any], owner: str) -> dict[str, Any]:
        """Creates an object, or finds it. A ConfigMap that an earlier try left with other contents is replaced."""
        made = self.api.create(manifest)
        if made is not None:
            return made
        kind, metadata = manifest["kind"], manifest["metadata"]
        found = self.api.get(kind, metadata["namespace"], metadata["name"])
        if found is None:
            raise Conflict(f"{kind} {metadata['name']} was deleted in the meantime")
        owners = found["metadata"].get("ownerReferences") or ()
        if not any(o.get("uid") == owner and o.get("controller") for o in owners):
            of_another = any(o.get("kind") == "Alignment" and o.get("name") == self._owner(manifest) for o in owners)
            hint = (
                "belongs to a deleted Alignment; it will be deleted" if of_another else "is not this run's; delete it"
            )
            raise NameTaken(f"{kind} {metadata['name']} already exists and {hint}")
        if kind == "ConfigMap" and found.get("data") != manifest["data"]:
            self.api.delete(kind, metadata["namespace"], metadata["name"], found["metadata"]["uid"])
            made = self.api.create(manifest)
            if made is None:
                raise Conflict(f"ConfigMap {metadata['name']} is still being deleted")
            return made
        return found

    @staticmethod
    def _owner(manifest: dict[str, Any]) -> str:
        return str(manifest["metadata"]["ownerReferences"][0]["name"])

    def _delete(self, action: Delete) -> None:
        """The Job stays, marked for deletion, until its pods are gone: only then may the next attempt write."""
        w = action.workload
        gone = self.api.delete(w.kind, w.namespace, w.name, w.uid, wait=True)
        if gone is not None and gone.get("kind") == w.kind:
            self.cache.put(gone)
        else:
            self.cache.drop({"metadata": {"uid": w.uid}})

    # -- events

    def _emit(self, run: RunStatus, event: events.Event) -> None:
        name = event.name(run.alignment)
        if (name, event.count) in self._emitted:
            return
        time = format_micro_time(datetime.now(UTC))
        try:
            made = self.api.create(event.manifest(run.alignment, self.reporter, time))
            if made is None and event.count > 1:
                series = {"series": {"count": event.count, "lastObservedTime": time}}
                self.api.patch("Event", run.alignment.namespace, name, series)
        except Refused as error:  # a missing event must not block the work
            log.warning("%s/%s: event %s: %s", *run.alignment.key, event.reason, error)
        self._emitted[(name, event.count)] = None
        while len(self._emitted) > _REMEMBERED:
            self._emitted.popitem(last=False)
