"""Alignments as the cluster's tests drive them: applied, watched, disturbed, compared with a local run."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any

from captionless.kube.jobs.pod import METRICS_PORT
from tests.cluster.cluster import Cluster, until

# Small enough for minutes on two cores, long enough in training to be disturbed in the middle of it.
SMALL: dict[str, Any] = {
    "data": {
        "source": {
            "kind": "parametric",
            "objects": 64,
            "testObjects": 32,
            "categories": ["chair", "table", "lamp", "bed"],
        },
        "views": 6,
        "imageSize": 64,
        "points": 256,
        "shardObjects": 8,
    },
    "clip": {"model": "captionless-demo"},
    "landmarks": {"count": 16},
    "train": {
        "weights": ["avg"],
        "steps": 200,
        "batchSize": 16,
        "points": 128,
        "encoder": {"width": 8, "nsample": 8},
        "checkpointEvery": 15,
        "collectiveTimeout": 20,
    },
    "resources": {
        "workers": 4,
        "nodes": 2,
        "threads": 1,
        "cpu": "100m",
        "memory": "1Gi",
        "trainMemory": "1536Mi",
        "sharedMemory": "128Mi",
        "ephemeralStorage": "1Gi",
    },
    "pods": {"credentialsSecret": "s3", "graceSeconds": 30},
}
TRAINING = "train-avg-seed0"


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, section by section."""
    found = copy.deepcopy(base)
    for key, value in changes.items():
        mixed = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = merged(found[key], value) if mixed else value
    return found


@dataclass(frozen=True)
class Telling:
    """What node 0 of a training tells by itself: which pod it is, in its which round, and how many steps are done."""

    pod: str = ""
    round: int = 0
    step: int = 0


@dataclass
class Alignment:
    """An Alignment of the cluster by name."""

    cluster: Cluster
    namespace: str
    name: str
    training: str = TRAINING
    """The stage that trains."""

    @classmethod
    def apply(
        cls, cluster: Cluster, namespace: str, name: str, spec: dict[str, Any], training: str = TRAINING
    ) -> Alignment:
        kind = {"apiVersion": "captionless.dev/v1alpha1", "kind": "Alignment"}
        cluster.apply(namespace, {**kind, "metadata": {"name": name}, "spec": spec})
        return cls(cluster, namespace, name, training)

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        return self.cluster.kubectl("-n", self.namespace, *arguments, check=check)

    def get(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.get("alignments", self.name, self.namespace)
        return found

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get().get("status") or {}
        return found

    def condition(self, kind: str) -> dict[str, Any]:
        """The condition, or an empty one."""
        return next((c for c in self.status.get("conditions", []) if c["type"] == kind), {"status": "", "reason": ""})

    def stage(self, name: str) -> dict[str, Any]:
        return next((s for s in self.status.get("stages", []) if s["name"] == name), {"state": ""})

    def wait_succeeded(self, seconds: float = 300) -> None:
        """Until Succeeded is True; at once an AssertionError when it becomes False."""

        def ended() -> bool:
            found = self.condition("Succeeded")
            assert found["status"] != "False", f"{self.name} failed: {found}\n{self.story()}"
            return bool(found["status"] == "True")

        try:
            until(ended, seconds, f"{self.name} to succeed")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story()}") from None

    def wait_condition(self, kind: str, status: str, seconds: float, reason: str = "") -> dict[str, Any]:
        def met() -> dict[str, Any] | None:
            found = self.condition(kind)
            return found if found["status"] == status and reason in found["reason"] else None

        try:
            found: dict[str, Any] = until(met, seconds, f"{self.name}: {kind}={status} {reason}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story()}") from None
        return found

    def wait_stage(self, name: str, state: str, seconds: float = 180) -> dict[str, Any]:
        until(lambda: self.stage(name)["state"] == state, seconds, f"{self.name}: {name} {state}")
        return self.stage(name)

    def telling(self) -> Telling:
        """What the training tells now; an empty one while nobody answers."""
        pod = next(iter(self._running(self.training, 0)), "")
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}:{METRICS_PORT}/proxy/metrics"
        text = self.cluster.read(path, check=False) if pod else ""
        found = {
            name: int(float(value))
            for name, value in re.findall(r"^captionless_(stage_units_done|train_round)\{.*\} (\S+)$", text, re.M)
        }
        return Telling(pod, found.get("train_round", 0), found.get("stage_units_done", 0)) if found else Telling()

    def wait_step(self, step: int, seconds: float = 120) -> Telling:
        """Until the training is at least so far."""
        found: Telling = until(
            lambda: now if (now := self.telling()).step >= step else None, seconds, f"{self.name}: step {step}"
        )
        return found

    def steps(self) -> int:
        """How far the training is by the Alignment's status."""
        return int(self.stage(self.training).get("done") or 0)

    def pods(self, stage: str, index: int | None = None) -> list[dict[str, Any]]:
        """The pods of a stage (with a completion index), newest last."""
        selector = f"captionless.dev/alignment={self.name},captionless.dev/stage={stage}"
        if index is not None:
            selector += f",batch.kubernetes.io/job-completion-index={index}"
        found = self.cluster.get("pods", namespace=self.namespace, selector=selector)
        return sorted(found, key=lambda p: str(p["metadata"]["creationTimestamp"]))

    def _running(self, stage: str, index: int) -> list[str]:
        return [
            str(p["metadata"]["name"])
            for p in self.pods(stage, index)
            if p["status"]["phase"] == "Running" and "deletionTimestamp" not in p["metadata"]
        ]

    def running(self, stage: str, index: int) -> str:
        """The name of the running pod of an index, awaited if need be."""
        names: list[str] = until(lambda: self._running(stage, index), 30, f"{self.name}: pod {index} of {stage} to run")
        return names[-1]

    def story(self) -> str:
        """What a person would look at: the status, the events, the pods, their last lines."""
        look = [
            self.kubectl("describe", "alignment", self.name, check=False),
            self.kubectl("get", "jobs,pods", "-o", "wide", check=False),
            self.kubectl("logs", "-l", f"captionless.dev/alignment={self.name}", "--tail=15", "--prefix", check=False),
        ]
        return "\n".join(look)
