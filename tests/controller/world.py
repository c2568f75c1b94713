"""A cluster in memory: the API server's part of `cluster.Cluster`, and a Job controller that a test drives.

It keeps what matters to a controller: resource versions, uids, names that exist once, optimistic
concurrency on the status, foreground deletion. `kill_at` ends the caller right after the k-th call was
carried out and before it hears of it, as a power cut would.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from captionless.controller.cache import Cache
from captionless.controller.reconcile import Reconciler
from captionless.kube.api_errors import Conflict
from captionless.kube.jobs import Operator
from captionless.kube.observed_state import format_time, parse_time

Object = dict[str, Any]
NAMESPACE = "lab"
KEY = (NAMESPACE, "shapes")
SPEC: Object = {
    "output": "s3://bucket/shapes",
    "data": {"source": {"kind": "parametric"}},
    "train": {"weights": ["avg"], "steps": 1000, "checkpointEvery": 100},
    "resources": {"workers": 2, "nodes": 2},
}


class Killed(BaseException):
    """The controller is no more."""


class World:
    """Also the clock: `time` moves when a test says so."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.calls: list[str] = []
        self.kill_at: int | None = None
        self.terminating: set[str] = set()
        self.rejected: Exception | None = None
        """What a dry run is answered with."""
        self._version, self._uid = itertools.count(1), itertools.count(1)

    # -- the API server

    def list(self, kind: str, *, namespace: str = "") -> Iterator[Object]:
        self._call(f"list {kind} {namespace}".rstrip())
        found = ((k, n, o) for (k, n, _), o in self.objects.items())
        return iter([copy.deepcopy(o) for k, n, o in found if k == kind and namespace in ("", n)])

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        found = copy.deepcopy(self.objects.get((kind, namespace, name)))
        self._call(f"get {kind} {name}")
        return found

    def namespace_terminating(self, namespace: str) -> bool:
        self._call(f"get Namespace {namespace}")
        return namespace in self.terminating

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object | None:
        key = (manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        if dry_run:
            self._call(f"try {key[0]} {key[2]}")
            if self.rejected is not None:
                raise self.rejected
            return copy.deepcopy(manifest) if key not in self.objects else None
        made = None
        if key not in self.objects:
            made = copy.deepcopy(manifest)
            made["metadata"] |= {"uid": f"uid-{next(self._uid)}", "creationTimestamp": format_time(self.time)}
            self._store(made)
        self._call(f"create {key[0]} {key[2]}")
        return copy.deepcopy(made)

    def delete(self, kind: str, namespace: str, name: str, uid: str = "", wait: bool = False) -> Object | None:
        found = self.objects.get((kind, namespace, name))
        if found is not None and uid and found["metadata"]["uid"] != uid:
            raise Conflict("another uid")
        if found is not None and wait:
            found["metadata"].setdefault("deletionTimestamp", format_time(self.time))
            self._store(found)
            found = copy.deepcopy(found)
        elif found is not None:
            del self.objects[(kind, namespace, name)]
        self._call(f"delete {kind} {name}")
        return found if wait else None

    def patch_status(self, namespace: str, name: str, version: str, changes: Object) -> Object | None:
        found = self.objects.get(("Alignment", namespace, name))
        if found is not None and found["metadata"]["resourceVersion"] != version:
            raise Conflict("changed meanwhile")
        if found is not None:
            status = found.setdefault("status", {})
            for key, value in changes.items():
                status.pop(key, None)
                if value is not None:
                    status[key] = copy.deepcopy(value)
            self._store(found)
        self._call(f"patch status {name}")
        return copy.deepcopy(found)

    def patch(self, kind: str, namespace: str, name: str, changes: Object) -> Object | None:
        found = self.objects[(kind, namespace, name)]
        found |= copy.deepcopy(changes)
        self._store(found)
        self._call(f"patch {kind} {name}")
        return copy.deepcopy(found)

    def _store(self, found: Object) -> None:
        metadata = found["metadata"]
        metadata["resourceVersion"] = str(next(self._version))
        self.objects[(found["kind"], metadata["namespace"], metadata["name"])] = found

    def _call(self, what: str) -> None:
        self.calls.append(what)
        if self.kill_at is not None and len(self.calls) == self.kill_at:
            raise Killed(what)

    # -- people

    def align(self, name: str = "shapes", *, listed: bool = True, **spec: Any) -> Object:
        """A new Alignment. `listed`: its first stage is already recorded as finished, those after it may begin."""
        manifest: Object = {
            "apiVersion": "captionless.dev/v1alpha1",
            "kind": "Alignment",
            "metadata": {"name": name, "namespace": NAMESPACE, "generation": 1},
            "spec": {**copy.deepcopy(SPEC), **spec},
        }
        if listed:
            at = format_time(self.time)
            record = {"name": "list", "state": "Succeeded", "attempt": 1, "startTime": at, "completionTime": at}
            manifest["status"] = {"stages": [record]}
        calls, self.kill_at, before = list(self.calls), None, self.kill_at
        self.create(manifest)
        self.calls, self.kill_at = calls, before
        return self.alignment(name)

    def edit(self, name: str = "shapes", **spec: Any) -> None:
        found = self.alignment(name)
        found["spec"] |= spec
        found["metadata"]["generation"] += 1
        self._store(found)

    def annotate(self, key: str, value: str, name: str = "shapes") -> None:
        found = self.alignment(name)
        found["metadata"].setdefault("annotations", {})[key] = value
        self._store(found)

    def alignment(self, name: str = "shapes") -> Object:
        return self.objects[("Alignment", NAMESPACE, name)]

    def status(self, name: str = "shapes") -> Object:
        found: Object = self.alignment(name).get("status", {})
        return found

    def condition(self, kind: str, name: str = "shapes") -> Object:
        return next((c for c in self.status(name).get("conditions", ()) if c["type"] == kind), {})

    def stage(self, stage: str, name: str = "shapes") -> Object:
        return next((s for s in self.status(name).get("stages", ()) if s["name"] == stage), {})

    def of(self, kind: str) -> list[Object]:
        return [o for (k, _, _), o in self.objects.items() if k == kind]

    def job(self, name: str) -> Object:
        return self.objects[("Job", NAMESPACE, name)]

    def live(self) -> list[Object]:
        return [j for j in self.of("Job") if not (j.get("status") or {}).get("conditions")]

    def events(self) -> set[tuple[str, str]]:
        return {(e["reason"], e["note"]) for e in self.of("Event")}

    def tick(self, seconds: float = 1) -> None:
        self.time += timedelta(seconds=seconds)

    # -- the Job controller and the kubelet

    def pod(self, job: Object, index: int, **status: Any) -> Object:
        """Makes a pod, or changes the newest of this index that has not ended."""
        metadata = job["metadata"]
        prefix = f"{metadata['name']}-{index}-"
        mine = [p for p in self.of("Pod") if p["metadata"]["name"].startswith(prefix)]
        going = [p for p in mine if p["status"]["phase"] in ("Pending", "Running")]
        pod = going[-1] if going else None
        if pod is None:
            labels = {**metadata["labels"], "batch.kubernetes.io/job-completion-index": str(index)}
            pod = {
                "kind": "Pod",
                "metadata": {
                    "name": f"{prefix}{len(mine)}",
                    "namespace": NAMESPACE,
                    "uid": f"uid-{next(self._uid)}",
                    "creationTimestamp": format_time(self.time),
                    "labels": labels,
                    "annotations": {},
                    "ownerReferences": [{"kind": "Job", "uid": metadata["uid"], "controller": True}],
                },
                "spec": {"nodeName": "node-1", "containers": job["spec"]["template"]["spec"]["containers"]},
                "status": {"phase": "Pending"},
            }
        pod["status"] = {**pod["status"], **status}
        self._store(pod)
        return pod

    def start(self, job: Object, content: str = "1") -> None:
        """`content` is what the image's name leads to."""
        for index in range(job["spec"]["completions"]):
            state = {"running": {"startedAt": format_time(self.time)}}
            worker = [{"name": "worker", "state": state, "imageID": f"captionless@sha256:{content}"}]
            self.pod(job, index, phase="Running", podIP=f"10.0.0.{index + 1}", containerStatuses=worker)

    def end(self, job: Object, index: int, code: int, message: str = "", **ending: Any) -> Object:
        reported = json.dumps({"exitCode": code, "kind": "", "message": message, "figures": {}, "facts": {}, **ending})
        state = {"terminated": {"exitCode": code, "finishedAt": format_time(self.time), "message": reported}}
        before = self.pod(job, index)["status"].get("containerStatuses", [{"name": "worker"}])
        worker = [{**before[0], "state": state}]
        return self.pod(job, index, phase="Failed" if code else "Succeeded", containerStatuses=worker)

    def replaced(self, job: Object, pod: Object, failures: int, ignored: int) -> Object:
        """The replacement of a pod that failed, as the Job controller counts (KEP-3850)."""
        index = int(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"])
        new = self.pod(job, index)
        new["metadata"]["annotations"] = {
            "batch.kubernetes.io/job-index-failure-count": str(failures),
            "batch.kubernetes.io/job-index-ignored-failure-count": str(ignored),
        }
        self._store(new)
        return new

    def complete(self, job: Object, **ending: Any) -> None:
        for index in range(job["spec"]["completions"]):
            self.end(job, index, 0, **ending)
        self._finish(job, "Complete", completedIndexes=f"0-{job['spec']['completions'] - 1}")

    def fail(self, job: Object, code: int, message: str, index: int = 0, reason: str = "PodFailurePolicy") -> None:
        self.end(job, index, code, message)
        self._finish(job, "Failed", reason=reason, message="Kubernetes' words", failed=1)

    def _finish(self, job: Object, kind: str, reason: str = "", message: str = "", **status: Any) -> None:
        condition = {"type": kind, "status": "True", "reason": reason, "message": message}
        condition["lastTransitionTime"] = format_time(self.time)
        job["status"] = {**(job.get("status") or {}), **status, "conditions": [condition]}
        self._store(job)

    def collect(self) -> None:
        """The garbage collector: pods of a Job that is to go, then the Job."""
        for job in self.of("Job"):
            if job["metadata"].get("deletionTimestamp"):
                for pod in self.of("Pod"):
                    if pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]:
                        del self.objects[("Pod", NAMESPACE, pod["metadata"]["name"])]
                del self.objects[("Job", NAMESPACE, job["metadata"]["name"])]


class Controller:
    """A controller that was just started: it knows what a listing tells, and nothing else."""

    def __init__(self, world: World, operator: Operator = Operator("captionless:test")):
        self.world, self.cache = world, Cache()
        self.reconciler = Reconciler(world, self.cache, operator, clock=lambda: world.time)

    def see(self) -> None:
        """The watches catch up with the cluster."""
        known = {(k, n) for k, _, n in self.world.objects}
        for found in list(self.world.objects.values()):
            self.cache.put(copy.deepcopy(found))
        for kind in ("Job", "Pod", "Alignment", "JobSet"):
            listed = [
                o for (k, _), o in ((x, self.world.objects.get((x[0], NAMESPACE, x[1]))) for x in known) if k == kind
            ]
            self.cache.replace(kind, [copy.deepcopy(o) for o in listed if o], since=float("inf"))

    def work(self, rounds: int = 8) -> None:
        """Reconciles until nothing is done any more."""
        for _ in range(rounds):
            before = len(self.world.calls)
            self.see()
            for key in self.cache.alignments():
                self.reconciler.reconcile(key)
            if len(self.world.calls) == before:
                return
        raise AssertionError(f"does not come to rest: {self.world.calls[-10:]}")


__all__ = ["KEY", "NAMESPACE", "SPEC", "Controller", "Killed", "World", "parse_time"]
